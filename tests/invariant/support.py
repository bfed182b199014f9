"""Training tiny students through the real methods and the real loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from compact_bench.core.records import Question
from compact_bench.core.settings import RunSettings
from compact_bench.methods.registry import make_method
from compact_bench.students.student import Student, attach_lora, load_student
from compact_bench.training.final_weights import STEPS_FILE
from compact_bench.training.protocol import FitReport, RunContext

Log = Callable[[Mapping[str, Any]], None]


@dataclass
class Trained:
    """What a training left behind."""

    student: Student
    report: FitReport
    steps: pd.DataFrame
    logs: list[dict[str, Any]]
    start: dict[str, Tensor]

    @property
    def losses(self) -> list[float]:
        """Loss of every optimiser step."""
        return [float(log["loss"]) for log in self.logs]

    def weights(self) -> dict[str, Tensor]:
        """Parameters that trained."""
        return {n: p.detach() for n, p in self.student.model.named_parameters() if p.requires_grad}


def settings(*, lora: bool = True, dropout: float = 0.0, **train: Any) -> RunSettings:
    """Settings of a quick float32 run; `train` changes the loop's."""
    values = {"dtype": "float32", "epochs": 2, "learning_rate": 2e-3, "accumulation": 4, **train}
    return RunSettings.model_validate(
        {"train": values, "lora": {"enabled": lora, "rank": 4, "alpha": 8.0, "dropout": dropout}}
    )


def train_tiny(
    folder: Path,
    directory: Path,
    questions: Sequence[Question],
    run_settings: RunSettings,
    method: str = "compact",
    config: Mapping[str, Any] | None = None,
    log: Log | None = None,
) -> Trained:
    """One run of a method on a tiny student, from its folder to its steps table."""
    student = load_student(str(folder), dtype="float32", device="cpu")
    attach_lora(student, run_settings.lora, seed=5)
    start = {n: p.detach().clone() for n, p in student.model.named_parameters() if p.requires_grad}
    logs: list[dict[str, Any]] = []

    def keep(metrics: Mapping[str, Any]) -> None:
        logs.append(dict(metrics))
        if log is not None:
            log(metrics)

    context = RunContext(directory, run_settings, seed=7, log=keep)
    report = make_method(method, dict(config or {})).fit(student, questions, context)
    return Trained(student, report, pd.read_parquet(directory / STEPS_FILE), logs, start)


def same_training(one: Trained, other: Trained) -> None:
    """Two runs agree: losses to 1e-5, weights to 1e-4 of their size, and something was learnt."""
    assert one.report.optimiser_steps == other.report.optimiser_steps > 0
    for a, b in zip(one.losses, other.losses, strict=True):
        assert abs(a - b) <= 1e-5 * max(1.0, abs(b)), (one.losses, other.losses)
    others, moved = other.weights(), 0.0
    for name, weight in one.weights().items():
        error = float((weight - others[name]).norm())
        moved = max(moved, float((weight - one.start[name]).norm() / weight.norm().clamp(min=1e-12)))
        assert error <= 1e-4 * float(others[name].norm()), name
    assert moved > 1e-3, "the training moved nothing, so that this comparison is empty"


def scores_of(trained: Trained) -> pd.DataFrame:
    """The steps table in an order that does not depend on how steps were batched or teachers listed."""
    return trained.steps.sort_values(["step", "question_id", "teacher"]).reset_index(drop=True)


def same_tables(one: Trained, other: Trained) -> None:
    """Scores, weights and losses of every step, question and teacher agree to 1e-4."""
    a, b = scores_of(one), scores_of(other)
    assert list(a["question_id"]) == list(b["question_id"])
    assert list(a["teacher"]) == list(b["teacher"])
    numbers = [c for c in a.columns if a[c].dtype.kind == "f"]
    assert "teacher_weight" in numbers
    for column in numbers:
        got, expected = torch.tensor(a[column].to_numpy()), torch.tensor(b[column].to_numpy())
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4, msg=lambda m, c=column: f"{c}: {m}")
