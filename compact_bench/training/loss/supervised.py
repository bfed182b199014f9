"""Supervised losses per branch (Eq. 8), and their rows of the steps table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from compact_bench.core.settings import TrainSettings
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedQuestion
from compact_bench.training.loss.forward import branch_hidden
from compact_bench.training.loss.head import branch_values

Reduction = Literal["mean", "sum"]


def branch_losses(
    student: Student, batch: Sequence[EncodedQuestion], train: TrainSettings, reduction: Reduction
) -> list[list[Tensor]]:
    """Supervised loss of every branch, its tokens' mean or sum, per question, from one forward pass."""
    states = branch_hidden(student, batch, train.layout)
    return reduced_losses(student, batch, states, train, reduction)


def reduced_losses(
    student: Student,
    batch: Sequence[EncodedQuestion],
    states: Sequence[Sequence[Tensor]],
    train: TrainSettings,
    reduction: Reduction,
) -> list[list[Tensor]]:
    """As `branch_losses`, from hidden states that were computed already."""
    values = branch_values(student, batch, states, train, with_gold=False)
    reduce = Tensor.mean if reduction == "mean" else Tensor.sum
    return [[reduce(value.losses) for value in of_question] for of_question in values]


def branch_rows(
    batch: Sequence[EncodedQuestion],
    losses: Sequence[Sequence[Tensor]],
    weights: Sequence[Sequence[float]] | None = None,
    **columns: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Rows of the steps table, one per branch. Without weights a question's branches count
    alike; `columns` adds columns, each with its value per teacher.
    """
    # One transfer from a GPU per question.
    values = [torch.stack(list(of_question)).tolist() for of_question in losses]
    return [
        {
            "question_id": question.question_id,
            **branch.columns,
            "is_right": branch.is_right,
            "teacher_weight": 1.0 / len(question.branches) if weights is None else weights[n][k],
            "supervised_loss": values[n][k],
            **{name: by_teacher[branch.teacher] for name, by_teacher in columns.items()},
        }
        for n, question in enumerate(batch)
        for k, branch in enumerate(question.branches)
    ]
