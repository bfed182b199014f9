"""Weights that another run recorded: what they were, and COMPACT's loss under weights that are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from compact_bench import (
    ConfigError,
    EncodedQuestion,
    Question,
    Reduction,
    RequiredMethod,
    RequiredRun,
    RunContext,
    StepLoss,
    Strict,
    Student,
    TrainSettings,
    all_branches,
    branch_hidden,
    branch_rows,
    consistency_loss,
    rationale_names,
    reduced_losses,
    span_log_probs,
)

Weights = Mapping[str, float]
"""Name of a rationale -> its weight."""
COLUMNS = ("step", "epoch", "question_id", "teacher", "teacher_weight")
CHOICES = (
    "the loss is COMPACT's (Eq. 8 to 11) at the other run's lambda and reduction, so that only the weights "
    "differ; lambda is 0 where its method has none",
    "initialisation, questions and their order are the other run's, as both have one seed",
)


class RecordedWeightsConfig(Strict):
    """Which run's weights are used.

    Attributes:
        of: method, or METHOD[VARIANT], whose run of the same seed and settings is made first.
    """

    of: RequiredMethod = "compact"


@dataclass(frozen=True)
class Visit:
    """One question in one epoch of the other run.

    Attributes:
        weights: of all the question's rationales; 0 for those that the run left out.
    """

    epoch: int
    question_id: str
    weights: Weights


def other_run(context: RunContext) -> RequiredRun:
    """The run that the setting `of` names.

    Raises:
        ConfigError: nobody gave it.
    """
    if "of" not in context.required:
        raise ConfigError("expected the run that setting `of` names in context.required, got none.")
    return context.required["of"]


def recorded_visits(run: RequiredRun, questions: Sequence[Question]) -> list[Visit]:
    """The weights of every visit of a run, in its order.

    Args:
        questions: the training questions, which the run had too.

    Raises:
        ConfigError: the run recorded no weights, or not of these questions' rationales.
    """
    table = run.steps()
    if missing := [name for name in COLUMNS if name not in table]:
        raise _no_weights(run, f"its steps table has no {', '.join(missing)}")
    table = table.assign(rationale=rationale_names(table))
    if table.duplicated(["step", "question_id", "rationale"]).any():
        raise _no_weights(run, "its steps table has a rationale twice in a step")
    weights = table["teacher_weight"]
    if not bool(((weights >= 0) & (weights < math.inf)).all()) or not bool((weights > 0).any()):
        raise _no_weights(run, "its steps table has weights that are not known, below 0, or all 0")
    names = {question.id: [r.name for r in question.rationales] for question in questions}
    read: dict[tuple[int, int, str], dict[str, float]] = {}
    for row in table[[*COLUMNS, "rationale"]].to_dict("records"):
        visit = read.setdefault((int(row["epoch"]), int(row["step"]), row["question_id"]), {})
        visit[row["rationale"]] = float(row["teacher_weight"])
    visits = []
    for (epoch, _, question_id), found in sorted(read.items()):
        if not {*found} <= {*names.get(question_id, ())}:
            raise _no_weights(run, f"question {question_id}: its rationales are not those of this run")
        visits.append(Visit(epoch, question_id, {name: found.get(name, 0.0) for name in names[question_id]}))
    return visits


def _no_weights(run: RequiredRun, why: str) -> ConfigError:
    return ConfigError(
        f"setting of: expected a method whose runs record every rationale's weight, got {run.name!r}: {why}."
    )


@dataclass
class GivenWeights:
    """sum_k w_k (L_SFT,k + lambda * L_MCon,k) with weights that are given beforehand.

    Attributes:
        consistency: lambda.
        epochs: of every epoch, question id -> the weights of its rationales; one for all epochs, where there
            is only one.
    """

    train: TrainSettings
    reduction: Reduction
    consistency: float
    epochs: Sequence[Mapping[str, Weights]]
    _epoch: int = field(default=0, init=False, repr=False)

    encode = all_branches

    @classmethod
    def like(
        cls, run: RequiredRun, context: RunContext, epochs: Sequence[Mapping[str, Weights]]
    ) -> GivenWeights:
        """The loss of another run under these weights."""
        reduction, consistency = run.settings.get("sft_reduction"), run.settings.get("lambda_consistency")
        return cls(context.settings.train, reduction or "mean", consistency or 0.0, epochs)

    def begin_step(self, step: int, total: int) -> None:
        """Remember the epoch; every epoch has as many steps."""
        self._epoch = step // (total // self.train.epochs)

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean of the questions' losses."""
        given = self.epochs[self._epoch if len(self.epochs) > 1 else 0]
        shares = [[given[q.question_id][b.name] for b in q.branches] for q in batch]
        states = branch_hidden(student, batch, self.train.layout)
        losses = reduced_losses(student, batch, states, self.train, self.reduction)
        totals = []
        # The same operations in the same order as COMPACT's: its own weights give its own student.
        for question, of_branches, of_question, share in zip(batch, states, losses, shares, strict=True):
            supervised = torch.stack(of_question)
            weights = supervised.new_tensor(share)
            loss = (weights * supervised).sum()
            if self.consistency:
                spans = span_log_probs(student, question.branches, of_branches)
                loss = loss + self.consistency * consistency_loss(spans, weights)
            totals.append(loss)
        return StepLoss(torch.stack(totals).mean(), branch_rows(batch, losses, shares))
