"""Truth scores against a naive loop in float64, against scipy, and on cases known by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from compact_bench.probes import truth_scores
from compact_bench.probes.truth import NO_MIXED
from compact_bench.records import Question, Rationale, RationaleTruth

TEACHERS = ("ada", "bob", "cyd", "dee")
COLUMNS = {"consensus": "consensus", "adaptability": "adaptability", "difficulty": "difficulty",
           "fused": "teacher_weight"}  # fmt: skip


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


def test_one_question_by_scipy() -> None:
    steps, questions = random_run(11, epochs=1)
    for name, area in zip(*(truth_scores(steps, questions)["items"][k] for k in ("question_ids", "auc"))
                          if False else _fused(steps, questions), strict=True):  # fmt: skip
        right = [bool(r.truth and r.truth.is_right) for q in questions if q.id == name for r in q.rationales]
        weights = steps[steps["question_id"] == name]["teacher_weight"].to_numpy()
        mask = np.array(right)
        expected = mannwhitneyu(weights[mask], weights[~mask]).statistic / (mask.sum() * (~mask).sum())
        assert area == pytest.approx(expected)


def _fused(steps: pd.DataFrame, questions: Sequence[Question]) -> tuple[list[str], list[float | None]]:
    items = truth_scores(steps, questions)["items"]
    return items["question_ids"], items["auc"]["fused"]
