"""Random teacher: one teacher's rationale per question and step, drawn anew every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    SelectedBranches,
    Student,
    SupervisedConfig,
    draw_teacher,
    train,
)


@dataclass(frozen=True)
class _Draw:
    """Every teacher of a question is as likely as the others."""

    seed: int

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """One name, by run, step, question and names alone; of a teacher's rationales one is drawn."""
        teachers = list(dict.fromkeys(branch.teacher for branch in question.branches))
        teacher = draw_teacher(teachers, self.seed, step, question.question_id)
        names = [branch.name for branch in question.branches if branch.teacher == teacher]
        return (draw_teacher(names, self.seed, step, question.question_id),)


@dataclass(frozen=True)
class RandomTeacher:
    """L = L_SFT,k with k drawn for every question and step; its expectation is uniform's."""

    config: SupervisedConfig
    config_type = SupervisedConfig
    card = MethodCard(
        title="Random teacher: one teacher drawn per question and step",
        short="Random teacher",
        source="ours; drawing one of several teachers per batch or sample is common in distillation, but no "
        "source with chain-of-thought teachers was at hand",
        ours=(
            "every teacher that has a rationale is as likely as the others, and so is each of its rationales",
            "draws are independent: a teacher may be drawn for a question in every epoch or in none",
            "the draw depends on the run's seed, the step, the question and the teachers' names only",
            "sees about 1/K of the tokens of uniform in the same number of steps",
        ),
        needs=("a rationale",),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train on one drawn rationale per question and step."""
        objective = SelectedBranches(self.config.objective(context), _Draw(context.seed_for("teacher")))
        return train(student, questions, objective, context)


METHOD = RandomTeacher
