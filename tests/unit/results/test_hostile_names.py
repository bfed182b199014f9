"""One set of hostile strings through every writer: whatever a name is, no output changes its structure."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Mapping
from typing import Any

import pytest
from markdown_it import MarkdownIt
from pydantic import ValidationError
from rich.table import Table as RichTable

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import RunRecord
from compact_bench.core.written.names import checked_name, shown, unreadable
from compact_bench.core.written.terminal import open_console
from compact_bench.results.figures import Line, Panel, Point, draw
from compact_bench.results.report import ReportFacts
from compact_bench.results.report.csv_file import tables_csv
from compact_bench.results.report.latex import tables_latex
from compact_bench.results.report.markdown import code_block, document, escaped, grid
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import TableSpec, load_table_spec
from tests.unit.synthetic import SUITE, all_records, record, render_details, render_results

BENIGN = "Plain"
HOSTILE = (
    "x\n\n## Forged: COMPACT is above all\n\n",
    "# heading",
    "## For and against COMPACT (paper)",
    "- item",
    "1. first",
    "> quote",
    "===",
    "---",
    "```\n# code",
    "~~~",
    "a | b | 99.9 | c",
    "<script>alert(1)</script>",
    "<!-- comment",
    "</summary></details>",
    "&lt;b&gt; &amp; &#60;i&#62;",
    "[link](https://example.org)",
    "![image](https://example.org/x.png)",
    "[a][b] [c]: https://example.org",
    "[c]: https://example.org",
    "**bold** *it* __bold__ _it_ ~~gone~~",
    "`code` ``more``",
    "back\\slash \\| \\",
    "\\input{/etc/passwd} & 100 % of $x$ #1 a_b {c} ~ ^",
    "\\end{tabular}\\\\",
    "[0.5cm] *",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "[red]markup[/red] :smile: [/]",
    "carriage\rreturn",
    "a\u202eb\u2066c\u200fd",
    "line\u2028separator\u2029\x85",
    "zero\u200bwidth\ufeff",
    "lone \ud800 surrogate",
    "null\x00",
    "tab\x0bfeed\x0c",
    "$\\frac{$ and $",
)


def with_name(name: str) -> tuple[Table, list[RunRecord], ReportFacts]:
    """A report in which every text that anybody may choose is, or holds, a name."""
    spec: TableSpec = load_table_spec(2)
    groups = tuple(
        group.model_copy(
            update={
                "title": f"{name} {group.name}",
                "short": f"{name} {group.name}",
                "note": name,
                "columns": tuple(c.model_copy(update={"title": f"{name} {c.name}"}) for c in group.columns),
            }
        )
        for group in spec.groups
    )
    rows = tuple(
        row.model_copy(update={"title": f"{name} {row.title}" if "{" in row.title else f"{name} {number}"})
        for number, row in enumerate(spec.rows)
    )
    spec = spec.model_copy(update={"title": name, "numbering": name, "groups": groups, "rows": rows})
    titled = tuple(dataclasses.replace(b, title=f"{name} {b.task}") for b in SUITE.benchmarks)
    suite = dataclasses.replace(SUITE, benchmarks=titled)
    teachers = (f"{name} a", f"{name} b")
    failed = record(
        "mcc_kd", status="failed", reason=f"broke for a reason that fills no cell {name}", evaluations={}
    )
    records = [*(renamed(run, name) for run in all_records((1, 2))), renamed(failed, name)]
    facts = ReportFacts(
        command=f"compact-bench reproduce --suite '{name}'",
        suite_title=name,
        profile_note=name,
        card="A card.",
        student=name,
        teachers={name: name, f"{name} b": ""},
    )
    problems = {"uniform": f"failed for a reason that fills no cell {name}"}
    return build_table(spec, records, suite, teachers=teachers, problems=problems), records, facts


def renamed(run: RunRecord, name: str) -> RunRecord:
    """A run whose teacher, student and notes have the name."""
    variant = {"alpha": f"{name} a", "beta": f"{name} b"}.get(run.key.variant, run.key.variant)
    key = dataclasses.replace(run.key, variant=variant, student=name)
    notes = {**run.probes["suite_notes"], f"{name} note": name} if run.probes else {}
    excluded = [{"question_id": name, "problem": name}]
    training: Mapping[str, Any] = {**run.training, "excluded": excluded}
    if training["extra"]:
        training = {**training, "extra": {"mean_teacher_weights": {f"{name} a": 0.6, f"{name} b": 0.4}}}
    return dataclasses.replace(
        run,
        key=key,
        training=training,
        probes={**run.probes, "suite_notes": notes},
        provenance={**run.provenance, "code": name},
    )


def structure(page: str) -> list[str]:
    """What a Markdown reader makes of a page, without its words."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    found = []
    for token in parser.parse(page):
        found.append(f"{token.type} {token.tag}")
        found += [
            child.type
            for child in token.children or ()
            if child.type not in ("text", "text_special", "softbreak")
        ]
    return found


@pytest.fixture(scope="module")
def benign() -> tuple[dict[str, list[str]], str, str]:
    table, records, facts = with_name(BENIGN)
    pages = {"RESULTS.md": render_results([table], records, facts)}
    pages |= render_details([table], records, facts)
    return {n: structure(text) for n, text in pages.items()}, tables_latex([table]), tables_csv([table])


