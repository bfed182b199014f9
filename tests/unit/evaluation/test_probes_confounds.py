"""What a score sees beside the teacher and the length: cases known by hand, and a naive loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

from compact_bench.core.records import Question, Rationale, RationaleTruth
from compact_bench.evaluation.probes.truth import truth_scores

TEACHERS = ("ada", "bob", "cyd", "dee")
Score = Callable[[bool, int, int], float]


def measured(score: Score, rights: Sequence[Sequence[bool]], words: Sequence[Sequence[int]]) -> Any:
    """Truth scores of a run whose adaptability is `score` of (is right, words, place of the teacher)."""
    questions, rows = [], []
    for n, (right, lengths) in enumerate(zip(rights, words, strict=True)):
        rationales = [
            Rationale(
                teacher, "word " * length, RationaleTruth(is_right, None if is_right else 1, 2, "plain")
            )
            for teacher, is_right, length in zip(TEACHERS, right, lengths, strict=True)
        ]
        questions.append(Question(f"q{n}", f"q{n}", "1", tuple(rationales)))
        for k, teacher in enumerate(TEACHERS):
            row = {
                "step": n + 1,
                "epoch": 0,
                "question_id": f"q{n}",
                "teacher": teacher,
                "teacher_weight": 0.25,
            }
            rows.append({**row, "adaptability": score(right[k], lengths[k], k)})
    return truth_scores(pd.DataFrame(rows), questions)


def drawn(seed: int) -> tuple[list[list[bool]], list[list[int]]]:
    draw = np.random.default_rng(seed)
    rights = [[bool(x) for x in draw.random(4) < 0.6] for _ in range(60)]
    words = [[int(x) for x in draw.choice(np.arange(5, 60), 4, replace=False)] for _ in range(60)]
    return rights, words


def test_a_score_that_sees_what_is_right_keeps_its_auc() -> None:
    found = measured(lambda right, words, place: float(right), *drawn(1))
    assert found["auc_within_teacher"]["adaptability"] > 0.95
    assert found["auc_within_length"]["adaptability"] > 0.95
    assert abs(found["length_correlation"]["adaptability"]) < 0.2


def test_a_score_that_is_the_length_ranks_only_by_it() -> None:
    rights, words = drawn(2)
    # Right rationales are the longer ones: overall, length is as good as truth.
    longer = [
        [n + 100 * ok for n, ok in zip(ns, oks, strict=True)] for ns, oks in zip(words, rights, strict=True)
    ]
    found = measured(lambda right, words, place: float(words), rights, longer)
    assert found["auc"]["adaptability"] == 1.0
    assert found["length_correlation"]["adaptability"] == pytest.approx(1.0)
    # Drawn anew, so that length says nothing of truth: neither does the score.
    chance = measured(lambda right, words, place: float(words), rights, words)
    assert chance["length_correlation"]["adaptability"] == pytest.approx(1.0)
    assert chance["auc_within_length"]["adaptability"] == pytest.approx(0.5, abs=0.12)


def test_a_score_that_is_the_teacher_is_chance_within_a_teacher() -> None:
    rights, words = drawn(3)
    # The last teacher is always right, the first never: who wrote it tells all.
    rights = [[False, *right[1:3], True] for right in rights]
    found = measured(lambda right, words, place: float(place), rights, words)
    assert found["auc"]["adaptability"] > 0.8
    assert found["auc_within_teacher"]["adaptability"] == pytest.approx(0.5, abs=1e-9)


def test_a_naive_loop_gives_the_same() -> None:
    rights, words = drawn(4)
    noise = np.random.default_rng(5).normal(size=(60, 4))
    values = iter(noise.ravel())
    found = measured(lambda right, words, place: float(next(values)), rights, words)
    z = (noise - noise.mean(axis=1, keepdims=True)) / noise.std(axis=1, keepdims=True)
    edges = np.quantile(np.array(words), [0.2, 0.4, 0.6, 0.8])
    for kind_of, name in (
        (lambda n, k: k, "auc_within_teacher"),
        (lambda n, k: sum(words[n][k] > edge for edge in edges), "auc_within_length"),
    ):
        places = list(product(range(60), range(4)))
        pairs = [
            (z[a], z[b])
            for a, b in product(places, repeat=2)
            if rights[a[0]][a[1]] and not rights[b[0]][b[1]] and kind_of(*a) == kind_of(*b)
        ]
        expected = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x, y in pairs) / len(pairs)
        assert found[name]["adaptability"] == pytest.approx(expected, abs=1e-9)


def test_nothing_to_tell_is_none() -> None:
    found = measured(lambda right, words, place: 1.0, [[True] * 4], [[3, 4, 5, 6]])
    for name in ("auc_within_teacher", "auc_within_length", "length_correlation"):
        assert found[name]["adaptability"] is None and found[name]["consensus"] is None
