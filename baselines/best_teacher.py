"""Best teacher by validation: a student per teacher, of which the best on held-out questions stays."""

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
    TrainingPart,
    answer_nats,
    joined_report,
    restore,
    schedule_steps,
    taught_by,
    train,
    trained_weights,
)

from ._before_training import held_out


@dataclass(frozen=True)
class BestTeacher:
    """argmin over teachers k of the validation nats of the student distilled from k alone."""

    config: SupervisedConfig
    config_type = SupervisedConfig
    card = MethodCard(
        title="Best teacher by validation: one student per teacher, the best on held-out questions stays",
        short="Best teacher by validation",
        source="none; what one does who has validation questions and no idea which teacher to trust",
        ours=(
            "judged by nats per gold-answer token on the validation questions, mean of after the question "
            "and after a right held-out rationale, as tables choose the best single teacher, but for every "
            "seed by itself; right is a rationale whose answer is the gold one",
            "a teacher's student is trained on the questions for which the teacher has a rationale",
            "the steps table has all students' steps; those that were not chosen have weight 0",
        ),
        uses_gold=True,
        needs=("validation questions with gold answers",),
        reproduction="no reference",
        extra_steps="a whole schedule for each of the K teachers, of the questions that it has, so up to K "
        "times the optimiser steps, each on one teacher's rationales",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train a student per teacher and keep the one that is best on the validation questions."""
        validation = held_out(context, "best_teacher", "to choose by")
        teachers = sorted({teacher for question in questions for teacher in question.teachers})
        start = trained_weights(student.model)
        best, best_nats, nats, parts = start, float("inf"), {}, []
        for index, teacher in enumerate(teachers):
            restore(student.model, start)
            taught = taught_by(questions, teacher)
            part = TrainingPart(f"branch-{index}", 0, schedule_steps(context.settings.train, len(taught)))
            objective = self.config.objective(context, (teacher,))
            labelled = context.labelled(teacher, teacher=teacher)
            parts.append((part, train(student, taught, objective, labelled, part)))
            measured = answer_nats(student, validation)
            known = [v for v in (measured["after_question"], measured["after_rationale"]) if v is not None]
            nats[teacher] = sum(known) / len(known)
            if nats[teacher] < best_nats:
                best, best_nats = trained_weights(student.model), nats[teacher]
        restore(student.model, best)
        chosen = min(nats, key=lambda teacher: (nats[teacher], teacher))
        weighed = [(*part, float(teacher == chosen)) for part, teacher in zip(parts, teachers, strict=True)]
        report = joined_report(context.directory, weighed)
        return replace(report, extra={**report.extra, "validation_nats": nats, "chosen": chosen})


METHOD = BestTeacher
