"""A method that keeps the contract, and what its broken relatives share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from compact_bench import (
    FitReport,
    MethodCard,
    Question,
    Rationale,
    RunContext,
    Strict,
    Student,
    SupervisedObjective,
    train,
)


class Config(Strict):
    """Settings of these methods.

    Attributes:
        power: a number that nothing reads.
    """

    power: float = 1.0


class Sound:
    """Equal weights: what the broken ones would be if they were not broken."""

    card: ClassVar[MethodCard] = MethodCard(title="Sound", source="none, a test")
    config_type: ClassVar[type[Strict]] = Config

    def __init__(self, config: Config) -> None:
        self.config = config

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return train(student, questions, SupervisedObjective(context.settings.train), context)


Choice = Callable[[Question], Rationale]


def on_one(student: Student, questions: Sequence[Question], context: RunContext, choose: Choice) -> FitReport:
    """Train on one chosen rationale per question."""
    chosen = [replace(q, rationales=(choose(q),)) for q in questions]
    return train(student, chosen, SupervisedObjective(context.settings.train), context)


def by_name(question: Question) -> list[Rationale]:
    """A question's rationales in an order that does not depend on theirs."""
    return sorted(question.rationales, key=lambda r: r.teacher)


def first_where(question: Question, wanted: Callable[[Rationale], bool]) -> Rationale:
    """The first by name that is wanted, or the first by name."""
    named = by_name(question)
    return next(filter(wanted, named), named[0])
