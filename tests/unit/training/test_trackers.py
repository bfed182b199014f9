"""Trackers: reported values, and what is said where a tracker is not installed."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState

from compact_bench.core.errors import ConfigError
from compact_bench.training.trackers import open_tracker

METRICS = {"loss": 1.5, "note": "text", "teacher_weights": {"ada": 0.25}}


@pytest.fixture(autouse=True)
def accelerate_state() -> None:
    """What the training loop has made when it opens a tracker."""
    PartialState(cpu=True)


def test_none_reports_nowhere(tmp_path: Path) -> None:
    with open_tracker("none", tmp_path) as report:
        report(METRICS, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_runs_are_named_and_finished(name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    run = types.SimpleNamespace(
        log=lambda values, step: calls.append((values, step)), finish=lambda: calls.append(("finished",))
    )
    module = types.ModuleType(name)
    module.init = lambda **keywords: calls.append(tuple(keywords.items())) or run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(RuntimeError, match="stop"), open_tracker(name, tmp_path / "run7") as report:
        report(METRICS, 3)
        raise RuntimeError("stop")
    assert calls == [
        (("project", "compact_bench"), ("name", "run7")),
        ({"loss": 1.5, "teacher_weights/ada": 0.25}, 3),
        ("finished",),
    ]


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("tensorboard", ["tensorboard", "torch.utils.tensorboard", "tensorboardX"]),
        ("trackio", ["trackio"]),
        ("wandb", ["wandb"]),
    ],
)
def test_a_tracker_that_is_not_installed_is_named(
    name: Any, modules: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr("torch.utils.tensorboard", raising=False)
    hint = rf"'{name}', which is not installed: pip install .*trackers"
    with pytest.raises(ConfigError, match=hint), open_tracker(name, tmp_path):
        pass


def test_tensorboard_writes_below_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard comes with the trackers extra")
    with open_tracker("tensorboard", tmp_path) as report:
        report(METRICS, 1)
    assert list((tmp_path / "tensorboard").glob("events*"))
