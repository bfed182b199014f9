"""Methods whose training breaks the contract in one way; everything else about them is in order."""

from __future__ import annotations

import os
import random
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from compact_bench import (
    EncodedQuestion,
    FitReport,
    Question,
    Rationale,
    RunContext,
    StepLoss,
    Student,
    SupervisedObjective,
    extract_answer,
    same_answer,
    train,
)
from tests.contract.sound_method import Sound, by_name, first_where, on_one


class DoesNothing(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return FitReport()


class Raises(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return super().fit(student, [q for q in questions if q.text == "?"], context)


class ReturnsNothing(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        super().fit(student, questions, context)
        return None  # type: ignore[return-value]


class Quiet(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return super().fit(student, questions, replace(context, log=lambda metrics: None))


@dataclass(frozen=True)
class Boasting(SupervisedObjective):
    """Says five times the weight."""

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        found = super().loss(student, batch)
        rows = [{**row, "teacher_weight": 5 * row["teacher_weight"]} for row in found.rows]
        return replace(found, rows=rows)


class WrongWeights(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return train(student, questions, Boasting(context.settings.train), context)


def longer(context: RunContext) -> RunContext:
    """The same with an epoch more."""
    settings = context.settings
    more = settings.train.model_copy(update={"epochs": settings.train.epochs + 1})
    return replace(context, settings=settings.model_copy(update={"train": more}))


class OneMoreEpoch(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return super().fit(student, questions, longer(context))


class TrainsTwice(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        super().fit(student, questions, replace(context, directory=context.directory / "before"))
        return super().fit(student, questions, context)


@dataclass(frozen=True)
class ReadsTwice(SupervisedObjective):
    """Reads every batch a second time without saying so."""

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        first, second = super().loss(student, batch), super().loss(student, batch)
        return replace(first, loss=first.loss + 0.1 * second.loss)


class UntoldTokens(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return train(student, questions, ReadsTwice(context.settings.train), context)


class Unseeded(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        rng = np.random.default_rng()
        return on_one(student, questions, context, lambda q: by_name(q)[rng.integers(len(q.rationales))])


class DrawsGlobally(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return on_one(student, questions, context, lambda q: random.choice(by_name(q)))


class SetsEnvironment(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        os.environ["BROKEN_METHOD"] = "was here"
        return super().fit(student, questions, context)


class SeedsGlobally(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        random.seed(context.seed_for("choice"))
        return on_one(student, questions, context, lambda q: random.choice(by_name(q)))


class StopsGradients(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        report = super().fit(student, questions, context)
        torch.set_grad_enabled(False)
        return report


class LeavesTraining(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        report = super().fit(student, questions, context)
        student.model.train()
        return report


class Freezes(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        report = super().fit(student, questions, context)
        student.model.requires_grad_(False)
        return report


class WritesElsewhere(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        (Path(tempfile.gettempdir()) / "compact_bench_broken_method.txt").write_text("here")
        return super().fit(student, questions, context)


class AsksTheNetwork(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=0.01)
        except OSError:
            return super().fit(student, questions, context)
        raise AssertionError("there was a network")


class TurnsTheTokenizer(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        side = student.tokenizer.padding_side
        student.tokenizer.padding_side = "right" if side == "left" else "left"
        return super().fit(student, questions, context)


class WritesOnQuestions(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        for question in questions:
            object.__setattr__(question, "source", question.source + "!")
        return super().fit(student, questions, context)


class TakesTheSecond(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return on_one(student, questions, context, lambda q: by_name(q)[1])


class AdaptersOnly(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        adapters = [p for name, p in student.model.named_parameters() if "lora_" in name]
        torch.cat([p.detach().flatten() for p in adapters])
        return super().fit(student, questions, context)


class TakesTheFirst(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return on_one(student, questions, context, lambda q: q.rationales[0])


class LeansOnTheFirst(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        weights = {}
        for question in questions:
            names = question.teachers
            lean = {names[0]: 0.02, names[-1]: -0.02} if len(names) > 1 else {}
            weights[question.id] = {name: 1 / len(names) + lean.get(name, 0.0) for name in names}
        return train(
            student, questions, SupervisedObjective(context.settings.train, weights=weights), context
        )


class PeeksAtGold(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        def choose(q: Question) -> Rationale:
            return first_where(q, lambda r: not same_answer(extract_answer(r.text), q.gold_answer))

        return on_one(student, questions, context, choose)


class PeeksAtTruth(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        def choose(q: Question) -> Rationale:
            return first_where(q, lambda r: r.truth is not None and not r.truth.is_right)

        return on_one(student, questions, context, choose)


class PeeksAtPairs(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        def choose(q: Question) -> Rationale:
            texts = {p.teacher: p.chosen for p in q.pairs}
            first = by_name(q)[0]
            return replace(first, text=texts.get(by_name(q)[-1].teacher, first.text))

        return on_one(student, questions, context, choose)


class PeeksAtReviews(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        def choose(q: Question) -> Rationale:
            # The lowest sum of scores; without reviews, the first by name.
            return min(
                by_name(q), key=lambda r: sum(v.score or 0 for v in q.reviews if v.author == r.teacher)
            )

        return on_one(student, questions, context, choose)


class NeedsFeedback(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        longest = {q.id: max(f.text for f in q.feedback) for q in questions}
        assert all(longest.values())
        return super().fit(student, questions, context)


class Wearying:
    """An objective whose loss shrinks with every call of this process."""

    def __init__(self, inner: SupervisedObjective) -> None:
        self.inner, self.calls = inner, 0

    def encode(self, student: Student, question: Question) -> EncodedQuestion:
        return self.inner.encode(student, question)

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        self.calls += 1
        found = self.inner.loss(student, batch)
        return replace(found, loss=found.loss / self.calls**2)


class Forgets(Sound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return train(student, questions, Wearying(SupervisedObjective(context.settings.train)), context)


BROKEN_FITS: dict[type[Any], tuple[str, str]] = {
    DoesNothing: ("trains", "no weight of the student changed"),
    Raises: ("trains", "fit raised DataError"),
    ReturnsNothing: ("trains", "returned NoneType"),
    Quiet: ("trains", "context.log was called with 0"),
    WrongWeights: ("trains", "from 0 to 1"),
    OneMoreEpoch: ("budget", "9 updates of the weights, the schedule has 6"),
    TrainsTwice: ("budget", "12 updates of the weights happened, the report says 6"),
    UntoldTokens: ("budget", "tokens to learn from"),
    Unseeded: ("determinism", "different weights"),
    DrawsGlobally: ("determinism", "global generator random"),
    SetsEnvironment: ("global state", "environment variable BROKEN_METHOD"),
    SeedsGlobally: ("global state", "seeds the global generator random"),
    StopsGradients: ("global state", "whether torch records gradients"),
    LeavesTraining: ("global state", "left in training mode"),
    Freezes: ("global state", "put requires_grad back"),
    WritesElsewhere: ("files", "compact_bench_broken_method.txt"),
    AsksTheNetwork: ("network", "192.0.2.1"),
    TurnsTheTokenizer: ("inputs", "the tokenizer"),
    WritesOnQuestions: ("inputs", "the questions"),
    TakesTheSecond: ("fewest teachers", "IndexError"),
    AdaptersOnly: ("whole weights", "fit raised"),
    TakesTheFirst: ("teacher order", "in reverse order"),
    LeansOnTheFirst: ("teacher order", "never by position"),
    PeeksAtGold: ("gold use", "uses_gold=True"),
    PeeksAtTruth: ("truth use", 'requires=("truth",)'),
    PeeksAtPairs: ("pairs use", 'requires=("pairs",)'),
    PeeksAtReviews: ("reviews use", 'requires=("reviews",)'),
    NeedsFeedback: ("feedback use", "fit raised ValueError"),
    Forgets: ("resume", "interrupted ends with other weights"),
}
"""Method -> the one check that refuses it, and a part of its message."""
