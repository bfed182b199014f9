"""A run's context with other settings, and with a label before what it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compact_bench.core.settings import RunSettings
from compact_bench.training.protocol import RunContext


def test_other_settings_of_the_loop_leave_the_rest_and_the_original_alone(tmp_path: Path) -> None:
    context = RunContext(tmp_path, RunSettings(), 3)
    other = context.with_train(epochs=9, learning_rate=1e-3)
    assert (other.settings.train.epochs, other.settings.train.learning_rate) == (9, 1e-3)
    assert other.settings.model_dump(exclude={"train"}) == context.settings.model_dump(exclude={"train"})
    assert context.settings == RunSettings() and (other.seed, other.directory) == (3, tmp_path)


def test_a_label_stands_before_progress_and_metrics_go_into_every_log_entry(tmp_path: Path) -> None:
    logs: list[Mapping[str, Any]] = []
    shown: list[tuple[int, int, str]] = []
    context = RunContext(tmp_path, RunSettings(), 3, logs.append, lambda *step: shown.append(step))
    inner = context.labelled("ada", teacher="ada").labelled("pilot", pilot=True)
    inner.log({"loss": 1.0})
    inner.on_progress(1, 2, "loss 1.0")
    assert logs == [{"teacher": "ada", "pilot": True, "loss": 1.0}]
    assert shown == [(1, 2, "ada, pilot, loss 1.0")]
