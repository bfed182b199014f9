"""Single-teacher distillation: plain supervised fine-tuning on one teacher's rationales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compact_bench import (
    FitReport,
    MethodCard,
    Question,
    RunContext,
    Student,
    SupervisedConfig,
    UnknownNameError,
    train,
)


class SingleTeacherConfig(SupervisedConfig):
    """Settings of a single-teacher run.

    Attributes:
        teacher: name of the teacher whose rationales are used.
    """

    teacher: str


@dataclass(frozen=True)
class SingleTeacher:
    """L = L_SFT of one teacher; questions, order and steps are those of the multi-teacher methods."""

    config: SingleTeacherConfig
    config_type = SingleTeacherConfig
    card = MethodCard(
        title="Single-teacher distillation (vanilla CoT fine-tuning)",
        source="arXiv 2601.13992v1, section 4.1 and Eq. 8 with K = 1",
        ours=("sees about 1/K of the tokens of a multi-teacher method in the same number of steps",),
        short="Single teacher",
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train on one teacher's rationales, of which every question must have one."""
        teacher = self.config.teacher
        for question in questions:
            if teacher not in question.teachers:
                raise UnknownNameError(f"teacher of question {question.id!r}", teacher, question.teachers)
        return train(student, questions, self.config.objective(context, (teacher,)), context)


METHOD = SingleTeacher
