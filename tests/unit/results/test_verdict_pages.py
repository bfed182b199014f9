"""The pages' words for every verdict, from made-up records: what is said, where, and what is never said."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.results.report import ReportFacts
from compact_bench.results.report.csv_file import COMPARISON_FIELDS, comparison_values
from compact_bench.results.report.markdown import group_markdown
from compact_bench.results.report.sections.findings import (
    controls_markdown,
    detectable_markdown,
    exploratory_markdown,
    hidden_markdown,
    primary_markdown,
)
from compact_bench.results.report.words import detectable_sentence, sentence
from compact_bench.results.report.writer import render_report
from compact_bench.results.statistics.verdicts import RULE
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.controls import Control
from compact_bench.results.tables.planned_pairs import ControlSpec
from compact_bench.results.tables.spec import TableSpec, load_table_spec
from tests.unit.synthetic import (
    SUITE,
    TEACHERS,
    all_records,
    evaluation,
    made_contrast,
    record,
    render_results,
)

SPEC = load_table_spec(2)
SEEDS = (1, 2, 3, 4, 5)
FACTS = ReportFacts("compact-bench reproduce --table 2")
ITEMS = 60


def build(records: Sequence[RunRecord], spec: TableSpec = SPEC) -> Table:
    return build_table(spec, records, SUITE, teachers=TEACHERS)


def scored(method: str, right: dict[str, int], seeds: Sequence[int] = SEEDS) -> list[RunRecord]:
    """Runs that answer the first so many items of each task, one more under every other seed."""
    runs = []
    for seed in seeds:
        run = record(method, seed=seed)
        scores = {task: [float(i < n + seed % 2) for i in range(ITEMS)] for task, n in right.items()}
        ids = {task: [f"{task}/{task}{i:03d}" for i in range(ITEMS)] for task in scores}
        changed = {task: evaluation(task, values, ids[task]) for task, values in scores.items()}
        runs.append(dataclasses.replace(run, evaluations={**run.evaluations, **changed}))
    return runs


ALL = ("svamp", "addsub", "singleeq", "piqa")


def level(method: str, n: int, seeds: Sequence[int] = SEEDS, **others: int) -> list[RunRecord]:
    return scored(method, {**dict.fromkeys(ALL, n), **others}, seeds)


def told(**more: Any) -> Comparison:
    values: dict[str, Any] = {
        "effect": 0.02,
        "contrast": made_contrast(0.02, 0.01, 0.03),
        "p_corrected": 0.01,
        "correction": "Holm",
        "family": 12,
        "margin": 0.05,
        "seeds": 5,
        "items": 1200,
        **more,
    }
    return Comparison("a", "b", "A", "B", "ID", **values)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            "ID: above: A minus B is +2.0 pp [+1.0, +3.0], n = 5 seeds, 1,200 items (p = 0.01 after Holm "
            "over 12).",
        ),
        (
            {"effect": -0.02, "contrast": made_contrast(-0.02, -0.03, -0.01)},
            "ID: below: A minus B is -2.0 pp [-3.0, -1.0], n = 5 seeds, 1,200 items (p = 0.01 after Holm "
            "over 12).",
        ),
        (
            {"contrast": made_contrast(0.01, -0.01, 0.03, 0.4), "effect": 0.01, "p_corrected": 0.8},
            "ID: equivalent: A minus B is +1.0 pp [-1.0, +3.0], n = 5 seeds, 1,200 items (p = 0.8 after "
            "Holm over 12); 90 % interval [-1.0, +3.0] within ±5.0 pp.",
        ),
        (
            {"contrast": made_contrast(0.02, -0.08, 0.12, 0.4), "p_corrected": 0.8},
            "ID: inconclusive: A minus B is +2.0 pp [-8.0, +12.0], n = 5 seeds, 1,200 items (p = 0.8 after "
            "Holm over 12); equivalence cannot be shown with these seeds (90 % half-width 10.00 pp > 5.00 "
            "pp).",
        ),
        # Narrow enough, and yet not within the margin: then it is the difference that is undecided.
        (
            {"contrast": made_contrast(0.04, -0.001, 0.081, 0.06), "effect": 0.04, "p_corrected": 0.8},
            "ID: inconclusive: A minus B is +4.0 pp [-0.1, +8.1], n = 5 seeds, 1,200 items (p = 0.8 after "
            "Holm over 12).",
        ),
        (
            {"contrast": made_contrast(0.04, 0.001, 0.079, 0.04), "effect": 0.04, "p_corrected": 0.2},
            "ID: inconclusive: A minus B is +4.0 pp [+0.1, +7.9], n = 5 seeds, 1,200 items (p = 0.2 after "
            "Holm over 12); the interval leaves out 0, but the corrected test does not agree.",
        ),
        (
            {"can_show": False, "p_corrected": None},
            "ID: cannot show: A minus B is +2.0 pp [+1.0, +3.0], n = 5 seeds, 1,200 items.",
        ),
        (
            {"contrast": None, "p_corrected": None, "seeds": 1},
            "ID: no verdict: A minus B is +2.0 pp, n = 1 seed, 1,200 items; one seed, so this is of these "
            "trained students only.",
        ),
        (
            {"effect": None, "contrast": None, "p_corrected": None, "reason": "B: not run"},
            "ID: not compared: A with B (B: not run).",
        ),
    ],
)
def test_a_sentence_begins_with_its_verdict_and_says_what_stands_behind_it(
    changes: dict[str, Any], expected: str
) -> None:
    assert sentence(told(**changes)) == expected


def test_one_seed_detects_nothing_known() -> None:
    text = detectable_sentence(told(contrast=None, seeds=1))
    assert "unknown" in text and text.endswith("one seed.")


def primary_table(**levels: int) -> Table:
    seeds = range(1, 11)
    runs = [r for method, n in levels.items() for r in level(method, n, seeds)]
    return build([*runs, *level("zero_shot", 5, seeds)])


def test_the_first_screen_says_what_went_against_it_and_for_it() -> None:
    table = primary_table(compact=30, uniform=20, right_filter=45, mcc_kd=30)
    text = "\n".join(primary_markdown(table))
    against, rest = text.split("For it:")
    for_it, neither = rest.split("Neither:")
    assert against.startswith("Against it:")
    assert "- **below** on ID: Right-answer filter (-25.0 pp [" in against
    assert "- **above** on ID: Uniform weights (+16.7 pp [" in for_it
    assert (
        "- **not compared** on ID: Best single teacher (Best single teacher: no teacher run yet)." in neither
    )
    assert "MCC-KD" in neither and "MCC-KD" not in against + for_it
    bullets = [line for line in text.split("\n") if line.startswith("- ")]
    words = "above|below|equivalent|inconclusive|cannot show|no verdict|not compared"
    assert all(re.match(rf"- \*\*({words})\*\* on (ID|OOD|Retention): ", line) for line in bullets)


def test_the_first_screen_comes_first_and_the_rule_stands_on_every_page() -> None:
    records = all_records((1, 2, 3))
    table = build(records)
    text = render_results([table], records, FACTS)
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[:3] == [
        "For and against COMPACT (paper)",
        "What else the data support",
        "How these results were made",
    ]
    assert text.index("Verdicts by rule 3") < text.index("## For and against")
    _, pages = render_report([table], records, FACTS, ())
    assert pages and all(f"Verdicts by rule {RULE}." in page for page in pages.values())


def test_nothing_is_for_it_where_nothing_was_shown() -> None:
    table = primary_table(compact=30, uniform=30)
    text = "\n".join(primary_markdown(table))
    assert "Against it: no primary comparison." in text and "For it: no primary comparison." in text


def test_one_seed_has_no_verdict_anywhere() -> None:
    records = all_records((1,))
    text = render_results([build(records)], records, FACTS)
    head = text[: text.index("## What a verdict means")]
    assert "**no verdict** on ID" in head and "says nothing of the methods" in text
    assert not re.search(r"\*\*(above|below|equivalent|inconclusive)\*\*", head)
    assert not re.search(r"[▲▼=~] [+-]\d", text)


def test_a_table_without_primary_comparisons_is_exploratory() -> None:
    spec = TableSpec.model_validate({**SPEC.model_dump(), "primary": None})
    records = all_records(SEEDS)
    table = build(records, spec)
    assert primary_markdown(table) == []
    assert "Exploratory: chosen to look at" in "\n".join(exploratory_markdown(table))


def test_a_task_that_moves_against_its_mean_is_named() -> None:
    runs = [*level("compact", 30, addsub=50, singleeq=20), *level("uniform", 30), *level("zero_shot", 30)]
    table = build(runs)
    text = "\n".join(primary_markdown(table))
    assert "Hidden by these means:" in text
    assert "- OOD: COMPACT (paper) minus Uniform weights is +8.3 pp [" in text
    assert re.search(r"in the mean, but -16\.7 pp \[-\d+\.\d, -\d+\.\d\] on SingleEq\.", text)
    for line, over in zip(
        hidden_markdown(table), ("Zero-shot (the student itself)", "Uniform weights"), strict=True
    ):
        assert line.startswith(f"- OOD, SingleEq: the other way over {over}: COMPACT (paper) (-16.7 pp")
    alike = [*level("compact", 30, addsub=50, singleeq=35), *level("uniform", 30), *level("zero_shot", 30)]
    assert build(alike).hidden == ()


def test_zero_shot_and_every_task_stand_beside_the_mean() -> None:
    runs = [*level("compact", 30, addsub=50), *level("zero_shot", 20)]
    lines = group_markdown(build(runs), "out_of_distribution")
    assert (
        "| OOD mean (n = 120) | minus Zero-shot (the student itself), pp | AddSub (n = 60) | SingleEq (n = "
        "60) |" in lines[0]
    )
    (compact,) = [line for line in lines if line.startswith("| COMPACT (paper) |")]
    assert re.search(r"\| \+33\.3 \[\+\d+\.\d, \+\d+\.\d\] \| 84\.3 \| 51\.0 \|$", compact), compact


def with_steps(run: RunRecord, task: str, shares: list[float]) -> RunRecord:
    changed = {**run.evaluations[task], "measures": {"has_steps": shares}}
    return dataclasses.replace(run, evaluations={**run.evaluations, task: changed})


def test_answers_with_steps_are_a_column_beside_their_task() -> None:
    runs = [with_steps(record("compact", seed=s, items=4), "svamp", [1.0, 0.0, 0.0, 0.0]) for s in (1, 2)]
    table = build(runs)
    names = [column.name for column in table.columns_of("in_distribution")]
    assert names == ["svamp", "svamp:steps", "in_distribution_mean"]
    assert table.cells["compact", "svamp:steps"].mean == 0.25
    assert "| SVAMP: with steps |" in group_markdown(table, "in_distribution")[0]
    assert not [c for c in table.columns if c.name.endswith(":steps") and c.name != "svamp:steps"]


@pytest.mark.parametrize(
    ("expected", "low", "high", "p", "came_out", "text"),
    [
        ("above", 0.01, 0.05, 0.01, True, "It came out as expected"),
        ("above", -0.01, 0.07, 0.2, False, "cannot tell rows apart that are known to differ"),
        ("below", 0.01, 0.05, 0.01, False, "cannot tell rows apart"),
        ("no difference", -0.01, 0.02, 0.4, True, "It came out as expected"),
        ("no difference", -0.09, 0.12, 0.4, True, "It came out as expected"),
        ("no difference", 0.01, 0.05, 0.01, False, "between other rows on ID may be the seeds'"),
    ],
)
def test_a_control_says_whether_it_came_out(
    expected: Any, low: float, high: float, p: float, came_out: bool, text: str
) -> None:
    spec = ControlSpec(row="a", against="b", expected=expected, group="ID", reason="it was made so")
    middle = (low + high) / 2
    control = Control(spec, told(effect=middle, contrast=made_contrast(middle, low, high, p), p_corrected=p))
    assert control.came_out is came_out
    table = dataclasses.replace(build(all_records((1, 2))), controls=(control,))
    (line,) = [line for line in controls_markdown(table) if line.startswith("- ")]
    assert text in line and ", as it was made so" in line
    assert ("expected no difference between A and B" in line) is (expected == "no difference")


def test_the_card_says_by_the_runs_whether_a_group_can_show_anything() -> None:
    runs = [*level("zero_shot", 20, piqa=30), *level("uniform", 30), *level("right_filter", 40, piqa=31)]
    records = [*runs, *level("compact", 33)]
    table = build(records)
    page = render_report([table], records, dataclasses.replace(FACTS, card="A card."), ())[1]["about.md"]
    assert "## What these runs say of the suite" in page and "A card." in page
    assert "- In-distribution accuracy can show a difference: Zero-shot (the student itself) 34.3 %" in page
    assert "- Retention accuracy **cannot** show a difference: Zero-shot" in page
    text = "\n".join(primary_markdown(table))
    assert "- **cannot show** on Retention: Uniform weights (" in text
    assert not re.search(r"\*\*(above|below|equivalent|inconclusive)\*\* on Retention", text)


def test_rows_asked_for_besides_change_no_primary_word() -> None:
    runs = all_records(SEEDS)
    more = [record("pcgrad", seed=s, rate=0.9) for s in SEEDS]
    assert primary_markdown(build(runs)) == primary_markdown(build([*runs, *more]))


def test_a_group_whose_bounds_were_not_all_run_is_not_known_to_show_anything() -> None:
    records = [*level("zero_shot", 20), *level("uniform", 20), *level("compact", 33)]
    page = render_report([build(records)], records, FACTS, ())[1]["about.md"]
    assert "accuracy can show a difference" not in page
    assert re.search(
        r"- In-distribution accuracy: not known whether it can show a difference: .*Right-answer filter was "
        r"not run \(measured: Zero-shot \(the student itself\) 34\.3 % and Uniform weights 34\.3 %\)\.",
        page,
    )
    # Two that are far enough apart say so without the third.
    records = [*level("zero_shot", 20), *level("uniform", 40), *level("compact", 33)]
    page = render_report([build(records)], records, FACTS, ())[1]["about.md"]
    assert "- In-distribution accuracy can show a difference: Zero-shot" in page


def test_rows_alike_on_every_item_are_said_to_be_so_and_have_no_interval() -> None:
    """Two seeds, and other rows whose variances would make a narrow interval around 0."""
    few = (1, 2)
    right = dict.fromkeys(ALL, 30)
    others = [("uniform", 31), ("right_filter", 45), ("mcc_kd", 30), ("zero_shot", 10)]
    records = [run for name, n in others for run in scored(name, dict.fromkeys(ALL, n), few)]
    records += [*scored("compact", right, few), *scored("compact_released", right, few)]
    table = build(records)
    found = [c for c in table.comparisons if c.against == "mcc_kd"]
    assert found and all(c.verdict == "inconclusive" and c.low is None for c in found)
    text = sentence(found[0])
    assert "+0.0 pp, n = 2 seeds" in text and "[" not in text.split(";")[0]
    assert "both rows are alike on every item under every seed" in text and "no equivalence" in text
    assert not any(c.verdict == "equivalent" for c in found)
    values = comparison_values("2", found[0])
    names = ("low", "high", "low_90", "high_90", "standard_error", "df")
    assert all(values[COMPARISON_FIELDS.index(name)] == "" for name in names)
    assert values[COMPARISON_FIELDS.index("p")] == "1.0"
    page = render_report([table], records, FACTS, ())[1]["comparisons_table_2.md"]
    assert re.search(r"MCC-KD \| \+0\.00 \| ", page)


def test_a_detectable_difference_beyond_the_scale_is_none() -> None:
    wide = told(
        effect=0.02, contrast=made_contrast(0.02, -2.0, 2.0, 0.9), p_corrected=0.9, tells_detectable=True
    )
    assert wide.detectable and wide.detectable > 1
    text = detectable_sentence(wide)
    assert "detect is none on this scale (80 % power" in text and "; none on this scale at the" in text
    table = build(all_records((1, 2, 3)))
    table = dataclasses.replace(table, comparisons=(wide, dataclasses.replace(wide, group="OOD")))
    text = "\n".join(detectable_markdown(table))
    assert "differences of no size (none on this scale) on ID (none on this scale)" in text
    assert not re.search(r"\d{3}\.\d", text)


def test_when_pairs_were_fixed_is_told_of_the_suite_alone_whose_runs_they_were_fixed_for() -> None:
    assert SPEC.primary is not None
    fixed = SPEC.primary.model_copy(update={"fixed": {SUITE.name: "Fixed before its runs."}, "reason": "So."})
    records = all_records((1, 2))
    for spec, facts, said in (
        (SPEC, FACTS, False),
        (SPEC.model_copy(update={"primary": fixed}), FACTS, True),
        (SPEC.model_copy(update={"primary": fixed}), dataclasses.replace(FACTS, own_data=True), False),
    ):
        text = render_results([build(records, spec)], records, facts)
        assert ("So. Fixed before its runs." in text) is said and "version 2 of the lab" not in text
