"""Trackers: reported values, and what is said where a tracker is not installed."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.training.trackers import open_tracker

METRICS = {"loss": 1.5, "note": "text", "teacher_weights": {"ada": 0.25}}


def test_none_reports_nowhere(tmp_path: Path) -> None:
    with open_tracker("none", tmp_path) as report:
        report(METRICS, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_runs_are_named_and_finished(name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    run = types.SimpleNamespace(log=lambda values, step: calls.append((values, step)))
    module = types.ModuleType(name)
    module.init = lambda **keywords: calls.append(tuple(keywords.items())) or run  # type: ignore[attr-defined]
    module.finish = lambda: calls.append(("finished",))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(RuntimeError, match="stop"), open_tracker(name, tmp_path / "run7") as report:
        report(METRICS, 3)
        raise RuntimeError("stop")
    assert calls == [
        (("project", "compact_bench"), ("name", "run7")),
        ({"loss": 1.5, "teacher_weights/ada": 0.25}, 3),
        ("finished",),
    ]


def test_a_tracker_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    hint = r"'wandb', which is not installed: pip install .*trackers"
    with pytest.raises(ConfigError, match=hint), open_tracker("wandb", tmp_path):
        pass


def test_tensorboard_writes_below_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard comes with the trackers extra")
    with open_tracker("tensorboard", tmp_path) as report:
        report(METRICS, 1)
    assert list((tmp_path / "tensorboard").glob("events*"))
