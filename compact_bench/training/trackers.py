"""Send a run's metrics to TensorBoard, trackio or wandb; each is an optional dependency."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from compact_bench.core.errors import ConfigError

Report = Callable[[Mapping[str, Any], int], None]


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    out: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            out[f"{prefix}{name}"] = float(value)
    return out


def _need(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ConfigError(
            f"train.tracker needs {module!r}, which is not installed: pip install 'compact_bench[trackers]', "
            "or use train.tracker=none."
        ) from None


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
    elif name == "tensorboard":
        writer = _need("torch.utils.tensorboard").SummaryWriter(str(directory / "tensorboard"))

        def report(metrics: Mapping[str, Any], step: int) -> None:
            for key, value in _flat(metrics).items():
                writer.add_scalar(key, value, step)

        try:
            yield report
        finally:
            writer.close()
    else:
        module = _need(name)
        run = module.init(project="compact_bench", name=directory.name)
        try:
            yield lambda metrics, step: run.log(_flat(metrics), step=step)
        finally:
            module.finish()
