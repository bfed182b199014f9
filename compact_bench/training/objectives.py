"""Objectives on the branches of a question: weighted by fixed weights, selected anew at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from compact_bench.core.records import Question
from compact_bench.core.settings import Strict, TrainSettings
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedQuestion, encode_question
from compact_bench.training.loss.supervised import Reduction, branch_losses, branch_rows
from compact_bench.training.protocol import Objective, RunContext, StepLoss, derive_seed


@dataclass(frozen=True)
class SupervisedObjective:
    """Mean of the selected branches' supervised losses, or their sum under weights fixed beforehand.

    Attributes:
        train: the loop's settings (layout, longest row).
        teachers: the teachers whose rationales are used, or None for all.
        reduction: "mean" or "sum" over a branch's tokens.
        weights: question id -> name of a rationale -> weight, for every selected branch; None weighs a
            question's branches alike. Weights that are all 0 leave the question a step without a gradient of
            its own.
    """

    train: TrainSettings
    teachers: tuple[str, ...] | None = None
    reduction: Reduction = "mean"
    weights: Mapping[str, Mapping[str, float]] | None = None

    def encode(self, student: Student, question: Question) -> EncodedQuestion:
        """Branches of the selected teachers."""
        chosen = [r for r in question.rationales if self.teachers is None or r.teacher in self.teachers]
        return encode_question(
            student,
            question,
            rationales=chosen,
            max_length_tokens=self.train.max_length_tokens,
            long_rows=self.train.long_rows,
        )

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean over questions of the weighted sum over branches."""
        losses = branch_losses(student, batch, self.train, self.reduction)
        weights = [self._weights(question) for question in batch]
        totals = []
        for question_losses, shares in zip(losses, weights, strict=True):
            stacked = torch.stack(question_losses)
            # The mean is no sum of losses times 1/K, to the last bit.
            fixed = self.weights is not None
            totals.append((stacked * stacked.new_tensor(shares)).sum() if fixed else stacked.mean())
        return StepLoss(torch.stack(totals).mean(), branch_rows(batch, losses, weights))

    def _weights(self, question: EncodedQuestion) -> list[float]:
        if self.weights is None:
            return [1.0 / len(question.branches)] * len(question.branches)
        by_name = self.weights[question.question_id]
        return [by_name[branch.name] for branch in question.branches]


class SupervisedConfig(Strict):
    """Settings of the supervised loss; methods with more settings derive from it.

    Attributes:
        sft_reduction: "mean" or "sum" of the losses (nats) over a branch's supervised tokens.
    """

    sft_reduction: Reduction = "mean"

    def objective(
        self,
        context: RunContext,
        teachers: tuple[str, ...] | None = None,
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> SupervisedObjective:
        """The supervised objective of a run in this configuration.

        Args:
            context: whose loop settings it takes.
            teachers, weights: as in `SupervisedObjective`.
        """
        return SupervisedObjective(context.settings.train, teachers, self.sft_reduction, weights)


class _Trains(Protocol):
    @property
    def train(self) -> TrainSettings: ...


class _Wraps(Protocol):
    @property
    def inner(self) -> Objective: ...


def all_branches(objective: _Trains, student: Student, question: Question) -> EncodedQuestion:
    """Encode all teachers' rationales; an objective with a field `train` writes `encode = all_branches`."""
    train = objective.train
    return encode_question(
        student, question, max_length_tokens=train.max_length_tokens, long_rows=train.long_rows
    )


def inner_branches(objective: _Wraps, student: Student, question: Question) -> EncodedQuestion:
    """Encode as the inner objective does; one with a field `inner` writes `encode = inner_branches`."""
    return objective.inner.encode(student, question)


class Chooser(Protocol):
    """Chooses whose branches a step trains on. A dataclass: its repr is part of a run's identity."""

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """Names of branches, or of teachers for all of theirs; empty where no branch may be used.

        Args:
            question: with all of its branches.
            step: optimiser step, from 0.
            total: steps of the whole schedule.
        """
        ...


def keep_teachers(question: EncodedQuestion, names: Sequence[str]) -> EncodedQuestion:
    """A question with some branches, in its own order: those named, and all of the teachers named.

    Args:
        names: of branches ("ada", or "ada#2" for one of several by ada), or of teachers.
    """
    kept = tuple(b for b in question.branches if b.name in names or b.teacher in names)
    return replace(question, branches=kept)


def draw_teacher(options: Sequence[str], seed: int, step: int, question_id: str) -> str:
    """Draw one of several names, each as likely as the others, whatever their order.

    Args:
        options: distinct names.
        seed: the run's.
        step: optimiser step, from 0.
        question_id: the question that the draw is for.
    """
    return min(options, key=lambda name: (derive_seed(seed, f"draw {step}/{question_id}/{name}"), name))


@dataclass
class SelectedBranches:
    """An objective on the branches that a chooser takes; the others are not computed.

    A question of which nothing may be used counts with loss 0 in its step's mean. A forward pass without
    any usable branch computes one branch at weight 0, so that its gradient is 0 and not missing.

    Attributes:
        inner: the loss of the chosen branches.
        chooser: chooses the branches.
    """

    inner: Objective
    chooser: Chooser
    _step: int = field(default=0, repr=False)
    _total: int = field(default=1, repr=False)

    encode = inner_branches

    def begin_step(self, step: int, total: int) -> None:
        """Remember the step, which the chooser reads."""
        self._step, self._total = step, total

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """The inner loss of the chosen branches, times the share of questions that have any."""
        narrowed = [keep_teachers(q, self.chooser.choose(q, self._step, self._total)) for q in batch]
        usable = tuple(question for question in narrowed if question.branches)
        seen = usable or (keep_teachers(batch[0], [batch[0].branches[0].name]),)
        step_loss = self.inner.loss(student, seen)
        rows = step_loss.rows if usable else [{**row, "teacher_weight": 0.0} for row in step_loss.rows]
        used, offered = (sum(len(q.branches) for q in some) for some in (usable, batch))
        loss = step_loss.loss * (len(usable) / len(batch))
        return StepLoss(loss, rows, step_loss.metrics, seen, used, offered)
