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
from compact_bench.results.report import ReportFacts, write_results
from compact_bench.results.report.csv_file import tables_csv
from compact_bench.results.report.latex import tables_latex
from compact_bench.results.report.sections.provenance import provenance_markdown
from compact_bench.results.statistics.verdicts import RULE
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.runs.store.store import Store
from tests.unit.synthetic import SUITE, TEACHERS, all_records, key, record, render_details, render_results

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
    assert [path.name for path in first.details] == [path.name for path in second.details]
    for ours, theirs in zip(first.details, second.details, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()


def pages(records: list[RunRecord], facts: ReportFacts = FACTS) -> dict[str, str]:
    return render_details([build(records)], records, facts)


def test_the_report_and_its_pages_hold_what_a_reader_needs() -> None:
    text = render_results([build(all_records((1, 2)))], all_records((1, 2)), FACTS)
    for wanted in (
        "do not edit",
        FACTS.command,
        "Tiny, dequantised from Q4_1",
        "alpha (Alpha 1), beta",
        "### Comparisons",
        "- Profile: lite (few items, so wide intervals)",
        "not available",
    ):
        assert wanted in text
    found = pages(all_records((1, 2)))
    for name, wanted in {
        "about.md": FACTS.card,
        "teachers.md": "## Teacher weights",
        "data.md": "- q9: rationale \\| too long",
        "table_2.md": "this project's own",
        "comparisons_table_2.md": "COMPACT (paper) minus Uniform weights",
        "runs.md": "| Run | Hash | Status |",
        "provenance.md": "- hardware.threads: 2",
    }.items():
        assert wanted in found[name], name
        assert FACTS.command in found[name] and "do not edit" in found[name]
    assert "| compact | 2 | 0.600 ± 0.000 | 0.400 ± 0.000 |" in found["teachers.md"]
    assert "- near_duplicates: 140" in found["data.md"] and "- shared.a+b: 8 entries" in found["data.md"]
    assert not [page for page in (text, *found.values()) if "started" in page or "chance:" in page]


def test_the_answer_comes_first_and_the_details_last() -> None:
    text = render_results([build(all_records((1, 2)))], all_records((1, 2)), FACTS)
    sections = re.findall(r"^###? (.+)$", text, re.MULTILINE)
    wanted = (
        "For and against COMPACT (paper)",
        "What else the data support",
        "How these results were made",
        f"Table 2. {SPEC.title}",
        "Comparisons",
        "What a verdict means",
        "Caveats",
        "Details",
    )
    places = [sections.index(name) for name in wanted]
    assert places == sorted(places) and places[0] == 0


@pytest.mark.parametrize(
    ("figures", "details", "folder"),
    [("", "", "results"), ("docs/lab", "", "docs/lab"), ("docs/lab", "pages", "pages")],
)
def test_every_link_leads_to_a_file(figures: str, details: str, folder: str, tmp_path: Path) -> None:
    records = all_records((1, 2))
    facts = dataclasses.replace(FACTS, figures=figures, details=details)
    written = write_results([build(records)], records, tmp_path, facts)
    assert {path.parent for path in written.details} == {tmp_path / folder}
    linked = set()
    for path in (written.markdown, *written.details):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            place = (path.parent / target).resolve()
            assert place.is_file(), f"{path.name}: {target}"
            linked.add(place)
    assert linked == {path.resolve() for path in (written.markdown, *written.details)}


def test_a_hard_wrapped_card_is_joined_and_other_markdown_is_kept() -> None:
    def card(text: str) -> str:
        page = render_details([], [], dataclasses.replace(FACTS, card=text))["about.md"]
        return page.split(f"{RULE}.\n")[1].lstrip()

    wrapped = "Some words\nand more.\n\n- one item\n  of two lines\n- another"
    assert card(wrapped).startswith("Some words and more.\n\n- one item of two lines\n- another\n")
    code = "Run\n\n```\nthis\nand that\n```"
    assert card(code).startswith(code)


def test_numbers_in_the_markdown_are_percent_of_the_csv() -> None:
    table = build(all_records((1, 2)))
    rows = list(csv.DictReader(io.StringIO(tables_csv([table]))))
    assert len(rows) == len(table.rows) * len(table.columns)
    found = next(r for r in rows if (r["row"], r["column"]) == ("compact", "svamp"))
    cell = table.cells["compact", "svamp"]
    assert float(found["mean"]) == cell.mean
    assert (found["seeds"], found["items"], found["reason"]) == ("2", "40", "")
    text = render_details([table], all_records((1, 2)), FACTS)["table_2.md"]
    assert f"{float(found['mean']) * 100:.1f} ± " in text
    assert "SVAMP (n = 40)" in text


def test_every_markdown_table_is_rectangular_and_not_too_wide() -> None:
    text = render_results([build(all_records((1, 2)))], all_records((1, 2)), FACTS)
    widths: set[int] = set()
    for line in "\n\n".join((text, *pages(all_records((1, 2))).values())).splitlines():
        if line.startswith("|"):
            widths.add(len(re.findall(r"(?<!\\)\|", line)) - 1)
        elif widths:
            assert len(widths) == 1
            assert widths.pop() <= 8


def test_a_long_reason_stands_below_its_table() -> None:
    failed = record("uniform", status="failed", reason="the loss | is not finite at step 3 of question q7")
    text = render_results([build([failed])], [failed], FACTS)
    missing = text.split("### What has no result")[1]
    assert "- failed: the loss \\| is not finite at step 3 of question q7: Uniform weights\n" in missing
    assert "- not run: " in missing and "COMPACT (paper)" in missing
    text = pages([failed])["table_2.md"]
    assert "| failed (1) |" in text
    assert "(1) failed: the loss \\| is not finite at step 3 of question q7" in text


def test_one_seed_and_smoke_are_marked() -> None:
    runs = [record(m, key=key(m, profile="smoke")) for m in ("compact", "uniform")]
    table = build(runs)
    text = render_results([table], runs, FACTS)
    assert "meaningless" in text
    assert "over items only" in text
    assert "one seed only" in text
    assert "bootstrap over items" in tables_latex([table])
    assert "meaningless" in tables_latex([table])


def test_a_failed_seed_of_a_row_that_has_others_is_named() -> None:
    runs = [record("compact"), record("compact", seed=2, status="failed", reason="no memory\nat step 3")]
    text = render_results([build(runs)], runs, FACTS)
    assert "- COMPACT (paper), seed 2: failed: no memory\n" in text


def test_differing_provenance_is_listed_with_its_runs() -> None:
    same, other = record("compact"), record("uniform")
    other = dataclasses.replace(other, provenance={**other.provenance, "hardware": {"threads": 9}})
    text = pages([same, other])["provenance.md"]
    assert "- code: abc" in text
    assert "The runs differ in:" in text
    assert "- hardware.threads = 9: 1 runs" in text


@pytest.mark.parametrize("records", [[], [record("compact")]])
def test_a_partial_report_is_still_a_report(records: list[RunRecord], tmp_path: Path) -> None:
    written = write_results([build(records)], records, tmp_path / "new", FACTS)
    assert "not run" in written.markdown.read_text()


def test_what_no_two_runs_share_is_no_line_of_provenance() -> None:
    runs = [
        dataclasses.replace(r, provenance={**r.provenance, "cpu_seconds": 1.5 + n, "seconds": 2.0 * n})
        for n, r in enumerate(all_records((1, 2)))
    ]
    assert "seconds" not in "\n".join(provenance_markdown(runs))
