"""Sweeps from records alone: cells, comparisons over all values, words, files, and what is missing."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import UnknownNameError
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.data.suites import SuiteSpec, load_spec
from compact_bench.results.report.sweep_page import (
    draw_sweep,
    sweep_csv,
    sweep_json,
    sweep_markdown,
    write_sweep,
)
from compact_bench.results.sweeps.results import SweepResults, measure_sweep
from compact_bench.results.sweeps.spec import PanelSpec, SweepSpec, load_sweep_spec
from compact_bench.results.tables.build import build_table
from compact_bench.results.tables.spec import load_table_spec
from tests.tiny_suite import write_tiny_lab

VALUES = (0.0, 0.4)
ITEMS = 60
QUESTIONS = 40


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> SuiteSpec:
    return load_spec(write_tiny_lab(tmp_path_factory.mktemp("lab")))


@pytest.fixture
def spec() -> SweepSpec:
    chosen = load_sweep_spec("style").choose(("uniform", "compact", "right_filter"))
    return chosen.model_copy(
        update={"axis": chosen.axis.model_copy(update={"values": VALUES}), "seeds": (1, 2)}
    )


def keys(spec: SweepSpec, suite: SuiteSpec) -> list[RunKey]:
    rows = [(row.method, row.as_table_row.variant_suffix) for row in spec.rows]
    return [
        RunKey(method, variant, "s", "r", suite.name, "f", "smoke", seed, {"eval": {}, "method": {}}, 1)
        for seed in spec.seeds
        for method, variant in rows
    ]


def record(key: RunKey, suite: SuiteSpec, right: int, weight_on_right: float, **more: Any) -> RunRecord:
    """A run that has the first `right` items of every task right."""
    ids = [f"i/{n}" for n in range(ITEMS)]
    scores = [float(n < right) for n in range(ITEMS)]
    weights = [weight_on_right + 0.001 * (n % 5 - 2) for n in range(QUESTIONS)]
    truth = {
        "weight_on_right": sum(weights) / QUESTIONS,
        "items": {"question_ids": [f"q{n}" for n in range(QUESTIONS)], "weight_on_right": weights},
    }
    tasks = [b.task for b in suite.benchmarks if b.group == "in_distribution"]
    evaluations = {
        task: {"items": scores, "item_ids": [f"{task}/{i}" for i in ids], "n": ITEMS} for task in tasks
    }
    return RunRecord(key=key, status="done", evaluations=evaluations, probes={"truth": truth}, **more)


def measured(
    spec: SweepSpec, suite: SuiteSpec, records: dict[float, list[RunRecord]] | None = None
) -> SweepResults:
    """Uniform gets worse with the value; COMPACT and the filter do not."""
    planned = {value: keys(spec, suite) for value in spec.axis.values}
    if records is None:
        records = {
            value: [
                record(
                    key,
                    suite,
                    30 - (round(40 * value) if key.method == "uniform" else 0),
                    *weight(key, value),
                )
                for key in planned[value]
            ]
            for value in planned
        }
    return measure_sweep(
        spec, records, planned, suite=suite, profile="smoke", student="a student", command="the command"
    )


def weight(key: RunKey, value: float) -> tuple[float]:
    return (0.6 - value / 4 if key.method == "uniform" else 0.7 + 0.001 * key.seed,)


def test_cells_are_means_over_seeds_and_items(spec: SweepSpec, suite: SuiteSpec) -> None:
    results = measured(spec, suite)
    assert len(results.cells) == 2 * 3 * 2 and not results.missing and len(results.records) == 12
    accuracy = results.cells["accuracy", "uniform", 0.4]
    assert accuracy.mean == pytest.approx(14 / 60) and accuracy.seeds == 2
    assert accuracy.low is not None and accuracy.low < 14 / 60
    wrong = results.cells["wrong_weight", "compact", 0.0]
    assert wrong.mean == pytest.approx(1 - 0.7015) and wrong.items == QUESTIONS
    assert wrong.low is not None and wrong.high is not None and wrong.low < wrong.mean < wrong.high


def test_a_sweep_shows_the_cells_of_tables(spec: SweepSpec, suite: SuiteSpec) -> None:
    results = measured(spec, suite)
    records = [run for run in results.records if run.key.method != "right_filter"][:4]
    table = build_table(load_table_spec(2), records, suite, has_truth=True)
    right, wrong = table.cells["compact", "weight_on_right"], results.cells["wrong_weight", "compact", 0.0]
    assert right.mean is not None and right.low is not None and right.high is not None
    assert (wrong.mean, wrong.low, wrong.high) == (1 - right.mean, 1 - right.high, 1 - right.low)
    mean = table.cells["uniform", "in_distribution_mean"]
    shown = results.cells["accuracy", "uniform", 0.0]
    assert (shown.mean, shown.low, shown.high) == (mean.mean, mean.low, mean.high)


def test_a_measure_that_is_no_share_is_not_shown_as_percent(spec: SweepSpec, suite: SuiteSpec) -> None:
    panel = PanelSpec(name="change", title="Change", y_title="Ratio", measure="weight_change")
    changed = spec.model_copy(update={"panels": (panel,)})
    made = [record(key, suite, 30, 0.7) for key in keys(changed, suite)]
    made = [
        replace(r, probes={"weight_change": 0.25 if r.key.method == "right_filter" else 0.125}) for r in made
    ]
    text = sweep_markdown(measured(changed, suite, {value: made for value in VALUES}), "picture.png")
    assert "| Uniform weights | 0.125 [0.125, 0.125] |" in text and "Mean [95 % interval] over" in text
    assert "COMPACT minus the row (▲ above" in text
    assert "| Right-answer filter | ~ -0.125 |" in text, "two seeds that happen to be alike show nothing"


def test_a_measure_that_the_table_lacks_is_named(spec: SweepSpec) -> None:
    panel = PanelSpec(name="change", title="Change", y_title="Ratio", measure="weight_chang")
    with pytest.raises(UnknownNameError, match="measure of table 2"):
        spec.model_copy(update={"panels": (panel,)}).as_table()


def test_the_reference_is_compared_at_every_value_with_one_correction(
    spec: SweepSpec, suite: SuiteSpec
) -> None:
    found = measured(spec, suite).comparisons
    assert len(found) == 2 * 2 * 2, "the reference itself is no row to compare with"
    above = found["accuracy", "uniform", 0.4]
    assert above.verdict == "above" and above.effect == pytest.approx(16 / 60)
    tests = {c.family for c in found.values()}
    assert tests == {4}, "each panel is a family"
    assert above.correction == "Benjamini-Hochberg"
    assert found["accuracy", "uniform", 0.0].verdict == "inconclusive"
    assert found["accuracy", "right_filter", 0.4].verdict == "inconclusive"
    below = found["wrong_weight", "uniform", 0.4]
    assert below.verdict == "below"
    assert below.effect == pytest.approx(-(0.7015 - 0.5))
    assert below.items == QUESTIONS


def test_a_p_that_the_correction_does_not_confirm_is_no_difference(spec: SweepSpec, suite: SuiteSpec) -> None:
    found = next(c for c in measured(spec, suite).comparisons.values() if c.verdict == "above")
    assert replace(found, p_corrected=0.2).verdict == "inconclusive"
    assert replace(found, effect=None).verdict == "not compared"


def test_questions_are_paired_by_id_not_by_place(spec: SweepSpec, suite: SuiteSpec) -> None:
    planned = keys(spec, suite)
    made = [record(key, suite, 30, 0.7) for key in planned]
    for run in made:
        items = run.probes["truth"]["items"]
        if run.key.method == "uniform":
            items["question_ids"].reverse()
            items["weight_on_right"].reverse()
            items["weight_on_right"][3] = None
    results = measured(spec, suite, {value: made for value in VALUES})
    contrast = results.comparisons["wrong_weight", "uniform", 0.0]
    assert contrast.effect == pytest.approx(0.0) and contrast.contrast is not None
    assert not contrast.contrast.varies and contrast.low is None and contrast.high is None
    assert contrast.items == QUESTIONS - 1


def test_words_say_where_a_difference_is_shown_and_where_not(spec: SweepSpec, suite: SuiteSpec) -> None:
    text = sweep_markdown(measured(spec, suite), "picture.png")
    assert "COMPACT against Uniform weights, by drawn_styles: above at 0.4 (+26.7 pp" in text
    assert "inconclusive at 0." in text
    assert "COMPACT against Right-answer filter, by drawn_styles: inconclusive at 0, 0.4." in text
    assert "corrected by Benjamini and Hochberg, each panel" in text and "(4 comparisons)" in text
    assert "2 seeds only" in text
    assert "Verdicts by rule 3" in text and "accuracies under 10.0 pp counts as none" in text
    assert "![When a rationale's style says less and less about its teacher](picture.png)" in text
    assert "the command" in text and "## Missing" not in text
    assert "| Uniform weights | 50.0 [" in text and "12 done" in text


def test_what_is_missing_is_named_and_the_rest_is_drawn(spec: SweepSpec, suite: SuiteSpec) -> None:
    whole = measured(spec, suite)
    kept = [r for r in whole.records if not (r.key.method == "uniform" and r.key.seed == 1)]
    failed = [
        replace(r, status="failed", reason="it broke") if r.key.method == "right_filter" else r for r in kept
    ]
    half = len(failed) // 2
    results = measured(spec, suite, {0.0: failed[:half], 0.4: []})
    assert "drawn_styles 0, uniform, seed 1: not run" in results.missing
    assert "drawn_styles 0, right_filter, seed 2: failed: it broke" in results.missing
    assert sum("drawn_styles 0.4" in text for text in results.missing) == 6
    assert results.cells["accuracy", "uniform", 0.0].seeds == 1
    assert results.cells["accuracy", "uniform", 0.4].reason
    text = sweep_markdown(results, "picture.png")
    assert "## Missing" in text and "9 run(s) are missing" in text
    assert draw_sweep(results) != draw_sweep(whole)


def test_nothing_measured_is_still_a_report(spec: SweepSpec, suite: SuiteSpec, tmp_path: Path) -> None:
    results = measured(spec, suite, {value: [] for value in VALUES})
    page, _, _, png, _ = write_sweep(results, tmp_path)
    assert "Nothing is measured yet." in page.read_text(encoding="utf-8")
    assert png.stat().st_size > 1000


def test_files_are_the_same_bytes_and_hold_every_number(
    spec: SweepSpec, suite: SuiteSpec, tmp_path: Path
) -> None:
    results = measured(spec, suite)
    first, second = write_sweep(results, tmp_path / "a"), write_sweep(results, tmp_path / "b")
    assert [path.suffix for path in first] == [".md", ".csv", ".json", ".png", ".svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    rows = list(csv.DictReader(io.StringIO(sweep_csv(results))))
    assert len(rows) == len(results.cells)
    shown = next(
        r for r in rows if (r["panel"], r["row"], r["drawn_styles"]) == ("accuracy", "uniform", "0.4")
    )
    assert float(shown["mean"]) == results.cells["accuracy", "uniform", 0.4].mean
    data = json.loads(sweep_json(results))
    assert data["definition"]["axis"]["values"] == list(VALUES) and len(data["cells"]) == len(rows)
    assert {c["verdict"] for c in data["contrasts"]} == {"above", "below", "inconclusive"}
