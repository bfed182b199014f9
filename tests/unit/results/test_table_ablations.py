"""Table 5: COMPACT's ablations; changes against the reference, budgets, and reports of many rows."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from compact_bench.core.records import RunRecord
from compact_bench.methods.compact.objective import WeightingConfig
from compact_bench.methods.registry import method_variants, variant_config
from compact_bench.results.report import ReportFacts
from compact_bench.results.report.latex import tables_latex
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import TableSpec, load_table_spec
from tests.unit.synthetic import SUITE, all_records, evaluation, record, render_details, render_results

SPEC = load_table_spec(5)
FACTS = ReportFacts(command="compact-bench reproduce --table 5")
ABLATED = "compact[no-consensus]"


def ablation_records(seeds: tuple[int, ...] = (1, 2)) -> list[RunRecord]:
    runs = [(row.method, row.variant) for row in SPEC.rows]
    return [record(method, variant, seed) for seed in seeds for method, variant in runs]


def build(records: list[RunRecord], spec: TableSpec = SPEC, **more: Any) -> Table:
    return build_table(spec, records, SUITE, **more)


def test_every_variant_has_a_row_and_every_row_is_a_variant() -> None:
    rows = {row.variant for row in SPEC.rows if row.method == "compact"}
    assert rows == {"", *method_variants("compact")}
    assert {row.method for row in SPEC.rows} == {"zero_shot", "compact", "uniform"}
    assert all(not row.settings for row in SPEC.rows), "the variants' values stand in the method only"


def test_no_two_rows_are_the_same_training_under_two_names() -> None:
    """Runs are shared by key, and a variant is part of the key: equal settings would be run twice."""
    configs = [
        WeightingConfig(**variant_config("compact", row.variant)).model_dump_json()
        for row in SPEC.rows
        if row.method == "compact"
    ]
    assert len(set(configs)) == len(configs)
    plain = {(row.method, row.suffix) for row in SPEC.rows if not row.variant}
    assert plain <= {(row.method, row.suffix) for row in load_table_spec(2).rows}, "shared with table 2"


def test_the_full_method_is_compared_with_every_row_in_one_family() -> None:
    table = build(ablation_records())
    groups = {"ID", "OOD", "Retention"}
    against = {c.against for c in table.comparisons if c.row == "compact"}
    assert against == {row.name for row in table.rows if row.kind == "runs"} - {"compact"}
    assert all(c.family == len(against) * len(groups) for c in table.comparisons)
    told = {c.against for c in table.comparisons if c.in_words}
    assert {ABLATED, "compact[only-difficulty]", "compact[no-consistency]", "uniform"} <= told
    assert "compact[temperature-4]" not in told


def scored(name: str, seed: int, scores: list[float]) -> RunRecord:
    method, _, variant = name.partition("[")
    run = record(method, variant.removesuffix("]"), seed)
    evaluations = {**run.evaluations, "svamp": evaluation("svamp", scores)}
    return dataclasses.replace(run, evaluations=evaluations)


def test_a_change_is_the_ratio_of_the_means_with_the_interval_of_the_ratio() -> None:
    draw = np.random.default_rng(0)
    full, less = draw.random((2, 3, 60)) < np.array([0.8, 0.5])[:, None, None]
    runs = [scored("compact", n, list(map(float, full[n]))) for n in range(3)]
    runs += [scored(ABLATED, n, list(map(float, less[n]))) for n in range(3)]
    table = build(runs)
    cell = table.cells[ABLATED, "in_distribution_change"]
    assert cell.mean == pytest.approx(less.mean() / full.mean() - 1)
    assert cell.seed_sd == pytest.approx(np.std(less.mean(1) / full.mean(1) - 1, ddof=1))
    assert cell.low is not None and cell.high is not None
    # A naive crossed bootstrap of the ratio, both rows with the same draws.
    ratios = []
    for _ in range(4000):
        seeds, items = draw.integers(0, 3, 3), draw.integers(0, 60, 60)
        ratios.append(less[seeds][:, items].mean() / full[seeds][:, items].mean() - 1)
    assert (cell.low, cell.high) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])), abs=0.02)
    assert table.cells["compact", "in_distribution_change"].reason == "the reference"
    assert table.cells["compact[no-difficulty]", "in_distribution_change"].reason == "not run"


def test_a_change_without_a_reference_says_so() -> None:
    table = build([record("compact", "no-consensus")])
    assert table.cells[ABLATED, "in_distribution_change"].reason == "COMPACT (full): not run"
    zero = [scored("compact", 1, [0.0] * 4), scored(ABLATED, 1, [1.0] * 4)]
    assert build(zero).cells[ABLATED, "in_distribution_change"].reason == "the reference is at 0 %"


def test_what_the_paper_states_stands_in_the_changes_only() -> None:
    table = build(ablation_records())
    cells = {row.title: row.name for row in table.rows if row.kind == "paper"}
    name = next(cells[title] for title in cells if title.startswith("Without consensus"))
    assert table.cells[name, "in_distribution_change"].mean == -0.046
    assert table.cells[name, "out_of_distribution_change"].mean == -0.0551
    assert table.cells[name, "svamp"].reason == "not available"
    text = render_details([table], ablation_records(), FACTS)["table_5.md"]
    start, end = text.index("## Change of mean"), text.index("## In-distribution accuracy")
    lines = [n for n, c in enumerate(text) if text.startswith("| Without consensus in the paper", n)]
    assert len(lines) == 1 and start < lines[0] < end
    assert "| -4.60 | -5.51 |" in text[start:end]


def budgets(**costs: tuple[int, int]) -> list[RunRecord]:
    runs = []
    for name, (steps, tokens) in costs.items():
        run = record(name)
        runs.append(
            dataclasses.replace(run, training={**run.training, "optimiser_steps": steps, "tokens": tokens})
        )
    return runs


def test_budgets_that_differ_from_the_references_are_told() -> None:
    runs = budgets(compact=(10, 1000), uniform=(10, 1000), compact_released=(50, 400), zero_shot=(0, 0))
    more = {"compact_released": "five rounds of everything", "uniform": "nothing as it is", "zero_shot": ""}
    table = build(runs, load_table_spec(2), teachers=("alpha", "beta"), extra_steps=more)
    assert table.cost_notes == (
        "COMPACT (released code): 50 optimiser steps (5.00 times the reference's 10) and 400 supervised "
        "tokens (0.40 times the reference's 1,000); five rounds of everything.",
    )
    text = render_details([table], runs, FACTS)["table_2.md"]
    assert text.index("## Cost of training") < text.index("five rounds")


def test_many_rows_keep_the_results_short_and_the_rest_on_pages() -> None:
    records = ablation_records()
    table = build(records)
    text = render_results([table], records, FACTS)
    assert text.index("| Row | Seeds |") < text.index("### Comparisons") < text.index("## Caveats")
    rows = [row for row in table.rows if row.kind == "runs"]
    summary = text[text.index("## Table 5.") : text.index("### Comparisons")]
    # Each compared group's, and drift with cost; so many rows are folded.
    assert all(summary.count(f"\n| {row.title} | 2 |") == len(table.compared) + 1 for row in rows)
    assert summary.count("<details>") == summary.count("</details>") == len(table.compared) + 1
    compared = text[text.index("### Comparisons") : text.index("## Caveats")]
    assert all(f"\n| {row.title} | " in compared for row in rows if row.name != "compact")
    assert len(text.splitlines()) < 6 * len(rows) + 150
    page = render_details([table], records, FACTS)["table_5.md"]
    change = page[page.index("## Change of mean") : page.index("## In-distribution accuracy")]
    assert change.count("| Without ") == 7
    for name in ("table", "tabular"):
        latex = tables_latex([table])
        assert latex.count(rf"\begin{{{name}}}") == latex.count(rf"\end{{{name}}}") > len(table.groups)


def test_tables_of_many_rows_are_rectangular() -> None:
    tables, records = [build(ablation_records())], ablation_records()
    pages = render_details(tables, records, FACTS).values()
    widths: set[int] = set()
    for line in (
        line for text in (render_results(tables, records, FACTS), *pages) for line in [*text.splitlines(), ""]
    ):
        if line.startswith("|"):
            widths.add(len(re.findall(r"(?<!\\)\|", line)) - 1)
        elif widths:
            assert len(widths) == 1 and widths.pop() <= 8


def test_two_tables_in_one_report() -> None:
    records = [*all_records((1, 2)), *(r for r in ablation_records() if r.key.variant)]
    tables = [
        build(all_records((1, 2)), load_table_spec(2), teachers=("alpha", "beta")),
        build([r for r in records if r.key.method != "single_teacher"]),
    ]
    text = render_results(tables, records, FACTS)
    for heading in (
        "## For and against COMPACT (paper) (table 2)",
        "## What else the data support (table 2)",
        "## What else the data support (table 5)",
        "## Table 2.",
        "## Table 5.",
    ):
        assert text.count(heading) == 1
    pages = render_details(tables, records, FACTS)
    assert {"table_2.md", "table_5.md", "comparisons_table_2.md", "comparisons_table_5.md"} <= pages.keys()
