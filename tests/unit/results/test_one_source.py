"""One number, one source: wherever a report shows a quantity, it has one mean and one interval."""

from __future__ import annotations

import csv
import io
import random
import re
from dataclasses import replace
from typing import Any

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.results.report import ReportFacts
from compact_bench.results.report.csv_file import tables_csv
from compact_bench.results.report.markdown import table_markdown
from compact_bench.results.report.words import sentence
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.measuring import compare_measure
from compact_bench.results.tables.spec import MeasureSpec, load_table_spec
from tests.unit.synthetic import SUITE, TEACHERS, record, render_details, render_results

IDS = [f"q{n}" for n in range(37)]
SCORES = ("consensus", "adaptability", "difficulty", "fused")
SEEDS = (1, 2, 3)
NUMBER = r"([+-]?\d+(?:\.\d+)?)"
ESTIMATE = re.compile(rf"{NUMBER}(?: ± \S+)?(?: %| pp)? \[{NUMBER}, {NUMBER}\]")
TITLES = {
    "compact": "COMPACT (paper)",
    "compact_released": "COMPACT (released code)",
    "uniform": "Uniform weights",
}
COLUMN_TITLES = {
    "weight_on_right": "Weight on right",
    "relative_regret": "Relative regret",
    **{f"auc_{score}": f"AUC, {score}" for score in SCORES},
}


def truth(method: str, seed: int) -> dict[str, Any]:
    """Truth scores as a run records them: per question, and their means."""
    draw = random.Random(f"{method}/{seed}")
    uniform = [(0.25, 0.5, 0.75)[n % 3] for n in range(len(IDS))]
    shares = [min(1.0, share + 0.2 * draw.random()) for share in uniform]
    areas = {score: [draw.choice((0.0, 0.5, 1.0)) for _ in IDS] for score in SCORES}
    mean, equal = sum(shares) / len(IDS), sum(uniform) / len(IDS)
    return {
        "questions": len(IDS),
        "weight_on_right": mean,
        "uniform_share": equal,
        "relative_regret": (1 - mean) / (1 - equal),
        "auc": {score: sum(values) / len(IDS) for score, values in areas.items()},
        "reasons": {},
        "items": {
            "question_ids": IDS,
            "weight_on_right": shares,
            "relative_regret": [(1 - w) / (1 - u) for w, u in zip(shares, uniform, strict=True)],
            "uniform_regret": [1 - u for u in uniform],
            "auc": areas,
        },
        "by_family": [],
        "by_teacher": {},
        "over_training": [],
    }


def made_record(method: str, seed: int, rate: float) -> RunRecord:
    run = record(method, seed=seed, rate=rate)
    return replace(run, probes={**run.probes, "truth": truth(method, seed)})


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    rates = {"compact": 0.8, "compact_released": 0.6, "uniform": 0.4}
    return [made_record(method, seed, rate) for seed in SEEDS for method, rate in rates.items()]


@pytest.fixture(scope="module")
def tables(records: list[RunRecord]) -> list[Table]:
    return [
        build_table(load_table_spec(number), records, SUITE, teachers=TEACHERS, seeds=SEEDS, has_truth=True)
        for number in (2, 5)
    ]


@pytest.fixture(scope="module")
def text(tables: list[Table], records: list[RunRecord]) -> str:
    """RESULTS.md, and the whole tables, wherever a report puts them."""
    facts = ReportFacts(command="command")
    pages = render_details(tables, records, facts)
    report = "\n".join([render_results(tables, records, facts), *pages.values()])
    return "\n".join([report, *(line for table in tables for line in table_markdown(table))])


def agrees(shown: str, value: float) -> bool:
    """Whether a printed number is a value, rounded to the digits that are shown."""
    decimals = len(shown.partition(".")[2])
    return abs(float(shown) - value) <= 0.5 * 10**-decimals + 1e-9


def check(text: str, values: tuple[float, float, float], scale: float = 1.0) -> None:
    found = ESTIMATE.search(text)
    assert found, text
    assert all(agrees(a, b * scale) for a, b in zip(found.groups(), values, strict=True)), (text, values)


def csv_cells(tables: list[Table]) -> dict[tuple[str, str], list[dict[str, str]]]:
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for line in csv.DictReader(io.StringIO(tables_csv(tables))):
        if line["low"]:
            found.setdefault((line["row"], line["column"]), []).append(line)
    return found


