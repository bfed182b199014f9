"""The section on truth scores, from hand-made records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from compact_bench.core.records import Question, Rationale, RationaleTruth, RunKey, RunRecord
from compact_bench.evaluation.probes.truth import truth_scores
from compact_bench.results.report import ReportFacts
from compact_bench.results.report.sections.truth import truth_sections
from compact_bench.results.tables.build import build_table
from compact_bench.results.tables.spec import load_table_spec
from tests.unit.synthetic import SUITE, key, render_details, render_results

QUESTIONS = 40
SCORES = ("consensus", "adaptability", "difficulty", "fused")


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
    return RunRecord(
        key=key(method, "", seed), status="done", probes={} if truth is None else {"truth": truth}
    )


def by_hand(shares: dict[str, float | None], equal: dict[str, float], auc: Any = None, **more: Any) -> Any:
    """Truth scores with these values per question, and nothing else unless it is given."""
    ids = list(shares)
    items = {
        "question_ids": ids,
        "weight_on_right": [shares[i] for i in ids],
        "uniform_share": [equal[i] for i in ids],
        "relative_regret": [None if (x := shares[i]) is None else (1 - x) / (1 - equal[i]) for i in ids],
        "uniform_regret": [1 - equal[i] for i in ids],
        "auc": {score: [None if auc is None else auc[i] for i in ids] for score in SCORES},
    }
    known = [i for i in ids if shares[i] is not None]
    share = sum(float(shares[i] or 0) for i in known) / len(known) if known else None
    uniform = sum(equal[i] for i in known) / len(known) if known else None
    summary = {
        "questions": len(known),
        "weight_on_right": share,
        "uniform_share": uniform,
        "relative_regret": None if share is None or uniform is None else (1 - share) / (1 - uniform),
        "auc": {score: None if auc is None else sum(auc.values()) / len(auc) for score in SCORES},
    }
    found = {**summary, "reasons": {}, "items": items}
    return {**found, "by_family": [], "by_teacher": {}, "over_training": []} | more


def text(*records: RunRecord) -> str:
    tables = [build_table(load_table_spec(2), records, SUITE, teachers=("ada", "bob"), has_truth=True)]
    titles = {"compact": "COMPACT (paper)", "uniform": "Uniform weights"}
    sentences, shown = truth_sections(tables, records, titles)
    return "\n".join([*sentences, "", *shown] if sentences else shown)


def test_no_truth_no_section() -> None:
    assert text() == text(record("compact", 1, None)) == ""


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (0.8, "puts 80.0 % [80.0, 80.0] of its weight on right rationales, more than the 50.0 %"),
        (0.3, "puts 30.0 % [30.0, 30.0] of its weight on right rationales, less than the 50.0 %"),
        (
            0.5,
            "puts 50.0 % [50.0, 50.0] of its weight on right rationales, which cannot be told from the 50",
        ),
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
    assert (
        "ranks right above wrong rationales worse than chance: difficulty (sign turned) (AUC 0.000" in found
    )
    assert "cannot be told from chance: consensus (AUC 0.500" in found


def test_tables_name_rows_teachers_families_and_missing_scores() -> None:
    found = text(record("compact", 1, scores(0.8, 1.0)), record("uniform", 1, scores(0.5, None)))
    assert "| COMPACT (paper) | 1 | 40 | 0.800 [0.800, 0.800] | 0.500 | 0.400 [0.400, 0.400] | 1.000" in found
    uniform = "| Uniform weights | 1 | 40 | 0.500 [0.500, 0.500] | 0.500 | 1.000 [1.000, 1.000] |"
    assert f"{uniform} no such score | no such score | no such score | 0.500 [0.500, 0.500] |" in found
    assert "| ada | 1.000 | 0.800 | 0.500 |" in found and "| bob | 0.000 | 0.200 | 0.500 |" in found
    assert "| ring | 0.500 | 0.800 | 1.000 |" in found
    assert "| COMPACT (paper) | 1 to 1 | 0.800 |" in found and "| COMPACT (paper) | 10 to 10 |" in found


def test_a_small_steady_gain_over_equal_weights_is_told() -> None:
    # Questions differ far more in their share of right rationales than the method differs from equal weights.
    equal = {f"q{n}": (0.25, 0.5, 0.75)[n % 3] for n in range(30)}
    up = text(record("compact", 1, by_hand({name: share + 0.02 for name, share in equal.items()}, equal)))
    down = text(record("compact", 1, by_hand({name: share - 0.02 for name, share in equal.items()}, equal)))
    assert "more than the 50.0 %" in up and "less than the 50.0 %" in down


def test_equal_weights_are_of_the_questions_that_have_weights() -> None:
    shares: dict[str, float | None] = {f"q{n}": None if n < 15 else 0.6 for n in range(30)}
    equal = {f"q{n}": 0.25 if n < 15 else 0.75 for n in range(30)}
    found = text(record("compact", 1, by_hand(shares, equal)))
    assert "puts 60.0 % [60.0, 60.0] of its weight on right rationales, less than the 75.0 %" in found
    assert "relative regret 1.600 [1.600, 1.600]; n = 1 seed, 15 questions" in found
    assert "| COMPACT (paper) | 1 | 15 | 0.600 [0.600, 0.600] | 0.750 |" in found


def test_questions_are_matched_by_their_ids() -> None:
    equal = {f"q{n}": 0.5 for n in range(30)}
    shares: dict[str, float | None] = {f"q{n}": 0.1 if n < 15 else 0.9 for n in range(30)}
    turned = dict(reversed(shares.items()))
    same = text(*(record("compact", seed, by_hand(shares, equal)) for seed in (1, 2)))
    other = text(record("compact", 1, by_hand(shares, equal)), record("compact", 2, by_hand(turned, equal)))
    assert same == other


def test_one_question_of_one_seed_has_no_interval_and_tells_nothing() -> None:
    found = text(record("compact", 1, by_hand({"q0": 0.9}, {"q0": 0.5}, {"q0": 1.0})))
    assert "puts 90.0 % of its weight on right rationales, which cannot be told from the 50.0 %" in found
    assert "(relative regret 0.200; n = 1 seed, 1 question)" in found
    assert "cannot be told from chance: consensus (AUC 1.000)" in found


def test_missing_values_show_their_reason() -> None:
    long = "no right and wrong rationale of one question both have this score"
    window = {"first_step": 1, "last_step": 4, "weight_on_right": 0.8, "auc": dict.fromkeys(SCORES)}
    reasons = {f"auc_{score}": long for score in SCORES}
    family = {"family": "ring", "weight_on_right": 0.8, "uniform_share": 0.5, "auc": dict.fromkeys(SCORES)}
    teacher = {"right_share": 0.5, "mean_weight": None}
    scored = by_hand(
        {"q0": 0.8, "q1": 0.7},
        {"q0": 0.5, "q1": 0.5},
        reasons=reasons,
        by_family=[family | {"reasons": reasons}],
        by_teacher={"ada": teacher},
        over_training=[window | {"reasons": reasons}],
    )
    found = text(record("compact", 1, scored))
    by = "consensus, adaptability, difficulty (sign turned), the weight made of all three"
    assert f"COMPACT (paper): no ranking by {by}: {long}." in found
    assert found.count("| COMPACT (paper) | 1 to 4 | 0.800 | no right and wrong r (1) |") == 1
    assert "| ring | 0.500 | 0.800 | no right and wrong r (1) |" in found
    assert "| ada | 0.500 | the method read none (2) |" in found
    assert f"(1) {long}\n" in found and "(2) the method read none of its rationales" in found
    assert "none |" not in found


def test_a_row_without_any_mixed_question_says_so() -> None:
    why = "no question has both right and wrong rationales"
    found = text(record("compact", 1, by_hand({}, {}, reasons={"weight_on_right": why})))
    assert f"- COMPACT (paper): nothing can be told ({why})." in found


def test_a_mean_over_some_seeds_says_how_many() -> None:
    def with_weight(weight: float | None) -> Any:
        teacher = {"ada": {"right_share": 0.5, "mean_weight": weight}}
        return by_hand({"q0": 0.8, "q1": 0.7}, {"q0": 0.5, "q1": 0.5}, by_teacher=teacher)

    found = text(record("compact", 1, with_weight(0.4)), record("compact", 2, with_weight(None)))
    assert "| ada | 0.500 | 0.400 (1 of 2 seeds) |" in found


def test_the_figure_stands_under_the_section() -> None:
    def results(truth: Any, facts: ReportFacts) -> tuple[str, dict[str, str]]:
        key = RunKey("compact", "", "student", "", "lab", "", "lite", 1, {}, 1)
        own = [replace(record("compact", 1, truth), key=key)]
        lab = replace(SUITE, name="lab")
        tables = [build_table(load_table_spec(2), own, lab, has_truth=truth is not None)]
        return render_results(tables, own, facts), render_details(tables, own, facts)

    facts = ReportFacts(command="command", figures="docs")
    found, pages = results(scores(0.8, 0.5), facts)
    section = found.split("## Do the weights go to the rationales that are right?")[1].split("\n## ")[0]
    assert "(docs/truth_over_training.png)" in section and "(docs/truth.md)" in section
    assert section.index("puts 80.0 %") < section.index("truth_over_training.png")
    assert "\n|" not in section, "tables stand on the page"
    page = pages["truth.md"]
    assert "## Truth scores over training" in page and "(truth_over_training.png)" in page
    assert "\n| COMPACT (paper) |" in page and "[RESULTS.md](../RESULTS.md)" in page
    _, beside = results(scores(0.8, 0.5), replace(facts, figures=""))
    assert "(../truth_over_training.png)" in beside["truth.md"]
    plain, none = results(None, facts)
    assert "Do the weights go" not in plain and "Truth scores" not in plain and "truth.md" not in none
