"""Random teacher: one teacher's rationale per question and step, drawn anew every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    SelectedBranches,
    Strict,
    Student,
    SuiteInfo,
    SupervisedObjective,
    draw_teacher,
    train,
)


class RandomTeacherConfig(Strict):
    """Settings of drawing teachers.

    Attributes:
        sft_reduction: "mean" or "sum" over a rationale's supervised tokens.
    """

    sft_reduction: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True)
class _Draw:
    """Every teacher of a question is as likely as the others."""

    seed: int

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """One name, by run, step, question and the teachers' names alone."""
        return (draw_teacher([b.teacher for b in question.branches], self.seed, step, question.question_id),)


class RandomTeacher:
    """L = L_SFT,k with k drawn for every question and step; its expectation is uniform's."""

    card: ClassVar[MethodCard] = MethodCard(
        title="Random teacher: one teacher drawn per question and step",
        short="Random teacher",
        source="ours; drawing one of several teachers per batch or sample is common in distillation, but no "
        "source with chain-of-thought teachers was at hand",
        ours=(
            "every teacher is as likely as the others, and draws are independent: a teacher may be drawn for "
            "a question in every epoch or in none",
            "the draw depends on the run's seed, the step, the question and the teachers' names only",
            "sees about 1/K of the tokens of uniform in the same number of steps",
        ),
        needs=("a rationale",),
        min_teachers=1,
        reproduction="no reference",
    )
    config_type: ClassVar[type[Strict]] = RandomTeacherConfig

    def __init__(self, config: RandomTeacherConfig) -> None:
        self.config = config

    def supports(self, suite: SuiteInfo) -> str | None:
        """Runs everywhere."""
        return None

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place."""
        inner = SupervisedObjective(context.settings.train, None, self.config.sft_reduction)
        chooser = _Draw(context.seed_for("teacher"))
        return train(student, questions, SelectedBranches(inner, chooser), context)


METHOD = RandomTeacher
