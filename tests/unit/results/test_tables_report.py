"""RESULTS.md, RESULTS.csv and RESULTS.tex: generated, complete, and the same for the same records."""

from __future__ import annotations

import csv
import dataclasses
import io
import random
import re
from pathlib import Path

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.results.report import ReportFacts, render_results, write_results
from compact_bench.results.report.csv_file import tables_csv
from compact_bench.results.report.latex import latex_escaped, tables_latex
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.runs.store.store import Store
from tests.unit.synthetic import SUITE, TEACHERS, all_records, key, record

SPEC = load_table_spec(2)
FACTS = ReportFacts(
    command="python -m compact_bench reproduce --table 2 --suite svamp",
    suite_title="SVAMP",
    profile_note="few items, so wide intervals",
    card="The teachers saw the gold answer.",
    student="Tiny, dequantised from Q4_1",
    teachers={"alpha": "Alpha 1", "beta": ""},
)


def build(records: list[RunRecord]) -> Table:
    return build_table(SPEC, records, SUITE, teachers=TEACHERS)


def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    """Also out of the store, and in another order."""
    records = all_records((1, 2))
    store = Store(tmp_path / "store")
    for run in records:
        store.save(key(run.key.method, run.key.variant, run.key.seed), run)
    mixed = store.records()
    random.Random(0).shuffle(mixed)
    first = write_results([build(records)], records, tmp_path / "a", FACTS)
    second = write_results([build(mixed)], mixed, tmp_path / "b", FACTS)
    for name in ("markdown", "csv", "latex"):
        assert getattr(first, name).read_bytes() == getattr(second, name).read_bytes()


def test_the_report_holds_what_a_reader_needs() -> None:
    text = render_results([build(all_records((1, 2)))], all_records((1, 2)), FACTS)
    for wanted in (
        "do not edit",
        FACTS.command,
        FACTS.card,
        "Tiny, dequantised from Q4_1",
        "alpha (Alpha 1), beta",
        "## Teacher weights",
        "| compact | 2 | 0.600 ± 0.000 | 0.400 ± 0.000 |",
        "- q9: rationale \\| too long",
        "- near_duplicates: 140",
        "- shared.a+b: 8 entries",
        "### Comparisons",
        "- Profile: lite (few items, so wide intervals)",
        "this project's own",
        "not available",
        "- hardware.threads: 2",
    ):
        assert wanted in text
    assert "started" not in text
    assert "chance:" not in text


def test_the_answer_comes_first_and_the_details_last() -> None:
    text = render_results([build(all_records((1, 2)))], all_records((1, 2)), FACTS)
    sections = re.findall(r"^###? (.+)$", text, re.MULTILINE)
    wanted = (
        "What the data support",
        f"Table 2. {SPEC.title}",
        "Summary",
        "Comparisons",
        "About the suite",
        "Teacher weights",
        "Runs",
        "Provenance",
    )
    places = [sections.index(name) for name in wanted]
    assert places == sorted(places) and places[0] == 0


def test_numbers_in_the_markdown_are_percent_of_the_csv() -> None:
    table = build(all_records((1, 2)))
    rows = list(csv.DictReader(io.StringIO(tables_csv([table]))))
    assert len(rows) == len(table.rows) * len(table.columns)
    found = next(r for r in rows if (r["row"], r["column"]) == ("compact", "svamp"))
    cell = table.cells["compact", "svamp"]
    assert float(found["mean"]) == cell.mean
    assert (found["seeds"], found["items"], found["reason"]) == ("2", "40", "")
    text = render_results([table], all_records((1, 2)), FACTS)
    assert f"{float(found['mean']) * 100:.1f} ± " in text
    assert "SVAMP (n = 40)" in text


def test_every_markdown_table_is_rectangular_and_not_too_wide() -> None:
    text = render_results([build(all_records((1, 2)))], all_records((1, 2)), FACTS)
    widths: set[int] = set()
    for line in text.splitlines():
        if line.startswith("|"):
            widths.add(len(re.findall(r"(?<!\\)\|", line)) - 1)
        elif widths:
            assert len(widths) == 1
            assert widths.pop() <= 8


def test_a_long_reason_stands_below_its_table() -> None:
    failed = record("uniform", status="failed", reason="the loss | is not finite at step 3 of question q7")
    text = render_results([build([failed])], [failed], FACTS)
    assert "| failed (1) |" in text
    assert "(1) failed: the loss \\| is not finite at step 3 of question q7" in text


def test_one_seed_and_smoke_are_marked() -> None:
    runs = [record(m, key=key(m, profile="smoke")) for m in ("compact", "uniform")]
    table = build(runs)
    text = render_results([table], runs, FACTS)
    assert "meaningless" in text
    assert "over items only" in text
    assert "one seed only" in text
    assert "meaningless" in tables_latex([table])


def test_differing_provenance_is_listed_with_its_runs() -> None:
    same, other = record("compact"), record("uniform")
    other = dataclasses.replace(other, provenance={**other.provenance, "hardware": {"threads": 9}})
    text = render_results([build([same, other])], [same, other], FACTS)
    assert "- code: abc" in text
    assert "The runs differ in:" in text
    assert "- hardware.threads = 9: 1 runs" in text


def test_latex_is_escaped_and_balanced() -> None:
    assert latex_escaped("50% of a_b & {c} $x$ #1 ~ ^ \\ ±") == (
        r"50\% of a\_b \& \{c\} \$x\$ \#1 \textasciitilde{} \textasciicircum{} \textbackslash{} $\pm$"
    )
    text = tables_latex([build([*all_records((1, 2)), record("my_method")])])
    assert r"my\_method" in text
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 6
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert rows
    assert all(not re.search(r"(?<!\\)[%#_]", line) for line in rows)


@pytest.mark.parametrize("records", [[], [record("compact")]])
def test_a_partial_report_is_still_a_report(records: list[RunRecord], tmp_path: Path) -> None:
    written = write_results([build(records)], records, tmp_path / "new", FACTS)
    assert "not run" in written.markdown.read_text()
