"""Objectives that train on some of a question's branches, chosen anew at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from compact_bench.branches import EncodedQuestion
from compact_bench.records import Question
from compact_bench.students import Student
from compact_bench.trainer import Objective, StepLoss, derive_seed

__all__ = ["Chooser", "ChosenBranches", "draw", "only"]


class Chooser(Protocol):
    """Says whose branches of a question a step trains on. A dataclass, as its repr tells runs apart."""

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """Names of teachers; none where the question has nothing that may be used.

        Args:
            question: with all of its branches.
            step: optimiser step, from 0.
            total: steps of the whole schedule.
        """
        ...


def only(question: EncodedQuestion, teachers: Sequence[str]) -> EncodedQuestion:
    """A question with the branches of some teachers, in the question's own order.

    Args:
        question: the question.
        teachers: names.
    """
    return replace(question, branches=tuple(b for b in question.branches if b.teacher in teachers))


def draw(options: Sequence[str], seed: int, step: int, question_id: str) -> str:
    """One of some names, each as likely as the others, whatever their order.

    Args:
        options: distinct names.
        seed: the run's.
        step: optimiser step, from 0.
        question_id: whose draw it is.
    """
    return min(options, key=lambda name: (derive_seed(seed, f"draw {step}/{question_id}/{name}"), name))


@dataclass
class ChosenBranches:
    """An objective on the branches that a chooser takes; the others are not computed.

    A question of which nothing may be used counts with loss 0 in its step's mean. A forward pass without
    any usable branch computes one branch at weight 0, so that its gradient is 0 and not missing.

    Attributes:
        inner: the loss of the chosen branches.
        chooser: what is chosen.
    """

    inner: Objective
    chooser: Chooser
    _step: int = field(default=0, repr=False)
    _total: int = field(default=1, repr=False)

    def encode(self, student: Student, question: Question) -> EncodedQuestion:
        """All branches of the inner objective."""
        return self.inner.encode(student, question)

    def begin_step(self, step: int, total: int) -> None:
        """Keep what the chooser is told."""
        self._step, self._total = step, total

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """The inner loss of the chosen branches, times the share of questions that have any."""
        narrowed = [only(q, self.chooser.choose(q, self._step, self._total)) for q in batch]
        usable = tuple(question for question in narrowed if question.branches)
        seen = usable or (only(batch[0], [batch[0].branches[0].teacher]),)
        found = self.inner.loss(student, seen)
        rows = found.rows if usable else [{**row, "teacher_weight": 0.0} for row in found.rows]
        return StepLoss(found.loss * (len(usable) / len(batch)), rows, found.metrics, seen)
