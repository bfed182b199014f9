"""Best teacher by validation: a student per teacher, of which the best on held-out questions stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from compact_bench import (
    Candidate,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    Student,
    SupervisedConfig,
    TrainingPart,
    choose,
    generated_answers,
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
    """argmax over teachers k of the accuracy of generated answers of the student distilled from k alone."""

    config: SupervisedConfig
    config_type = SupervisedConfig
    card = MethodCard(
        title="Best teacher by validation: one student per teacher, the best on held-out questions stays",
        short="Best teacher by validation",
        source="none; what one does who has validation questions and no idea which teacher to trust",
        ours=(
            "judged by the accuracy of generated answers to the validation questions, ties within one "
            "standard error to the teacher with fewer supervised tokens, as tables choose the best single "
            "teacher, but for every seed by itself",
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
        validation = held_out(context, "best_teacher", "to choose by", answered=True)
        teachers = sorted({teacher for question in questions for teacher in question.teachers})
        start = trained_weights(student.model)
        weights, parts, candidates = {}, [], []
        for index, teacher in enumerate(teachers):
            restore(student.model, start)
            taught = taught_by(questions, teacher)
            part = TrainingPart(f"branch-{index}", 0, schedule_steps(context.settings.train, len(taught)))
            objective = self.config.objective(context, (teacher,))
            labelled = context.labelled(teacher, teacher=teacher)
            trained = train(student, taught, objective, labelled, part)
            parts.append((part, trained))
            weights[teacher] = trained_weights(student.model)
            found = generated_answers(student, validation, context)
            answers = {context.seed: dict(zip(found.item_ids, found.items, strict=True))}
            candidates.append(Candidate(teacher, answers, trained.supervised_tokens))
        choice = choose(candidates)
        assert choice is not None, "every teacher's student answered the same questions"
        chosen = choice.chosen.name
        restore(student.model, weights[chosen])
        weighed = [(*part, float(teacher == chosen)) for part, teacher in zip(parts, teachers, strict=True)]
        report = joined_report(context.directory, weighed)
        facts = {
            "validation_accuracy": {judged.name: judged.accuracy for judged in choice.judged},
            "standard_error": {judged.name: judged.error for judged in choice.judged},
            "validation_questions": choice.questions,
            "chosen": chosen,
        }
        return replace(report, extra={**report.extra, **facts})


METHOD = BestTeacher
