"""Truth scores against a naive loop in float64, against scipy, and on cases known by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from compact_bench.core.errors import DataError
from compact_bench.core.records import Question, Rationale, RationaleTruth
from compact_bench.evaluation.probes.truth import NO_MIXED, NO_SCORE, NO_WEIGHT, truth_scores

TEACHERS = ("ada", "bob", "cyd", "dee")
COLUMNS = {
    "consensus": "consensus",
    "adaptability": "adaptability",
    "difficulty": "difficulty",
    "fused": "teacher_weight",
}


def question(name: str, right: Sequence[bool], family: str = "") -> Question:
    rationales = tuple(
        Rationale(teacher, "text", RationaleTruth(is_right, None if is_right else 1, 2, "plain"))
        for teacher, is_right in zip(TEACHERS, right, strict=False)
    )
    return Question(name, name, "1", rationales, family=family)


def table(
    visits: Sequence[tuple[int, int, str]], rows: Mapping[tuple[int, str], Mapping[str, Sequence[Any]]]
) -> pd.DataFrame:
    """(step, epoch, question) visits with columns of one value per teacher."""
    return pd.DataFrame(
        [
            {"step": step, "epoch": epoch, "question_id": name, "teacher": TEACHERS[k]}
            | {column: values[k] for column, values in rows[epoch, name].items()}
            for step, epoch, name in visits
            for k in range(len(next(iter(rows[epoch, name].values()))))
        ]
    )


def one(weights: Sequence[float], right: Sequence[bool], **scores: Sequence[float]) -> Any:
    rows = {(0, "q"): {"teacher_weight": weights, **scores}}
    return truth_scores(table([(1, 0, "q")], rows), [question("q", right)])


def random_run(seed: int, count: int = 30, epochs: int = 3) -> tuple[pd.DataFrame, list[Question]]:
    """Scores drawn from few values, so that there are ties; some questions all right, some all wrong."""
    draw = np.random.default_rng(seed)
    questions = [
        question(f"q{n}", list(draw.random(4) < (0.05, 0.5, 0.6, 0.97)[n % 4]), ("ring", "order")[n % 2])
        for n in range(count)
    ]
    visits, rows = [], {}
    for epoch in range(epochs):
        for place, n in enumerate(draw.permutation(count)):
            name = f"q{n}"
            visits.append((epoch * 10 + place // 3 + 1, epoch, name))
            weights = draw.integers(1, 5, 4).astype(np.float64)
            rows[epoch, name] = {
                "teacher_weight": list(weights / weights.sum()),
                "consensus": list(draw.integers(0, 3, 4).astype(np.float64)),
                "adaptability": list(draw.normal(size=4)),
                "difficulty": list(draw.normal(size=4)),
                "is_right": list(draw.random(4) < 0.7),
            }
    return table(visits, rows), questions


def naive_area(values: Sequence[float], right: Sequence[bool]) -> float:
    pairs = [(a, b) for (a, x), (b, y) in product(zip(values, right, strict=True), repeat=2) if x and not y]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def naive(steps: pd.DataFrame, questions: Sequence[Question]) -> dict[str, Any]:
    """Every number by loops over questions, epochs and pairs."""
    shares, uniform, areas = [], [], {score: [] for score in COLUMNS}  # type: ignore[var-annotated]
    for asked in questions:
        right = [bool(r.truth and r.truth.is_right) for r in asked.rationales]
        if all(right) or not any(right):
            continue
        seen = []
        for _, rows in steps[steps["question_id"] == asked.id].groupby("epoch"):
            by_teacher = rows.set_index("teacher").loc[list(asked.teachers)]
            weights = list(by_teacher["teacher_weight"])
            each = {"share": sum(w for w, x in zip(weights, right, strict=True) if x) / sum(weights)}
            for score, column in COLUMNS.items():
                sign = -1.0 if score == "difficulty" else 1.0
                each[score] = naive_area([sign * v for v in by_teacher[column]], right)
            seen.append(each)
        if not seen:
            continue
        shares.append(sum(each["share"] for each in seen) / len(seen))
        uniform.append(sum(right) / len(right))
        for score in COLUMNS:
            areas[score].append(sum(each[score] for each in seen) / len(seen))
    count = len(shares)
    share, plain = sum(shares) / count, sum(uniform) / count
    return {
        "questions": count,
        "weight_on_right": share,
        "uniform_share": plain,
        "regret": 1 - share,
        "relative_regret": (1 - share) / (1 - plain),
        "auc": {score: sum(values) / count for score, values in areas.items()},
    }


def assert_close(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_the_naive_loop(seed: int) -> None:
    steps, questions = random_run(seed)
    found = truth_scores(steps.sample(frac=1.0, random_state=seed), questions)
    assert found["questions"] < len(questions), "there must be questions that do not count"
    assert_close(found, naive(steps, questions))
    assert found["reasons"] == {}
    for part in found["by_family"]:
        own = [q for q in questions if q.family == part["family"]]
        assert_close(part, naive(steps[steps["question_id"].isin([q.id for q in own])], own))
    assert [part["family"] for part in found["by_family"]] == ["ring", "order"]


def test_windows_are_equal_stretches_of_training() -> None:
    steps, questions = random_run(7)
    found = truth_scores(steps, questions)["over_training"]
    assert [(w["first_step"], w["last_step"]) for w in found] == [(3 * n + 1, 3 * n + 3) for n in range(10)]
    for window in found:
        inside = steps[steps["step"].between(window["first_step"], window["last_step"])]
        assert_close(window, naive(inside, questions))
    short = truth_scores(steps[steps["step"] <= 4], questions)["over_training"]
    assert [(w["first_step"], w["last_step"]) for w in short] == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_a_window_without_a_mixed_question_says_so() -> None:
    rows: dict[tuple[int, str], Any] = {(0, name): {"teacher_weight": [0.5, 0.5]} for name in ("a", "b")}
    steps = table([(1, 0, "a"), (2, 0, "b")], rows)
    found = truth_scores(steps, [question("a", [True, True]), question("b", [True, False])])
    first, second = found["over_training"]
    assert (first["weight_on_right"], first["auc"]["fused"], first["questions"]) == (None, None, 0)
    assert first["reasons"]["weight_on_right"] == first["reasons"]["auc_fused"] == NO_MIXED
    assert (second["weight_on_right"], second["auc"]["fused"]) == (0.5, 0.5)


def test_items_average_to_the_numbers() -> None:
    steps, questions = random_run(3)
    found = truth_scores(steps, questions)
    items = found["items"]
    by_id = {q.id: q for q in questions}
    assert items["families"] == [by_id[name].family for name in items["question_ids"]]
    assert len(items["question_ids"]) == found["questions"]
    assert np.mean(items["weight_on_right"]) == pytest.approx(found["weight_on_right"])
    assert np.mean(items["uniform_share"]) == pytest.approx(found["uniform_share"])
    for score in COLUMNS:
        assert np.mean(items["auc"][score]) == pytest.approx(found["auc"][score])
    weighted = np.average(items["relative_regret"], weights=items["uniform_regret"])
    assert weighted == pytest.approx(found["relative_regret"])


@pytest.mark.parametrize("seed", range(3))
def test_pooled_areas_are_those_of_scores_standardised_by_hand(seed: int) -> None:
    steps, questions = random_run(seed)
    found = truth_scores(steps, questions)["pooled_auc"]
    truth = {(q.id, r.teacher): bool(r.truth and r.truth.is_right) for q in questions for r in q.rationales}
    for score, column in COLUMNS.items():
        sign, values = (-1.0 if score == "difficulty" else 1.0), {}  # type: ignore[var-annotated]
        for _, rows in steps.groupby(["epoch", "question_id"]):
            spread = rows[column].std(ddof=0)
            for row in rows.to_dict("records"):
                z = sign * (row[column] - rows[column].mean()) / spread if spread > 1e-12 else 0.0
                values.setdefault((row["question_id"], row["teacher"]), []).append(z)
        means = {key: round(sum(z) / len(z), 9) for key, z in values.items()}
        groups = [[z for key, z in means.items() if truth[key] is side] for side in (True, False)]
        assert len(groups[0]) + len(groups[1]) == 4 * len(questions)
        expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(*groups)])
        assert found[score] == pytest.approx(expected, abs=1e-9)


def test_areas_of_single_questions_are_those_of_scipy() -> None:
    steps, questions = random_run(11, epochs=1)
    items = truth_scores(steps, questions)["items"]
    by_id = {q.id: q for q in questions}
    for n, name in enumerate(items["question_ids"]):
        rows = steps[steps["question_id"] == name].set_index("teacher").loc[list(TEACHERS)]
        right = np.array([bool(r.truth and r.truth.is_right) for r in by_id[name].rationales])
        for score, column in COLUMNS.items():
            values = rows[column].to_numpy() * (-1.0 if score == "difficulty" else 1.0)
            test = mannwhitneyu(values[right], values[~right])
            expected = test.statistic / (right.sum() * (~right).sum())
            assert items["auc"][score][n] == pytest.approx(expected)


def test_equal_weights_are_the_yardstick() -> None:
    found = one([1 / 3] * 3, [True, True, False])
    assert found["weight_on_right"] == pytest.approx(2 / 3)
    assert found["uniform_share"] == pytest.approx(2 / 3)
    assert found["relative_regret"] == pytest.approx(1.0)
    assert (found["auc"]["fused"], found["pooled_auc"]["fused"]) == (0.5, 0.5)


def test_the_oracle_has_no_regret() -> None:
    found = one([0.5, 0.0, 0.5, 0.0], [True, False, True, False])
    assert (found["weight_on_right"], found["regret"], found["relative_regret"]) == (1.0, 0.0, 0.0)
    assert found["auc"]["fused"] == found["pooled_auc"]["fused"] == 1.0


def test_all_weight_on_the_wrong_one() -> None:
    found = one([0.0, 0.0, 1.0, 0.0], [True, True, False, True])
    assert (found["weight_on_right"], found["regret"], found["relative_regret"]) == (0.0, 1.0, 4.0)
    assert found["auc"]["fused"] == 0.0


def test_ties_count_one_half_and_difficulty_is_turned() -> None:
    right = [True, True, False, False]
    found = one([0.25] * 4, right, consensus=[2.0, 1.0, 1.0, 0.0], difficulty=[3.0, 3.0, 1.0, 3.0])
    # Consensus wins three pairs and ties one; turned difficulty ties two and loses two.
    assert found["auc"]["consensus"] == 3.5 / 4
    assert found["auc"]["difficulty"] == 1.0 / 4
    assert (found["auc"]["adaptability"], found["reasons"]["auc_adaptability"]) == (None, NO_SCORE)
    assert (found["pooled_auc"]["adaptability"], found["reasons"]["pooled_auc_adaptability"]) == (
        None,
        NO_SCORE,
    )
    assert found["items"]["auc"]["adaptability"] == [None]


def test_a_single_teacher_leaves_the_others_without_weight() -> None:
    rows = {(0, name): {"teacher_weight": [1.0], "is_right": [True]} for name in ("a", "b", "c")}
    steps = table([(1, 0, "a"), (1, 0, "b"), (2, 0, "c")], rows)
    questions = [
        question("a", [True, False]),
        question("b", [False, True]),
        question("c", [True, True]),
    ]
    found = truth_scores(steps, questions)
    assert found["items"]["weight_on_right"] == [1.0, 0.0]
    assert (found["weight_on_right"], found["uniform_share"], found["auc"]["fused"]) == (0.5, 0.5, 0.5)
    assert found["by_teacher"]["ada"]["mean_weight"] == 1.0
    assert found["by_teacher"]["bob"] == {
        "rationales": 3,
        "right_share": pytest.approx(2 / 3),
        "mean_weight": 0.0,
        "weight_if_right": 0.0,
        "weight_if_wrong": 0.0,
    }
    assert found["answer_only"] == {
        "rationales": 3,
        "agreement": pytest.approx(2 / 3),
        "right_answer": 1.0,
        "right_answer_wrong_steps": pytest.approx(1 / 3),
    }


def test_nothing_to_tell_apart_is_none_with_a_reason() -> None:
    found = one([0.5, 0.5], [True, True], consensus=[1.0, 2.0])
    names = ("weight_on_right", "uniform_share", "regret", "relative_regret")
    assert [found[name] for name in names] == [None] * 4
    assert {found["reasons"][name] for name in names} == {NO_MIXED}
    assert found["auc"]["consensus"] is None and found["reasons"]["auc_consensus"] == NO_MIXED
    assert found["pooled_auc"]["fused"] is None and found["reasons"]["pooled_auc_fused"] == NO_MIXED
    assert found["items"]["question_ids"] == []
    assert found["by_teacher"]["ada"]["weight_if_wrong"] is None
    without = one([0.0, 0.0], [True, False])
    assert (without["weight_on_right"], without["reasons"]["weight_on_right"]) == (None, NO_WEIGHT)


def test_epochs_are_averaged_within_a_question_first() -> None:
    rows = {
        (0, "a"): {"teacher_weight": [1.0, 0.0]},
        (1, "a"): {"teacher_weight": [0.0, 1.0]},
        (0, "b"): {"teacher_weight": [0.8, 0.2]},
    }
    steps = table([(1, 0, "a"), (1, 0, "b"), (2, 1, "a")], rows)
    found = truth_scores(steps, [question("a", [True, False]), question("b", [True, False])])
    assert found["items"]["weight_on_right"] == [0.5, 0.8]
    assert found["weight_on_right"] == pytest.approx(0.65)


def test_weights_by_teacher_and_by_truth() -> None:
    rows = {
        (0, "a"): {"teacher_weight": [0.9, 0.1]},
        (0, "b"): {"teacher_weight": [0.4, 0.6]},
    }
    questions = [question("a", [True, False]), question("b", [False, True])]
    found = truth_scores(table([(1, 0, "a"), (1, 0, "b")], rows), questions)["by_teacher"]["ada"]
    assert (found["right_share"], found["mean_weight"]) == (0.5, pytest.approx(0.65))
    assert (found["weight_if_right"], found["weight_if_wrong"]) == (0.9, 0.4)


def test_the_answer_alone_is_compared_with_the_truth() -> None:
    found = one([0.25] * 4, [True, True, False, False], is_right=[True, True, True, False])
    assert found["answer_only"] == {
        "rationales": 4,
        "agreement": 0.75,
        "right_answer": 0.75,
        "right_answer_wrong_steps": 0.25,
    }
    assert one([0.5, 0.5], [True, False])["answer_only"] is None


def test_the_result_is_plain_data() -> None:
    steps, questions = random_run(2)
    found = truth_scores(steps, questions)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_does_not_fit_is_refused_with_every_fault() -> None:
    steps, questions = random_run(1, count=4, epochs=1)
    with pytest.raises(DataError, match=r"no teacher_weight") as caught:
        truth_scores(steps.drop(columns="teacher_weight"), questions)
    assert "run it again" in str(caught.value)
    with pytest.raises(DataError, match="got no row"):
        truth_scores(steps.head(0), questions)
    with pytest.raises(DataError) as caught:
        truth_scores(pd.concat([steps, steps.head(2)]), questions[:-1])
    assert len(caught.value.faults) == 4 + 2
    bare = Question("q0", "q0", "1", (Rationale("ada", "text"), Rationale("bob", "text")))
    with pytest.raises(DataError) as caught:
        truth_scores(steps, [bare, *questions[1:]])
    assert [fault.where for fault in caught.value.faults] == [
        "question q0, teacher ada",
        "question q0, teacher bob",
    ]


def narrowed(steps: pd.DataFrame, questions: Sequence[Question]) -> tuple[pd.DataFrame, tuple[Question, ...]]:
    """The run where every second question lacks a teacher, another one each time."""
    kept = [
        replace(q, rationales=tuple(r for k, r in enumerate(q.rationales) if n % 2 or k != n // 2 % 4))
        for n, q in enumerate(questions)
    ]
    given = {(q.id, teacher) for q in kept for teacher in q.teachers}
    rows = [key in given for key in zip(steps["question_id"], steps["teacher"], strict=True)]
    return steps[rows], tuple(kept)


@pytest.mark.parametrize("seed", range(3))
def test_a_question_counts_with_the_teachers_it_has(seed: int) -> None:
    steps, questions = narrowed(*random_run(seed))
    found = truth_scores(steps, questions)
    assert_close(found, naive(steps, questions))
    asked = {t: sum(t in q.teachers for q in questions) for t in TEACHERS}
    assert {t: found["by_teacher"][t]["rationales"] for t in TEACHERS} == asked
    assert min(asked.values()) < len(questions)


@pytest.mark.parametrize("seed", range(3))
def test_several_rationales_of_a_teacher_are_told_apart(seed: int) -> None:
    """Two teachers who become one with two samples: every score stays, and the teacher is both."""
    steps, questions = random_run(seed)
    before = truth_scores(steps, questions)
    first, second = TEACHERS[:2]
    renamed = tuple(
        replace(
            q,
            rationales=tuple(
                replace(r, teacher=first, sample=1 + (r.teacher == second))
                if r.teacher in (first, second)
                else r
                for r in q.rationales
            ),
        )
        for q in questions
    )
    sample = steps["teacher"].map({first: 1.0, second: 2.0})
    changed = steps.assign(teacher=steps["teacher"].replace(second, first), sample=sample)
    after = truth_scores(changed, renamed)
    kept = ("questions", "weight_on_right", "relative_regret", "auc", "pooled_auc")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    one, other, both = before["by_teacher"][first], before["by_teacher"][second], after["by_teacher"][first]
    assert both["rationales"] == one["rationales"] + other["rationales"]
    assert both["mean_weight"] == pytest.approx((one["mean_weight"] + other["mean_weight"]) / 2)  # type: ignore[operator]
    assert second not in after["by_teacher"]
    without = changed.drop(columns="sample")
    with pytest.raises(DataError, match="expected a training question's rationale"):
        truth_scores(without, renamed)
