"""Single-teacher distillation: plain supervised fine-tuning on one teacher's rationales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compact_bench import (
    FitReport,
    MethodCard,
    Question,
    RunContext,
    Student,
    SupervisedConfig,
    taught_by,
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
    """L = L_SFT of one teacher; questions, order and steps are every method's where it has all rationales."""

    config: SingleTeacherConfig
    config_type = SingleTeacherConfig
    card = MethodCard(
        title="Single-teacher distillation (vanilla CoT fine-tuning)",
        source="arXiv 2601.13992v1, section 4.1 and Eq. 8 with K = 1",
        ours=(
            "sees about 1/K of the tokens of a multi-teacher method in the same number of steps",
            "a question without a rationale of the teacher is left out, and the schedule has fewer steps; "
            "`questions_taught` in the report says how many are left",
        ),
        short="Single teacher",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train on one teacher's rationales and the questions that have any."""
        teacher = self.config.teacher
        taught = taught_by(questions, teacher)
        report = train(student, taught, self.config.objective(context, (teacher,)), context)
        if len(taught) == len(questions):
            return report
        return replace(report, extra={**report.extra, "questions_taught": len(taught)})


METHOD = SingleTeacher
