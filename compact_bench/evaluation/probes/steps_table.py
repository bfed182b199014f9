"""A run's steps table as arrays, beside the truth about every rationale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compact_bench.core.errors import DataError, Fault
from compact_bench.core.records import Question

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SCORES: Mapping[str, tuple[str, float]] = {
    "consensus": ("consensus", 1.0),
    "adaptability": ("adaptability", 1.0),
    "difficulty": ("difficulty", -1.0),
    "fused": ("teacher_weight", 1.0),
}
"""What ranks rationales: column of the steps table, and its sign in Eq. 7, which subtracts difficulty."""


@dataclass(frozen=True)
class StepsTable:
    """A steps table as arrays; a visit is one question in one epoch.

    Attributes:
        ids, families: names of the questions.
        teachers: of every column, which is a teacher's only rationale, or one of several.
        present, right, answered: [questions, columns], whether there is such a rationale, is right, and has
            the right answer (None where the table does not say).
        read: [questions, columns], whether the table has it.
        words: [questions, columns], number of words; NaN where there is no such rationale.
        question, step: [visits].
        weights: [visits, columns], 0 where the method did not read the rationale.
        scores: score -> [visits, columns], NaN where there is none.
    """

    ids: list[str]
    families: list[str]
    teachers: list[str]
    present: Bools
    right: Bools
    answered: Bools | None
    read: Bools
    words: Floats
    question: Ints
    step: Ints
    weights: Floats
    scores: dict[str, Floats]

    @property
    def mixed(self) -> Bools:
        """[questions], whether a question has both right and wrong rationales."""
        right, present = self.right.sum(axis=1), self.present.sum(axis=1)
        is_mixed: Bools = (right > 0) & (right < present)
        return is_mixed

    def by_question(self, values: Floats, chosen: Bools) -> Floats:
        """Mean of [visits] over the chosen visits of each question, [questions]; NaN where there is none."""
        known = chosen & ~np.isnan(values)
        size, where = len(self.ids), self.question[known]
        counts = np.bincount(where, minlength=size)
        return _ratio(np.bincount(where, weights=values[known], minlength=size), counts)

    def shares(self) -> Floats:
        """Share of the weight on right rationales, [visits]; NaN where all weights are 0."""
        total, right = self.weights.sum(axis=1), (self.weights * self.right[self.question]).sum(axis=1)
        return _ratio(right, total)

    def areas(self, score: str) -> Floats:
        """Probability that a right rationale ranks above a wrong one, [visits]; NaN without such a pair."""
        scores = self.scores[score]
        known, right = np.isfinite(scores), self.right[self.question]
        values = np.where(known, scores, 0.0)
        pairs = (right & known)[:, :, None] & (self.present[self.question] & ~right & known)[:, None, :]
        # A tie counts one half, as in the Mann-Whitney statistic, so that equal scores give exactly chance.
        above = (values[:, :, None] > values[:, None, :]) + 0.5 * (values[:, :, None] == values[:, None, :])
        return _ratio((above * pairs).sum(axis=(1, 2)), pairs.sum(axis=(1, 2)))

    def z_scores(self, score: str) -> Floats:
        """A score within its question, averaged over epochs, [questions, teachers]; NaN where none is."""
        scores = np.ma.masked_invalid(self.scores[score])
        # All scores of a question alike: no difference, whatever the rounding of their mean says.
        alike = (scores.max(axis=1) == scores.min(axis=1)).filled(True)
        spread = np.where(alike, 1.0, scores.std(axis=1).filled(1.0))
        away = (scores - scores.mean(axis=1, keepdims=True)) * ~alike[:, None]
        z = (away / spread[:, None]).filled(np.nan)
        every = np.ones(len(z), dtype=np.bool_)
        columns = [self.by_question(z[:, k], every) for k in range(len(self.teachers))]
        # Rounded, so that equal scores in two questions stay ties whatever the order of their sums.
        return np.asarray(np.round(np.stack(columns, axis=1), 9), dtype=np.float64)


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """above / below, NaN where below is 0."""
    ratio: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return ratio


def read_steps(steps: pd.DataFrame, questions: Sequence[Question]) -> StepsTable:
    """Lay a steps table out beside the questions' truth.

    Args:
        steps: a row per step, question and rationale.
        questions: the training questions, every rationale with `truth`.

    Raises:
        DataError: a rationale has no truth, or the table lacks a column, names an unknown question or
            teacher, or has a row twice; all faults are listed.
    """
    _check(steps, questions)
    where = {question.id: n for n, question in enumerate(questions)}
    # By teacher, so that the columns of one lie side by side.
    teacher_of = {r.name: r.teacher for question in questions for r in question.rationales}
    order = {name: k for k, name in enumerate(dict.fromkeys(teacher_of.values()))}
    columns = sorted(teacher_of, key=lambda name: order[teacher_of[name]])
    places = {name: k for k, name in enumerate(columns)}
    teachers = [teacher_of[name] for name in columns]
    shape = (len(questions), len(columns))
    present, right, read = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
    words = np.full(shape, np.nan)
    for n, question in enumerate(questions):
        for rationale in question.rationales:
            present[n, places[rationale.name]] = True
            words[n, places[rationale.name]] = len(rationale.text.split())
            right[n, places[rationale.name]] = rationale.truth is not None and rationale.truth.is_right
    row_question = steps["question_id"].map(where).to_numpy(dtype=np.int64)
    row_column = rationale_names(steps).map(places).to_numpy(dtype=np.int64)
    visit = steps.groupby(["epoch", "question_id"], sort=False).ngroup().to_numpy(dtype=np.int64)
    count = int(visit.max()) + 1
    question_of, step_of = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    question_of[visit], step_of[visit] = row_question, steps["step"].to_numpy(dtype=np.int64)
    read[row_question, row_column] = True
    answered = None
    if "is_right" in steps:
        answered = np.zeros(shape, dtype=np.bool_)
        answered[row_question, row_column] = steps["is_right"].to_numpy(dtype=np.bool_)

    def column(name: str, missing: float) -> Floats:
        values = np.full((count, len(columns)), missing)
        if name in steps:
            values[visit, row_column] = steps[name].to_numpy(dtype=np.float64)
        return values

    weights = column("teacher_weight", 0.0)
    scores = {score: sign * column(name, np.nan) for score, (name, sign) in SCORES.items()}
    # Weight 0 also stands for a teacher without a rationale, who must not be ranked as a low one.
    scores["fused"] = np.where(present[question_of], weights, np.nan)
    ids, families = list(where), [question.family for question in questions]
    return StepsTable(
        ids, families, teachers, present, right, answered, read, words, question_of, step_of, weights, scores
    )


def rationale_names(steps: pd.DataFrame) -> pd.Series[str]:
    """Name of the rationale of every row, by its columns "teacher" and, where there is one, "sample"."""
    names: pd.Series[str] = steps["teacher"].astype(str)
    if "sample" not in steps:
        return names
    samples = steps["sample"].fillna(0).astype(int)
    return names.where(samples == 0, names + "#" + samples.astype(str))


def _check(steps: pd.DataFrame, questions: Sequence[Question]) -> None:
    unknown = [(q.id, r.name) for q in questions for r in q.rationales if r.truth is None]
    faults = [Fault(f"question {n}, teacher {t}", "expected its truth, got none", n) for n, t in unknown]
    needed = ("step", "epoch", "question_id", "teacher", "teacher_weight")
    missing = [name for name in needed if name not in steps]
    if missing or steps.empty:
        got = f"no {', '.join(missing)}" if missing else "no row"
        faults.append(Fault("steps table", f"expected the columns {', '.join(needed)} and rows, got {got}"))
    if not faults:
        named = steps.assign(rationale=rationale_names(steps))
        given = {(question.id, r.name) for question in questions for r in question.rationales}
        faults += [
            Fault(f"question {n}, teacher {t}", "expected a training question's rationale", str(n))
            for n, t in sorted(set(zip(named["question_id"], named["rationale"], strict=True)) - given)
        ]
        for row in named.loc[named.duplicated(["epoch", "question_id", "rationale"])].itertuples():
            place = f"question {row.question_id}, teacher {row.rationale}, epoch {row.epoch}"
            faults.append(Fault(place, "expected one row, got one more", str(row.question_id)))
    if faults:
        mend = "the run's steps table and its training questions must belong together: run it again."
        raise DataError("truth scores cannot be computed", faults, mend)