# No record holds a lone surrogate: it is written in UTF-8.
RECORDED = [name for name in HOSTILE if "\ud800" not in name]


@pytest.mark.parametrize("name", RECORDED, ids=range(len(RECORDED)))
def test_a_report_keeps_its_structure(name: str, benign: tuple[dict[str, list[str]], str, str]) -> None:
    right, latex, cells = benign
    table, records, facts = with_name(name)
    pages = {"RESULTS.md": render_results([table], records, facts)}
    pages |= render_details([table], records, facts)
    assert set(pages) == set(right)
    for page, text in pages.items():
        assert structure(text) == right[page], page
        assert not unreadable(text, lines=True), page
    written = tables_latex([table])
    # How wide names are decides how tables are split: what counts is that all that is done is ours.
    assert commands(written) <= commands(latex) | PRINTED
    for rows_of in tabulars(written):
        assert len(set(map(cells_in, rows_of))) == 1
    assert not unreadable(written, lines=True)
    rows = list(csv.reader(io.StringIO(tables_csv([table]))))
    assert [len(row) for row in rows] == [len(row) for row in csv.reader(io.StringIO(cells))]
    for row in rows[1:]:
        assert not any(field.lstrip()[:1] in ("=", "@") for field in row)
        assert not any(re.match(r"\s*[-+](?![0-9.])", field) for field in (*row[:6], row[-1]))


PRINTED = {rf"\text{name}" for name in ("backslash", "asciitilde", "asciicircum", "less", "greater", "bar")}
SIGNS = re.compile(r"\\[&%$#_{}]")


def commands(text: str) -> set[str]:
    """Commands of a LaTeX text; every sign that could act must be part of one, or escaped."""
    for line in text.splitlines():
        plain = SIGNS.sub("", line)
        assert plain.startswith("%") or not re.search(r"[#~^]|(?<!tab:)_", plain.split(r"\label")[0]), line
        assert plain.startswith("%") or "%" not in plain, line
        assert plain.count("{") == plain.count("}"), line
        assert not re.match(r"\s*[\[*]", line), line
    return set(re.findall(r"\\[A-Za-z]+", SIGNS.sub("", text)))


def tabulars(text: str) -> list[list[str]]:
    """Lines that end a row, for each table."""
    parts = text.split(r"\begin{tabular}")[1:]
    return [
        [line for line in part.split(r"\end{tabular}")[0].splitlines() if line.endswith(r"\\")]
        for part in parts
    ]


def cells_in(row: str) -> int:
    """How many columns a row fills."""
    plain = SIGNS.sub("", row)
    return 1 + plain.count("&") + sum(int(span) - 1 for span in re.findall(r"multicolumn\{(\d+)\}", plain))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_terminal_shows_text_and_obeys_none(text: str) -> None:
    stream = io.StringIO()
    console = open_console(file=stream, force_terminal=True, width=200, color_system=None)
    table = RichTable("name", title=text)
    table.add_row(text)
    console.print(text)
    console.print(table)
    out = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()) if "\x1b" not in text else stream.getvalue()
    assert not unreadable(out, lines=True)
    if "[red]" in text:
        assert "[red]markup[/red] :smile: [/]" in out


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_single_writers(text: str) -> None:
    assert structure(f"# {escaped(text)}") == structure("# Plain")
    assert structure(f"- {escaped(text)}") == structure("- Plain")
    assert structure(escaped(text)) == structure("Plain")
    rows = grid(("Row", text), [[text, "1"]])
    assert structure("\n".join(rows)) == structure("\n".join(grid(("Row", "a"), [["b", "1"]])))
    assert structure(document(code_block(text))) == structure(document(code_block("Plain")))
    assert not unreadable(shown(text))


def test_a_picture_takes_any_title() -> None:
    for text in HOSTILE:
        lines = (Line(text, (Point(0.0, 1.0, 0.5, 1.5), Point(1.0, 2.0, 1.5, 2.5)), 0),)
        panel = Panel(title=text, x_title=text, y_title=text, lines=lines, x_ticks=(0.0, 1.0), percent=False)
        assert draw(text, [panel]).svg.startswith(b"<?xml")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31m", "a\u202eb", "\u200b", "\ud800", "a" * 101])
def test_a_name_that_hides_something_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_name("teacher", name)
    assert not unreadable(str(caught.value)) and caught.value.exit_code == 2


@pytest.mark.parametrize("field", ["title", "number", "numbering", "reference"])
def test_a_table_file_cannot_hide_anything(field: str) -> None:
    data = load_table_spec(2).model_dump()
    with pytest.raises(ValidationError):
        TableSpec.model_validate({**data, field: "x\n## Forged"})


@pytest.mark.parametrize("field", ["title", "reference"])
def test_a_table_file_says_its_title_and_its_reference(field: str) -> None:
    data = load_table_spec(2).model_dump()
    with pytest.raises(ValidationError):
        TableSpec.model_validate({**data, field: ""})


def test_a_tables_number_names_a_file_and_no_way_out() -> None:
    data = load_table_spec(2).model_dump()
    for number in ("../2", "a/b", "", "2\n"):
        with pytest.raises(ValidationError):
            TableSpec.model_validate({**data, "number": number})
