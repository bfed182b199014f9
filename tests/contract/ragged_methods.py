"""Methods that claim to train on ragged sets: a sound one, and broken ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    StepLoss,
    Student,
    SupervisedObjective,
    all_teachers,
    train,
)
from tests.contract.sound_method import Sound


class RaggedSound(Sound):
    """Equal weights over what there is."""

    card: ClassVar[MethodCard] = replace(Sound.card, allows=("missing_teachers", "several_samples"))


class WantsEveryone(RaggedSound):
    """Fails where a teacher is missing."""

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        for question in questions:
            by_teacher = {rationale.teacher: rationale for rationale in question.rationales}
            assert all(by_teacher[teacher].text for teacher in all_teachers(questions))
        return super().fit(student, questions, context)


class DropsTheRagged(RaggedSound):
    """Leaves out the questions that are not like the last one."""

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        complete = [q for q in questions if q.teachers == all_teachers(questions)]
        return super().fit(student, complete, context)


class KeepsOneSample(RaggedSound):
    """A dictionary by teacher holds one rationale of each."""

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        one_each = [
            replace(q, rationales=tuple({r.teacher: r for r in q.rationales}.values())) for q in questions
        ]
        return super().fit(student, one_each, context)


class _Unnamed(SupervisedObjective):
    """Rows that do not say which of several rationales they are of."""

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        found = super().loss(student, batch)
        return replace(found, rows=[{k: v for k, v in row.items() if k != "sample"} for row in found.rows])


class ForgetsSamples(RaggedSound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return train(student, questions, _Unnamed(context.settings.train), context)


class _CountsTeachers(SupervisedObjective):
    """Every rationale gets a share of its teacher's, as if it were the only one."""

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        found = super().loss(student, batch)
        teachers = {q.question_id: len({b.teacher for b in q.branches}) for q in batch}
        rows = [{**row, "teacher_weight": 1.0 / teachers[row["question_id"]]} for row in found.rows]
        return replace(found, rows=rows)


class WeighsTwice(RaggedSound):
    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return train(student, questions, _CountsTeachers(context.settings.train), context)


BROKEN_RAGGED: dict[type[Any], tuple[str, str]] = {
    WantsEveryone: ("ragged", "fit raised KeyError"),
    DropsTheRagged: ("ragged", "here it leaves out"),
    KeepsOneSample: ("ragged", "here it leaves out"),
    ForgetsSamples: ("ragged", "names rationales that are not there"),
    WeighsTwice: ("ragged", "the weights of a question sum to"),
}
"""Method -> the one check that refuses it, and a part of its message."""
