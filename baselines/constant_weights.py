"""Constant weights: another run's mean weight per teacher, whatever the question."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from compact_bench import FitReport, MethodCard, Question, RunContext, Student, all_teachers, train

from ._recorded_weights import (
    CHOICES,
    GivenWeights,
    RecordedWeightsConfig,
    Visit,
    Weights,
    other_run,
    recorded_visits,
)


@dataclass(frozen=True)
class ConstantWeights:
    """L = sum_k mean(w_k) (L_SFT,k + lambda * L_MCon,k), the mean over all visits of another run."""

    config: RecordedWeightsConfig
    config_type = RecordedWeightsConfig
    card = MethodCard(
        title="Constant weights: another run's mean weight per teacher, whatever the question",
        short="Constant weights",
        source="ours: a comparator. A method that is no better than its own mean weights chooses teachers "
        "and does not weigh questions",
        ours=(
            "a teacher's weight is the mean over all visits (questions times epochs) of the run of the same "
            "seed that `of` names, COMPACT's by default; a rationale that a visit left out counts 0 there",
            "of a teacher with several rationales for a question, their weights are summed for the mean and "
            "dealt out in equal parts",
            "where questions lack teachers: a teacher's mean is over the questions that it has, and a "
            "question's weights are scaled to the sum that a visit's weights have on average",
            *CHOICES,
        ),
        uses_gold=True,
        min_teachers=2,
        needs=("a run of the method that weighs, which is made first",),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Average the other run's weights, then train on them."""
        run = other_run(context)
        visits = recorded_visits(run, questions)
        means = mean_weights(visits, questions)
        constant = constant_weights(means, visits, questions)
        report = train(student, questions, GivenWeights.like(run, context, [constant]), context)
        return replace(report, extra={**report.extra, "constant_weights": means})


def mean_weights(visits: Sequence[Visit], questions: Sequence[Question]) -> dict[str, float]:
    """Teacher -> mean weight over the visits of the questions for which it has a rationale."""
    teacher_of = {q.id: {r.name: r.teacher for r in q.rationales} for q in questions}
    found: dict[str, list[float]] = {}
    for visit in visits:
        several: dict[str, list[float]] = {}
        for name, weight in visit.weights.items():
            several.setdefault(teacher_of[visit.question_id][name], []).append(weight)
        for teacher, weights in several.items():
            found.setdefault(teacher, []).append(math.fsum(weights))
    # Summed without rounding in between, so that no order of visits or teachers matters.
    return {teacher: math.fsum(weights) / len(weights) for teacher, weights in found.items()}


def constant_weights(
    means: Mapping[str, float], visits: Sequence[Visit], questions: Sequence[Question]
) -> dict[str, Weights]:
    """Question id -> weight of every rationale.

    Args:
        means: teacher -> mean weight.
        visits: whose mean sum of weights a question's weights have, where teachers lack questions.
    """
    complete = all(len(q.teachers) == len(all_teachers(questions)) for q in questions)
    total = math.fsum(weight for visit in visits for weight in visit.weights.values()) / len(visits)
    shares: dict[str, Weights] = {}
    for question in questions:
        several = Counter(rationale.teacher for rationale in question.rationales)
        present = math.fsum(means[teacher] for teacher in several)
        scale = 1.0 if complete or not present else total / present
        shares[question.id] = {
            r.name: means[r.teacher] * scale / several[r.teacher] for r in question.rationales
        }
    return shares


METHOD = ConstantWeights
