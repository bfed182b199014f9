"""Whether the weights go to the rationales that are really right, where a suite knows which ones are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from compact_bench.core.records import Question
from compact_bench.evaluation.probes.confounds import Confounds, confounds
from compact_bench.evaluation.probes.registry import Measure, Probe, ProbeInputs
from compact_bench.evaluation.probes.steps_table import SCORES, Bools, Floats, StepsTable, read_steps

if TYPE_CHECKING:
    import pandas as pd

WINDOWS = 10
NO_SCORE = "no such score"
NO_MIXED = "no question has both right and wrong rationales"
NO_WEIGHT = "no such question has any weight"
NO_PAIR = "no right and wrong rationale of one question both have this score"


class TruthSummary(TypedDict):
    """Truth scores of some questions; only those with both right and wrong rationales count.

    Keys:
        questions: how many count.
        weight_on_right: share of a question's teacher weight on its right rationales, mean over questions.
        uniform_share: what equal weights would give: the share of right rationales.
        regret: 1 - weight_on_right, the weight on wrong rationales; the oracle's is 0.
        relative_regret: regret over that of equal weights; 1 is no better than equal weights.
        auc: score -> probability that a right rationale ranks above a wrong one of the same question (ties
            count one half), mean over questions; "fused" is the teacher weight, and difficulty's sign is
            turned, as a high difficulty lowers the weight.
        reasons: "weight_on_right", "relative_regret" or "auc_<score>" -> why it is None.
    """

    questions: int
    weight_on_right: float | None
    uniform_share: float | None
    regret: float | None
    relative_regret: float | None
    auc: dict[str, float | None]
    reasons: dict[str, str]


class FamilyTruth(TruthSummary):
    """Truth scores of one family of questions.

    Keys:
        family: the family's name.
    """

    family: str


class WindowTruth(TruthSummary):
    """Truth scores of a stretch of training.

    Keys:
        first_step, last_step: its optimiser steps, from 1.
    """

    first_step: int
    last_step: int


class TeacherTruth(TypedDict):
    """One teacher, over all training questions.

    Keys:
        rationales: how many the teacher gave.
        right_share: how many of them are right, in [0, 1].
        mean_weight: mean weight of its rationales; None where the method read none of the questions.
        weight_if_right, weight_if_wrong: the same over right and over wrong rationales; None where there
            are none.
    """

    rationales: int
    right_share: float
    mean_weight: float | None
    weight_if_right: float | None
    weight_if_wrong: float | None


class AnswerOnly(TypedDict):
    """What the final answer alone says of a rationale, over the rationales that the method read.

    Keys:
        rationales: how many.
        agreement: share whose answer is right where the whole rationale is, and wrong where it is not.
        right_answer: share with the right answer.
        right_answer_wrong_steps: share with the right answer that are not right.
    """

    rationales: int
    agreement: float
    right_answer: float
    right_answer_wrong_steps: float


class TruthItems(TypedDict):
    """Values per question, averaged over epochs, of the questions that count; None where there is none.

    Keys:
        question_ids, families: the questions.
        weight_on_right, uniform_share, relative_regret: as in the summary. The summary's relative_regret is
            the mean of the questions' weighted by `uniform_regret`.
        uniform_regret: 1 - uniform_share.
        auc: score -> values.
    """

    question_ids: list[str]
    families: list[str]
    weight_on_right: list[float | None]
    uniform_share: list[float]
    relative_regret: list[float | None]
    uniform_regret: list[float]
    auc: dict[str, list[float | None]]


class TruthScores(TruthSummary, Confounds):
    """Truth scores of one run, and what is left of the rankings with teacher or length held.

    Keys:
        pooled_auc: score -> the same probability over all rationales of all questions at once, with scores
            z-scored within their question and averaged over epochs; its reasons are "pooled_auc_<score>".
        items: values per question.
        by_family: one summary per family; empty where questions have none.
        by_teacher: teacher -> its truth and weights.
        over_training: summaries of at most 10 equal stretches of optimiser steps.
        answer_only: what the final answer says; None where the steps table does not have it.
    """

    pooled_auc: dict[str, float | None]
    items: TruthItems
    by_family: list[FamilyTruth]
    by_teacher: dict[str, TeacherTruth]
    over_training: list[WindowTruth]
    answer_only: AnswerOnly | None


def truth_scores(steps: pd.DataFrame, questions: Sequence[Question]) -> TruthScores:
    """How well a run's teacher weights and scores find the rationales that are right.

    Args:
        steps: the run's steps table: a row per step, question and teacher. A rationale without a row (of
            another teacher, in a single teacher's run) has weight 0.
        questions: the training questions, every rationale with `truth`.

    Raises:
        DataError: a rationale has no truth, or the table lacks a column, names an unknown question or
            teacher, or has a row twice.
    """
    table = read_steps(steps, questions)
    every = np.ones(len(table.question), dtype=np.bool_)
    values = _QuestionValues.of(table, every)
    summary = _summary(table, values, values.visited)
    pooled = {score: _pooled(table, score) for score in SCORES}
    for score in (score for score, area in pooled.items() if area is None):
        summary["reasons"][f"pooled_auc_{score}"] = _why_no_area(table, score, any_mixed=False)
    return {
        **summary,
        **confounds(table),
        "pooled_auc": pooled,
        "items": _items(table, values),
        "by_family": _by_family(table, values),
        "by_teacher": _by_teacher(table, every),
        "over_training": _over_training(table),
        "answer_only": _answer_only(table),
    }


@dataclass(frozen=True)
class _QuestionValues:
    """Values per question over some visits, [questions]; NaN where there is none or it does not count."""

    visited: Bools
    share: Floats
    uniform: Floats
    areas: dict[str, Floats]

    @classmethod
    def of(cls, table: StepsTable, chosen: Bools) -> _QuestionValues:
        """The values over the chosen visits."""
        visited = np.bincount(table.question[chosen], minlength=len(table.ids)) > 0
        counted = np.where(table.mixed, 1.0, np.nan)
        return cls(
            visited,
            table.by_question(table.shares(), chosen) * counted,
            table.right.sum(axis=1) / table.present.sum(axis=1) * counted,
            {score: table.by_question(table.areas(score), chosen) for score in SCORES},
        )


def _summary(table: StepsTable, values: _QuestionValues, questions: Bools) -> TruthSummary:
    any_mixed = bool((questions & table.mixed).any())
    reasons: dict[str, str] = {}
    auc: dict[str, float | None] = {}
    for score, areas in values.areas.items():
        ranked = areas[questions & ~np.isnan(areas)]
        auc[score] = float(ranked.mean()) if ranked.size else None
        if not ranked.size:
            reasons[f"auc_{score}"] = _why_no_area(table, score, any_mixed=any_mixed)
    known = questions & ~np.isnan(values.share)
    share, uniform = values.share[known], values.uniform[known]
    if not share.size:
        names = ("weight_on_right", "uniform_share", "regret", "relative_regret")
        reasons |= dict.fromkeys(names, NO_WEIGHT if any_mixed else NO_MIXED)
    return TruthSummary(
        questions=len(share),
        weight_on_right=float(share.mean()) if share.size else None,
        uniform_share=float(uniform.mean()) if share.size else None,
        regret=float(1.0 - share.mean()) if share.size else None,
        relative_regret=float((1.0 - share.mean()) / (1.0 - uniform.mean())) if share.size else None,
        auc=auc,
        reasons=reasons,
    )


def _why_no_area(table: StepsTable, score: str, *, any_mixed: bool) -> str:
    if not np.isfinite(table.scores[score]).any():
        return NO_SCORE
    return NO_PAIR if any_mixed else NO_MIXED


def _pooled(table: StepsTable, score: str) -> float | None:
    from scipy.stats import mannwhitneyu

    averaged = table.z_scores(score)
    scored = ~np.isnan(averaged)
    right, wrong = averaged[scored & table.right], averaged[scored & table.present & ~table.right]
    if not right.size or not wrong.size:
        return None
    above = mannwhitneyu(right, wrong, method="asymptotic").statistic
    return float(above / (right.size * wrong.size))


def _items(table: StepsTable, values: _QuestionValues) -> TruthItems:
    chosen = np.flatnonzero(table.mixed)
    uniform_regret = 1.0 - values.uniform[chosen]
    return TruthItems(
        question_ids=[table.ids[n] for n in chosen],
        families=[table.families[n] for n in chosen],
        weight_on_right=_plain(values.share[chosen]),
        uniform_share=[float(x) for x in values.uniform[chosen]],
        relative_regret=_plain((1.0 - values.share[chosen]) / uniform_regret),
        uniform_regret=[float(x) for x in uniform_regret],
        auc={score: _plain(areas[chosen]) for score, areas in values.areas.items()},
    )


def _plain(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _by_family(table: StepsTable, values: _QuestionValues) -> list[FamilyTruth]:
    names = [name for name in dict.fromkeys(table.families) if name]
    chosen_of = {name: np.array([family == name for family in table.families]) for name in names}
    return [
        {"family": name, **_summary(table, values, values.visited & chosen)}
        for name, chosen in chosen_of.items()
    ]


def _by_teacher(table: StepsTable, every: Bools) -> dict[str, TeacherTruth]:
    truth: dict[str, TeacherTruth] = {}
    for teacher in dict.fromkeys(table.teachers):
        columns = [k for k, name in enumerate(table.teachers) if name == teacher]
        present, right = table.present[:, columns], table.right[:, columns]
        weights = np.stack([table.by_question(table.weights[:, k], every) for k in columns], axis=1)
        truth[teacher] = TeacherTruth(
            rationales=int(present.sum()),
            right_share=float(right[present].mean()),
            mean_weight=_mean(weights[present]),
            weight_if_right=_mean(weights[present & right]),
            weight_if_wrong=_mean(weights[present & ~right]),
        )
    return truth


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _over_training(table: StepsTable) -> list[WindowTruth]:
    steps = np.unique(table.step)
    windows: list[WindowTruth] = []
    for window in np.array_split(steps, min(WINDOWS, len(steps))):
        values = _QuestionValues.of(table, (table.step >= window[0]) & (table.step <= window[-1]))
        summary = _summary(table, values, values.visited)
        windows.append({"first_step": int(window[0]), "last_step": int(window[-1]), **summary})
    return windows


def _answer_only(table: StepsTable) -> AnswerOnly | None:
    if table.answered is None:
        return None
    answered, right = table.answered[table.read], table.right[table.read]
    return AnswerOnly(
        rationales=len(answered),
        agreement=float((answered == right).mean()),
        right_answer=float(answered.mean()),
        right_answer_wrong_steps=float((answered & ~right).mean()),
    )


def _of_run(given: ProbeInputs) -> TruthScores | None:
    return None if given.steps is None else truth_scores(given.steps, given.training)


def _measure(name: str, title: str, path: str, unit: str, weights: str = "") -> Measure:
    items = "truth.items."
    ids = items + "question_ids"
    return Measure(name, title, f"truth.{path}", items + path, weights and items + weights, unit, ids)


TRUTH = Probe(
    _of_run,
    (
        _measure("weight_on_right", "Weight on right rationales", "weight_on_right", "share"),
        _measure("relative_regret", "Relative regret", "relative_regret", "ratio", "uniform_regret"),
        _measure("auc_consensus", "AUC, consensus", "auc.consensus", "share"),
        _measure("auc_adaptability", "AUC, adaptability", "auc.adaptability", "share"),
        _measure("auc_difficulty", "AUC, difficulty", "auc.difficulty", "share"),
        _measure("auc_fused", "AUC, fused (the weight)", "auc.fused", "share"),
    ),
    needs=("steps", "truth"),
)
