"""Metrics of a run in TensorBoard, trackio or wandb, through accelerate; each is an optional dependency."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from compact_bench.core.errors import ConfigError

PROJECT = "compact_bench"
Report = Callable[[Mapping[str, Any], int], None]


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    out: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            out[f"{prefix}{name}"] = float(value)
    return out


def _start(name: Literal["tensorboard", "trackio", "wandb"], directory: Path) -> GeneralTracker:
    trackers: dict[str, Callable[[], GeneralTracker]] = {
        "tensorboard": lambda: TensorBoardTracker("tensorboard", directory),
        "trackio": lambda: TrackioTracker(PROJECT, name=directory.name),
        "wandb": lambda: WandBTracker(PROJECT, name=directory.name),
    }
    tracker = trackers[name]()
    try:
        tracker.start()
    except ImportError:
        raise ConfigError(
            f"train.tracker needs {name!r}, which is not installed: pip install 'compact_bench[trackers]', "
            "or use train.tracker=none."
        ) from None
    return tracker


@contextmanager
def open_tracker(
    name: Literal["none", "tensorboard", "trackio", "wandb"], directory: Path
) -> Iterator[Report]:
    """A function that reports (metrics, step), closed at the end. TensorBoard's files go below the run's
    directory, whose name names the run.

    Raises:
        ConfigError: the tracker is not installed.
    """
    if name == "none":
        yield lambda metrics, step: None
        return
    tracker = _start(name, directory)
    # Up to 1.12 accelerate leaves out the step for trackio, and a continued run would count anew.
    log = tracker.log if name == "tensorboard" else tracker.tracker.log
    try:
        yield lambda metrics, step: log(_flat(metrics), step=step)
    finally:
        tracker.finish()
