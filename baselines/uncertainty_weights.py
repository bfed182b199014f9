"""Uncertainty weighting: each teacher's loss is divided by a variance that is learnt with the student."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    Rate,
    Reduction,
    RunContext,
    StepLoss,
    Student,
    SupervisedConfig,
    TrainSettings,
    all_branches,
    branch_losses,
    branch_rows,
    train,
)

from ._weighing import moved, parameter_per_teacher


class UncertaintyWeightsConfig(SupervisedConfig):
    """Settings of uncertainty weighting.

    Attributes:
        start: log-variance s of every teacher before training.
        log_variance_rate: learning rate of the log-variances (per AdamW step, about what one moves).
    """

    start: Annotated[float, Field(ge=-10.0, le=10.0)] = 0.0
    log_variance_rate: Rate = 0.02


def uncertainty_loss(losses: Tensor, log_variances: Tensor) -> Tensor:
    """sum_k exp(-s_k) L_k / 2 + s_k / 2, both Float[Tensor, "teachers"]; the least is at exp(s_k) = L_k."""
    return (0.5 * torch.exp(-log_variances) * losses + 0.5 * log_variances).sum()


@dataclass
class UncertaintyObjective:
    """Mean over questions of `uncertainty_loss` over their teachers.

    Attributes:
        rate: learning rate of the log-variances.
        parameters: teacher -> (s - start) * train.learning_rate / rate, which the loop trains.
    """

    train: TrainSettings
    start: float
    rate: float
    reduction: Reduction
    parameters: dict[str, nn.Parameter] = field(repr=False)

    encode = all_branches

    def log_variance(self, teacher: str) -> Tensor:
        """s of a teacher, with gradient."""
        return self.start + moved(self.parameters[teacher], self.rate / self.train.learning_rate)

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """A teacher without a rationale for a question has no term there, not even s/2."""
        losses = branch_losses(student, batch, self.train, self.reduction)
        totals, weights = [], []
        for question, of_branches in zip(batch, losses, strict=True):
            s = torch.stack([self.log_variance(branch.teacher) for branch in question.branches])
            totals.append(uncertainty_loss(torch.stack(of_branches), s))
            weights.append(torch.softmax(-s.detach(), dim=0).tolist())
        values = {teacher: float(self.log_variance(teacher).detach()) for teacher in self.parameters}
        rows = branch_rows(batch, losses, weights, log_variance=values)
        return StepLoss(torch.stack(totals).mean(), rows)


@dataclass(frozen=True)
class UncertaintyWeights:
    """L = sum_k exp(-s_k) L_SFT,k / 2 + s_k / 2, s trained with the student."""

    config: UncertaintyWeightsConfig
    config_type = UncertaintyWeightsConfig
    card = MethodCard(
        title="Uncertainty weighting: teachers' losses over learnt variances",
        source="Kendall, Gal and Cipolla, CVPR 2018 (their form for classification is another); as in "
        "torchjd 0.18.0 (scalarization.UW), s starting at 0",
        deviations=(
            "the log-variances learn at a rate of their own: at the student's they would move by a few "
            "hundredths in a whole run and the weights stay uniform",
        ),
        ours=(
            "the source's tasks are teachers here: a high loss, whatever its reason, is taken for noise, so "
            "that easy rationales count more",
            "`teacher_weight` in the steps table is exp(-s_k) over its sum; the loss is not normalised so",
            "a teacher without a rationale for a question has no term in it",
        ),
        reproduction="no reference",
        short="Uncertainty weighting",
        needs=("rationales",),
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place; the report's `extra` has the variances exp(s) that were learnt."""
        config, loop = self.config, context.settings.train
        parameters = parameter_per_teacher(questions, student)
        loss = UncertaintyObjective(
            loop, config.start, config.log_variance_rate, config.sft_reduction, parameters
        )
        report = train(student, questions, loss, context)
        variances = {t: math.exp(float(loss.log_variance(t).detach())) for t in parameters}
        return replace(report, extra={**report.extra, "variances": variances})


METHOD = UncertaintyWeights
