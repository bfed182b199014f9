"""The section on truth scores, from hand-made records."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from compact_bench.probes import truth_scores
from compact_bench.records import Question, Rationale, RationaleTruth, RunRecord
from compact_bench.report.truth import truth_markdown

QUESTIONS = 40


def question(number: int) -> Question:
    rationales = tuple(
        Rationale(teacher, "text", RationaleTruth(teacher == "ada", None if teacher == "ada" else 1, 1, ""))
        for teacher in ("ada", "bob")
    )
    return Question(f"q{number}", f"text {number}", "1", rationales, family="ring")


def scores(weight_on_ada: float, consensus: float | None) -> Any:
    rows: list[dict[str, Any]] = []
    for number in range(QUESTIONS):
        for teacher, sign in (("ada", 1.0), ("bob", -1.0)):
            weight = weight_on_ada if teacher == "ada" else 1.0 - weight_on_ada
            row = {"step": 1 + number // 4, "epoch": 0, "question_id": f"q{number}", "teacher": teacher}
            row |= {"teacher_weight": weight, "supervised_loss": 1.0, "is_right": teacher == "ada"}
            if consensus is not None:
                # Which way it points alternates, unless it always points one way.
                turn = 1.0 if abs(consensus) == 1.0 or number % 2 else -1.0
                row |= {"consensus": sign * consensus * turn, "adaptability": sign, "difficulty": sign}
            rows.append(row)
    return truth_scores(pd.DataFrame(rows), [question(n) for n in range(QUESTIONS)])


def record(method: str, seed: int, truth: Any) -> RunRecord:
    key = {"method": method, "variant": "", "seed": seed}
    return RunRecord(key=key, status="done", probes={} if truth is None else {"truth": truth})


def text(*records: RunRecord) -> str:
    return "\n".join(truth_markdown(records, {"compact": "COMPACT (paper)", "uniform": "Uniform weights"}))


def test_no_truth_no_section() -> None:
    assert text() == text(record("compact", 1, None)) == ""


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (0.8, "puts 80.0 % [80.0, 80.0] of its weight on right rationales, more than the 50.0 %"),
        (0.3, "puts 30.0 % [30.0, 30.0] of its weight on right rationales, less than the 50.0 %"),
        (0.5, "puts 50.0 % [50.0, 50.0] of its weight on right rationales, no more or less than the 50.0 %"),
    ],
)
def test_the_share_is_told_whichever_way_it_comes_out(weight: float, words: str) -> None:
    found = text(record("compact", 1, scores(weight, 0.5)), record("compact", 2, scores(weight, 0.5)))
    assert f"COMPACT (paper) {words}" in found
    assert f"n = 2 seeds, {QUESTIONS} questions" in found


def test_scores_are_told_better_worse_or_open() -> None:
    found = text(record("compact", 1, scores(0.8, 0.5)))
    better = "ranks right above wrong rationales better than chance: adaptability (AUC 1.000 [1.000, 1.000])"
    assert better in found and "the weight made of all three (AUC 1.000" in found
    # Difficulty is subtracted, so a high one on right rationales ranks them last.
    assert "ranks wrong above right rationales: difficulty (sign turned) (AUC 0.000" in found
    assert "cannot be told from chance: consensus (AUC 0.500" in found


def test_tables_name_rows_teachers_families_and_missing_scores() -> None:
    found = text(record("compact", 1, scores(0.8, 1.0)), record("uniform", 1, scores(0.5, None)))
    assert "| COMPACT (paper) | 1 | 0.800 [0.800, 0.800] | 0.500 | 0.400 [0.400, 0.400] |" in found
    assert (
        "| Uniform weights | 1 | 0.500 [0.500, 0.500] | 0.500 | 1.000 [1.000, 1.000] | none | none |" in found
    )
    assert "auc_consensus: no such score" in found
    assert "| ada | 1.000 | 0.800 | 0.500 |" in found and "| bob | 0.000 | 0.200 | 0.500 |" in found
    assert "| ring | 0.500 | 0.800 | 1.000 |" in found
    assert "| COMPACT (paper) | 1 to 1 | 0.800 |" in found and "| COMPACT (paper) | 10 to 10 |" in found
