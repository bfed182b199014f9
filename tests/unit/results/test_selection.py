"""The rule of every choice: accuracy of generated answers, ties within one standard error to the cheaper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compact_bench.results.selection import (
    FEWEST_QUESTIONS,
    Candidate,
    choose,
    few_note,
    standard_error,
    too_few,
)


def candidate(name: str, right: int, cost: float, *, of: int = 100, seeds: int = 1) -> Candidate:
    """One that answers the first `right` questions."""
    answers = {f"q{n:03d}": float(n < right) for n in range(of)}
    return Candidate(name, dict.fromkeys(range(1, seeds + 1), answers), cost)


def test_the_highest_accuracy_is_chosen_where_nothing_ties() -> None:
    found = choose([candidate("a", 30, 1.0), candidate("b", 60, 9.0), candidate("c", 50, 2.0)])
    assert found is not None
    assert [j.name for j in found.judged] == ["b", "c", "a"]
    assert found.chosen == found.highest and found.chosen.name == "b"
    assert (found.questions, found.seeds) == (100, 1)


def test_a_tie_within_one_standard_error_goes_to_the_cheaper() -> None:
    best = candidate("dear", 60, 9.0)
    # Two right answers lost and one won: 1 pp behind, with a standard error of 1.7 pp.
    answers = {**best.answers[1], "q000": 0.0, "q001": 0.0, "q099": 1.0}
    near = Candidate("cheap", {1: answers}, 1.0)
    found = choose([best, near])
    assert found is not None and found.highest.name == "dear" and found.chosen.name == "cheap"
    assert found.judged[1].behind == pytest.approx(0.01)
    assert found.judged[1].behind_error == pytest.approx(0.0173, abs=1e-4)
    # Two lost and none won: 2 pp behind, with an error of 1.4 pp.
    far = Candidate("cheap", {1: {**best.answers[1], "q000": 0.0, "q001": 0.0}}, 1.0)
    again = choose([best, far])
    assert again is not None and again.chosen.name == "dear"


def test_equal_accuracies_go_to_the_cheaper_then_by_name_whatever_the_order() -> None:
    every = [candidate("b", 50, 2.0), candidate("c", 50, 1.0), candidate("a", 50, 2.0)]
    for order in (every, every[::-1]):
        found = choose(order)
        assert found is not None and found.chosen.name == "c" and found.highest.name == "c"
    assert choose([every[0], every[2]]).chosen.name == "a"  # type: ignore[union-attr]


def test_only_seeds_and_questions_that_all_have_count() -> None:
    one = Candidate("one", {1: {"q1": 1.0, "q2": 0.0}, 2: {"q1": 0.0, "q2": 0.0}}, 1.0)
    two = Candidate("two", {1: {"q1": 0.0, "q2": 1.0, "q3": 1.0}}, 2.0)
    found = choose([one, two])
    assert found is not None and (found.questions, found.seeds) == (2, 1)
    assert [j.accuracy for j in found.judged] == [0.5, 0.5]
    assert choose([one, Candidate("three", {3: {"q1": 1.0}}, 1.0)]) is None
    assert choose([]) is None


def test_the_standard_error_is_that_of_crossed_random_effects() -> None:
    generator = np.random.default_rng(1)
    seeds, items, means, errors = 4, 30, [], []
    for _ in range(2000):
        values = (
            0.5
            + 0.05 * generator.standard_normal((seeds, 1))
            + 0.3 * generator.standard_normal((1, items))
            + 0.2 * generator.standard_normal((seeds, items))
        )
        means.append(values.mean())
        errors.append(standard_error(values) ** 2)
    assert math.sqrt(np.mean(errors)) == pytest.approx(np.std(means), rel=0.06)
    row = generator.random((1, 50))
    assert standard_error(row) == pytest.approx(row.std(ddof=1) / math.sqrt(50))
    assert standard_error(np.ones((1, 1))) == 0.0 == standard_error(np.ones((3, 20)))


def test_few_questions_are_said_and_too_few_choose_nothing() -> None:
    assert not few_note(200)
    assert "60 validation questions are few" in few_note(60) and "6.5 pp" in few_note(60)
    assert not too_few(FEWEST_QUESTIONS, "lite") and not too_few(1, "smoke")
    assert too_few(24, "lite") == "24 validation questions, where 25 are the fewest"
    assert too_few(1, None).startswith("1 validation question, ")
