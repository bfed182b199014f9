"""Do scores see what is right, or the teacher and the length? AUCs with one of them held, and a correlation.

A score that follows length, or one teacher, ranks right above wrong rationales wherever right ones are longer
or come from that teacher. Held fixed, only what the score sees of rightness itself is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from compact_bench.evaluation.probes.steps_table import SCORES, Floats, Ints, StepsTable

LENGTH_BINS = 5
"""Rationales are of like length within a fifth of all, by their number of words."""


class Confounds(TypedDict):
    """What is left of a score's ranking, by score; None where nothing can be told.

    Keys:
        auc_within_teacher: probability that a right rationale ranks above a wrong one of the same teacher, in
            [0, 1], over all pairs of that kind (ties count one half). Scores are z-scored within their
            question and averaged over epochs, as a teacher's rationales are of different questions.
        auc_within_length: the same for pairs of like length, whoever wrote them.
        length_correlation: Spearman's rank correlation of a score with the number of words within a question,
            in [-1, 1], mean over questions; difficulty's sign is turned, as everywhere.
    """

    auc_within_teacher: dict[str, float | None]
    auc_within_length: dict[str, float | None]
    length_correlation: dict[str, float | None]


def confounds(table: StepsTable) -> Confounds:
    """Measure them.

    Args:
        table: a run's steps beside the truth.
    """
    z_scores = {score: table.z_scores(score) for score in SCORES}
    words = table.words
    # A teacher has a column for each of several samples.
    teachers = np.broadcast_to(np.unique(table.teachers, return_inverse=True)[1], words.shape)
    lengths = _bins(words)
    return Confounds(
        auc_within_teacher={score: _area_within(table, z, teachers) for score, z in z_scores.items()},
        auc_within_length={score: _area_within(table, z, lengths) for score, z in z_scores.items()},
        length_correlation={score: _correlation(z, words) for score, z in z_scores.items()},
    )


def _bins(words: Floats) -> Ints:
    """Which fifth of all lengths a rationale is in; equal lengths are in one."""
    known = words[~np.isnan(words)]
    edges = np.quantile(known, np.arange(1, LENGTH_BINS) / LENGTH_BINS) if known.size else np.zeros(0)
    return np.searchsorted(edges, words, side="left")


def _area_within(table: StepsTable, z_scores: Floats, kinds: Ints) -> float | None:
    """Probability that a right one ranks above a wrong one of its kind; every such pair counts the same."""
    from scipy.stats import mannwhitneyu

    above, pairs = 0.0, 0
    scored = table.present & ~np.isnan(z_scores)
    for kind in np.unique(kinds[scored]):
        same = scored & (kinds == kind)
        right, wrong = z_scores[same & table.right], z_scores[same & ~table.right]
        if right.size and wrong.size:
            above += float(mannwhitneyu(right, wrong, method="asymptotic").statistic)
            pairs += right.size * wrong.size
    return above / pairs if pairs else None


def _correlation(z_scores: Floats, words: Floats) -> float | None:
    from scipy.stats import spearmanr

    values = [
        float(spearmanr(scores[known], lengths[known]).statistic)
        for scores, lengths in zip(z_scores, words, strict=True)
        if _varies(scores[known := ~np.isnan(scores) & ~np.isnan(lengths)]) and _varies(lengths[known])
    ]
    return sum(values) / len(values) if values else None


def _varies(values: Sequence[float] | Floats) -> bool:
    # Where all are equal there is no rank to correlate.
    return len(values) > 1 and min(values) < max(values)
