"""Uniform distillation with a penalty on leaving the start: KL(p_0 || p_theta) on rationale tokens."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    NonNegative,
    Question,
    Reduction,
    RunContext,
    StepLoss,
    Student,
    SupervisedConfig,
    TrainSettings,
    all_branches,
    branch_hidden,
    branch_rows,
    reduced_losses,
    train,
)


class KLToBaseConfig(SupervisedConfig):
    """Settings of the penalty; by `sft_reduction` the divergence is reduced as the loss is.

    Attributes:
        beta: weight of the divergence, per nat; 0 is uniform weighting itself.
    """

    beta: NonNegative = 1.0


def frozen_start(student: Student) -> Student | None:
    """The untrained student, for `start_active`: a frozen copy; None where adapters can be switched off."""
    if hasattr(student.model, "disable_adapter"):
        return None
    model = copy.deepcopy(student.model)
    model.requires_grad_(False)
    model.eval()
    return replace(student, model=model)


@contextmanager
def start_active(student: Student, start: Student | None) -> Iterator[Student]:
    """Inside: the student that training started from (see `frozen_start`), without dropout and gradients."""
    with torch.no_grad():
        if start is not None:
            yield replace(start, compute=student.compute)
            return
        model: Any = student.model
        training = model.training
        model.eval()
        try:
            with model.disable_adapter():
                yield student
        finally:
            model.train(training)


def label_divergences(
    student: Student, start: Student | None, hidden: Tensor, start_hidden: Tensor, settings: TrainSettings
) -> Tensor:
    """KL(p_0 || p_theta) at every label, Float[Tensor, "labels"], nats, with gradient by p_theta.

    Args:
        start: what `frozen_start` gave.
        hidden: Float[Tensor, "labels hidden"], of the student, after the final norm.
        start_hidden: the same of the start.
        settings: `logits_memory_mib` bounds how many rows of logits are there at once; where they do not
            all fit, pieces of them are computed again in the backward pass.
    """

    def piece(rows: Tensor, start_rows: Tensor) -> Tensor:
        with start_active(student, start) as first:
            before = torch.log_softmax(first.layout.logits(first.model, start_rows), dim=-1)
        after = torch.log_softmax(student.layout.logits(student.model, rows), dim=-1)
        return (before.exp() * (before - after)).sum(dim=-1)

    weight = student.layout.head(student.model).weight
    # Six numbers per entry: logits and log-probabilities of both students, and what the gradient needs.
    width = 6 * weight.shape[0] * max(4, weight.element_size())
    most = max(1, settings.logits_memory_mib * 2**20 // width)
    if len(hidden) <= most:
        return piece(hidden, start_hidden)
    pairs = zip(hidden.split(most), start_hidden.split(most), strict=True)
    return torch.cat([checkpoint(piece, *pair, use_reentrant=False) for pair in pairs])


@dataclass
class KLToBaseObjective:
    """Uniform supervised loss + beta * divergence, both reduced over a branch's labels and averaged alike."""

    train: TrainSettings
    beta: float
    reduction: Reduction
    start: Student | None = field(repr=False)

    encode = all_branches

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """One forward pass of the student and one of its start."""
        states = branch_hidden(student, batch, self.train.layout)
        losses = reduced_losses(student, batch, states, self.train, self.reduction)
        totals = [torch.stack(of_question).mean() for of_question in losses]
        loss, rows = torch.stack(totals).mean(), branch_rows(batch, losses)
        if not self.beta:
            return StepLoss(loss, rows)
        with start_active(student, self.start) as first:
            before = branch_hidden(first, batch, self.train.layout)
        after, start = (torch.cat([s[:-1] for of_q in part for s in of_q]) for part in (states, before))
        divergences = label_divergences(student, self.start, after, start, self.train)
        reduce = Tensor.mean if self.reduction == "mean" else Tensor.sum
        pieces = iter(divergences.split([b.supervised_tokens for q in batch for b in q.branches]))
        nats = [[reduce(next(pieces)) for _ in question.branches] for question in batch]
        divergence = torch.stack([torch.stack(of_question).mean() for of_question in nats]).mean()
        values = [float(value.detach()) for of_question in nats for value in of_question]
        rows = [{**row, "kl_to_base": value} for row, value in zip(rows, values, strict=True)]
        return StepLoss(loss + self.beta * divergence, rows, {"kl_to_base": float(divergence.detach())})


@dataclass(frozen=True)
class KLToBase:
    """L = 1/K * sum_k L_SFT,k + beta * KL(p_0 || p_theta) on the rationales' tokens."""

    config: KLToBaseConfig
    config_type = KLToBaseConfig
    card = MethodCard(
        title="Uniform distillation + KL to the base student on rationale tokens",
        short="KL to base",
        source="idea: Learning without Forgetting, arXiv 1606.09282 (old outputs kept on the new task's "
        "inputs); on rationales, with this direction and over full distributions: ours",
        deviations=(
            "LwF keeps softened outputs (temperature 2 in mammoth at e75a491, weight 0.5); here the plain "
            "distribution over the next token, temperature 1",
            "the KL to a reference of reinforcement learning has the other direction, on own samples",
        ),
        ours=(
            "beta = 1, chosen by generated answers to validation questions of lab@1 (decision 25); the "
            "sources' values are for other losses",
            "p_0: adapters off, or a frozen copy where every weight trains; without dropout in either case",
            "the divergence is taken at the labels of the supervised loss and reduced as it is",
            "costs one more forward pass per step",
        ),
        reproduction="no reference",
        needs=("rationales",),
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place."""
        start = frozen_start(student) if self.config.beta else None
        loss = KLToBaseObjective(context.settings.train, self.config.beta, self.config.sft_reduction, start)
        return train(student, questions, loss, context)


METHOD = KLToBase
