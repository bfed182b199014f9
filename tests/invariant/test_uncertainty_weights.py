"""Uncertainty weighting: its formula, where fixed losses lead it, and its way through the loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compact_bench.methods.registry import get_method
from tests import tiny
from tests.invariant.support import same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]


def module() -> Any:
    get_method("uncertainty_weights")
    return __import__("compact_bench_methods.uncertainty_weights", fromlist=["METHOD"])


def test_the_formula_is_the_librarys() -> None:
    from torchjd.scalarization import UW

    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(4, generator=generator, dtype=torch.float64) + 0.1
    s = torch.randn(4, generator=generator, dtype=torch.float64)
    library = UW(4).double()
    with torch.no_grad():
        library.log_var.copy_(s)
    naive = sum(
        0.5 * math.exp(-float(a)) * float(loss) + 0.5 * float(a) for a, loss in zip(s, losses, strict=True)
    )
    found = float(module().uncertainty_loss(losses, s))
    assert found == pytest.approx(naive, rel=1e-12)
    assert found == pytest.approx(float(library(losses).detach()), rel=1e-12)


def test_fixed_losses_are_the_variances(student_folder: Folders, tmp_path: Path) -> None:
    """Through the loop, with a student that hardly moves."""
    trained = train_tiny(
        student_folder("llama", "chatml"),
        tmp_path,
        tiny.questions(2, teachers=3),
        settings(learning_rate=1e-7, warmup_steps=0, epochs=60, accumulation=2, clip_norm=1e6),
        "uncertainty_weights",
        {"log_variance_rate": 0.02, "start": 1.75},
    )
    last = trained.steps[trained.steps["step"] == 60]
    losses = last.groupby("teacher")["supervised_loss"].mean()
    assert losses.max() / losses.min() > 1.04, "these losses do not tell the teachers apart"
    variances = trained.report.extra["variances"]
    assert variances == pytest.approx(losses.to_dict(), rel=0.01)
    weights = last.groupby("teacher")["teacher_weight"].first()
    inverse = {teacher: 1.0 / value for teacher, value in variances.items()}
    for teacher, weight in weights.items():
        assert weight == pytest.approx(inverse[teacher] / sum(inverse.values()), rel=0.01)


def test_log_variances_move_at_their_own_rate(student_folder: Folders, tmp_path: Path) -> None:
    trained = train_tiny(
        student_folder("llama", "chatml"),
        tmp_path,
        tiny.questions(4, teachers=2),
        settings(epochs=3, warmup_steps=0),
        "uncertainty_weights",
        {"log_variance_rate": 0.03, "start": -0.5},
    )
    s = trained.steps[trained.steps["teacher"] == "ada"].groupby("step")["log_variance"].first()
    # AdamW's first steps are as long as its rate while the gradient keeps its sign.
    assert list(s) == pytest.approx([-0.5, -0.47, -0.44], abs=1e-3)


def test_accumulation_and_the_order_of_teachers(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(9, teachers=3)
    turned = tuple(replace(q, rationales=q.rationales[::-1]) for q in questions)
    first, *others = (
        train_tiny(
            folder,
            tmp_path / str(n),
            which,
            settings(questions_per_step=size, accumulation=8 // size),
            "uncertainty_weights",
        )
        for n, (which, size) in enumerate(((questions, 1), (questions, 8), (turned, 1)))
    )
    for other in others:
        same_training(first, other)
        same_tables(first, other)