def columns_shown(text: str, title: str) -> list[tuple[str, str]]:
    """(column title, cell) wherever a Markdown table of the text has this row."""
    found: list[tuple[str, str]] = []
    head: list[str] = []
    for line, following in zip(text.splitlines(), [*text.splitlines()[1:], ""], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if following.startswith("|---"):
            head = cells
        elif line.startswith(f"| {title} |"):
            found += zip(head, cells, strict=True)
    return found


def test_every_table_and_the_csv_have_one_mean_and_interval_of_a_quantity(tables: list[Table]) -> None:
    for place, lines in csv_cells(tables).items():
        assert len({(line["mean"], line["low"], line["high"]) for line in lines}) == 1, place


@pytest.mark.parametrize("method", TITLES)
def test_the_truth_section_and_the_tables_show_the_cells(method: str, tables: list[Table], text: str) -> None:
    cells, shown = csv_cells(tables), columns_shown(text, TITLES[method])
    for column, title in COLUMN_TITLES.items():
        values = [(line["mean"], line["low"], line["high"]) for line in cells[method, column]]
        mean, low, high = (float(x) for x in values[0])
        # In the tables that list the row, and once more in the section.
        texts = [cell for head, cell in shown if head.startswith(title)]
        assert len(texts) > len(values), (method, column)
        for cell in texts:
            check(cell, (mean, low, high))


@pytest.mark.parametrize("method", ["compact", "compact_released"])
def test_the_truth_sentences_show_the_cells(method: str, tables: list[Table], text: str) -> None:
    cells = csv_cells(tables)

    def values(column: str) -> tuple[float, float, float]:
        line = cells[method, column][0]
        return float(line["mean"]), float(line["low"]), float(line["high"])

    said = next(line for line in text.splitlines() if f"{TITLES[method]} puts" in line)
    check(said, values("weight_on_right"), 100.0)
    check(said.partition("relative regret")[2], values("relative_regret"))
    words = [line for line in text.splitlines() if line.startswith(f"- {TITLES[method]}: what ")]
    for score in ("consensus", "adaptability", "difficulty"):
        line = next(line for line in words if score in line)
        check(line.partition(score)[2], values(f"auc_{score}"))


def test_every_account_of_a_comparison_has_one_effect_and_interval(tables: list[Table], text: str) -> None:
    for table in tables:
        measured = [c for c in table.comparisons if c.effect is not None]
        assert measured
        for c in measured:
            assert c.effect is not None and c.low is not None and c.high is not None
            values = (c.effect, c.low, c.high)
            rows = columns_shown(text, f"{c.row_title} minus {c.against_title}")
            effects = [found.groups() for head, cell in rows if (found := ESTIMATE.search(cell))]
            assert any(
                all(agrees(a, b * 100) for a, b in zip(found, values, strict=True)) for found in effects
            ), c
            # A shown difference is told by its size and side: "below by 2.1 pp [0.4, 3.9]".
            turned = c.shown and c.effect < 0
            told = (-c.effect, -c.high, -c.low) if turned else values
            if c.in_words:
                assert sentence(c) in text
                check(sentence(c).split(" is ", 1)[1], told, 100.0)


def test_a_measure_s_difference_is_of_the_cells_own_values(tables: list[Table]) -> None:
    """Against a row of constant 0, the difference is the row itself: the cell's mean and spread."""
    rows = {row.row.name: row for row in tables[0].filled}
    measure = next(m for g in tables[0].groups for m in g.columns if m.name == "weight_on_right")
    runs = {}
    for seed, run in rows["uniform"].runs.items():
        nothing = {**run.probes["truth"], "weight_on_right": 0.0}
        nothing["items"] = {**nothing["items"], "weight_on_right": [0.0] * len(IDS)}
        runs[seed] = replace(run, probes={"truth": nothing})
    zero = replace(rows["uniform"], runs=runs)
    found = compare_measure(rows["compact"], zero, measure)
    cell = tables[0].cells["compact", "weight_on_right"]
    assert (found.effect, found.seed_sd) == (pytest.approx(cell.mean), pytest.approx(cell.seed_sd))
    assert (found.seeds, found.items) == (cell.seeds, cell.items)


def test_items_are_paired_by_id_where_records_have_ids(tables: list[Table]) -> None:
    rows = {row.row.name: row for row in tables[0].filled}
    measure = next(m for g in tables[0].groups for m in g.columns if m.name == "weight_on_right")
    turned = {}
    for seed, run in rows["compact"].runs.items():
        items = {
            name: v[::-1] if isinstance(v, list) else v for name, v in run.probes["truth"]["items"].items()
        }
        probes = {"truth": {**run.probes["truth"], "items": items}}
        turned[seed] = replace(run, probes=probes, weights={"final": f"turned {seed}"})
    found = compare_measure(replace(rows["compact"], runs=turned), rows["uniform"], measure)
    assert found.effect == pytest.approx(compare_measure(rows["compact"], rows["uniform"], measure).effect)
    same = replace(rows["uniform"], runs=turned)
    assert compare_measure(rows["compact"], same, measure).seed_sd == pytest.approx(0.0, abs=1e-12)
    by_place: MeasureSpec = measure.model_copy(update={"ids_source": ""})
    low = compare_measure(rows["compact"], same, by_place).low
    assert low is not None and low < -1e-3, "by place, other questions stand beside each other"
