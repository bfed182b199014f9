"""The files of a sweep: picture, table, data and words, from run records and nothing else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from compact_bench.core.files import write_atomic
from compact_bench.core.records import Cell, RunRecord, RunStatus
from compact_bench.core.written.values import number_text
from compact_bench.results.claims import ClaimStatus
from compact_bench.results.figures import Drawing, Line, Panel, Point, draw
from compact_bench.results.report.csv_file import csv_field
from compact_bench.results.report.markdown import code, code_block, document, escaped, grid
from compact_bench.results.report.sections.provenance import provenance_markdown
from compact_bench.results.report.words import (
    RULE_SENTENCE,
    cannot_be_equivalent,
    listed,
    points,
    sentence,
)
from compact_bench.results.statistics.verdicts import SIGNS, Verdict
from compact_bench.results.sweeps.results import Place, SweepResults
from compact_bench.results.sweeps.spec import PanelSpec, SweepRow
from compact_bench.results.sweeps.statements import Statement
from compact_bench.results.tables.comparisons import Comparison, few_seeds_note

MISSING_SHOWN = 20
VERDICTS = get_args(Verdict)
STATUS_WORDS: dict[ClaimStatus, str] = {
    "reproduced": "came out",
    "contradicted": "contradicted",
    "equivalent": "equivalent",
    "inconclusive": "inconclusive",
    "untestable": "untestable",
    "untested": "not measured",
    "no reference": "not measured",
}
CELL_NUMBERS = ("mean", "low", "high", "seed_sd", "seeds", "items", "reason")
COMPARISON_NUMBERS = ("effect", "low", "high", "p_value", "p_corrected", "seeds", "items", "reason")


def write_sweep(results: SweepResults, folder: Path) -> tuple[Path, ...]:
    """Write SWEEP.md and sweep_<name>.csv, .json, .png and .svg; the same records give the same bytes.

    Returns:
        The files, in this order.

    Raises:
        StoreError: a file cannot be written.
    """
    stem = f"sweep_{results.spec.name}"
    drawing = draw_sweep(results)
    files = {
        "SWEEP.md": sweep_markdown(results, f"{stem}.png").encode(),
        f"{stem}.csv": sweep_csv(results).encode(),
        f"{stem}.json": sweep_json(results).encode(),
        f"{stem}.png": drawing.png,
        f"{stem}.svg": drawing.svg,
    }
    for name, content in files.items():
        write_atomic(folder / name, content)
    return tuple(folder / name for name in files)


def draw_sweep(results: SweepResults) -> Drawing:
    """The figure: a panel per measure, a line per row; values without a cell leave a gap in their line."""
    spec = results.spec
    panels = [
        Panel(
            title=panel.title,
            x_title=spec.axis.title,
            y_title=panel.y_title,
            lines=tuple(Line(row.title, _points(results, panel, row.name), row.style) for row in spec.rows),
            x_ticks=spec.axis.values,
            percent=panel.name in results.percent,
        )
        for panel in spec.panels
    ]
    return draw(spec.title, panels)


def _points(results: SweepResults, panel: PanelSpec, row: str) -> tuple[Point, ...]:
    cells = ((value, results.cells[panel.name, row, value]) for value in results.spec.axis.values)
    return tuple(Point(x, c.mean, c.low, c.high) for x, c in cells if c.mean is not None)


def sweep_csv(results: SweepResults) -> str:
    """One line per panel, row and value; accuracies and shares in [0, 1]."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["panel", "row", csv_field(results.spec.axis.setting), *CELL_NUMBERS])
    for (panel, row, value), cell in results.cells.items():
        writer.writerow([panel, row, number_text(value), *map(csv_field, _numbers(cell).values())])
    return stream.getvalue()


def sweep_json(results: SweepResults) -> str:
    """Everything as data: definition, cells, contrasts, runs, what is missing."""
    data = {
        "definition": results.spec.model_dump(mode="json"),
        "suite": results.suite.name,
        "profile": results.profile,
        "student": results.student,
        "command": results.command,
        "cells": [{**_placed(place), **_numbers(cell)} for place, cell in results.cells.items()],
        "contrasts": [
            {**_placed(place), **_numbers(c), "verdict": c.verdict}
            for place, c in results.comparisons.items()
        ],
        "statements": [
            {
                **s.spec.model_dump(mode="json"),
                **_numbers(s.comparison),
                "verdict": s.comparison.verdict,
                "status": s.status,
            }
            for s in results.statements
        ],
        "own_value": results.own_value,
        "runs": sorted(record.key.hash for record in results.records),
        "missing": list(results.missing),
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _placed(place: Place) -> dict[str, str | float]:
    return dict(zip(("panel", "row", "value"), place, strict=True))


def _numbers(measured: Cell | Comparison) -> dict[str, float | int | str | None]:
    names = CELL_NUMBERS if isinstance(measured, Cell) else COMPARISON_NUMBERS
    return {name: getattr(measured, name) for name in names}


def sweep_markdown(results: SweepResults, picture: str) -> str:
    """The text of SWEEP.md; `picture` is the name of the figure's file beside it."""
    spec = results.spec
    runs = sorted(results.records, key=lambda r: (r.key.name, r.key.hash))
    lines = [
        "<!-- Generated by compact-bench from run records: do not edit. -->",
        "",
        f"# Sweep: {escaped(spec.title)}",
        "",
        "This file is generated from run records; do not edit it. It is made by",
        "",
        *code_block(results.command),
        "",
        f"- Suite: {escaped(results.suite.title)}",
        f"- Profile: {escaped(results.profile)}",
        f"- Student: {escaped(results.student)}",
        f"- Seeds: {', '.join(map(str, spec.seeds))}",
        f"- Varied: {escaped(spec.axis.title)} ({', '.join(map(code, spec.axis.settings))})",
        f"- Runs: {run_states(runs)}",
        "",
        f"![{escaped(spec.title)}]({picture})",
        "",
        "## What the data support",
        "",
        *_words(results),
    ]
    if results.statements:
        lines += ["", "## Stated beforehand", "", *statements_markdown(results.statements)]
    for panel in spec.panels:
        lines += ["", f"## {escaped(panel.title)}", "", *_panel_markdown(results, panel)]
    if results.missing:
        lines += ["", "## Missing", "", *missing_markdown(results.missing)]
    if runs:
        lines += ["", "## Provenance", "", *provenance_markdown(runs)]
    return document(lines)


def run_states(runs: Sequence[RunRecord]) -> str:
    """How many runs ended how: "20 done, 1 failed"."""
    counts = {status: sum(run.status == status for run in runs) for status in get_args(RunStatus)}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "none"


def missing_markdown(missing: Sequence[str]) -> list[str]:
    """What was not run, or failed, a line each; beyond the first ones they are counted."""
    lines = [f"- {escaped(text)}" for text in missing[:MISSING_SHOWN]]
    rest = len(missing) - MISSING_SHOWN
    return [*lines, f"- and {rest} more, listed in the JSON file"] if rest > 0 else lines


def _words(results: SweepResults) -> list[str]:
    spec, compared = results.spec, list(results.comparisons.values())
    lines = [
        f"- {escaped(_sentence(results, panel, row))}"
        for panel in spec.panels
        for row in spec.rows
        if (panel.name, row.name, spec.axis.values[0]) in results.comparisons
    ]
    if not lines:
        lines.append("- Nothing is compared: fewer than two rows, or the reference row is not among them.")
    if results.missing:
        lines.append(f"- {len(results.missing)} run(s) are missing; they are listed below.")
    if any(c.correction for c in compared):
        lines.append(f"- {escaped(families_sentence([results]))}")
        lines.append(f"- {escaped(margin_sentence(spec.margin, compared))}")
    notes = [few_seeds_note([c.seeds for c in compared]), spec.note]
    return lines + [f"- {escaped(note)}" for note in notes if note]


def families_sentence(sweeps: Sequence[SweepResults]) -> str:
    """Which comparisons of these sweeps are corrected together."""
    titles = dict.fromkeys(row.title for s in sweeps for row in s.spec.rows if not row.rival)
    own = any(s.own_value is not None for s in sweeps)
    found = sorted({c.family for s in sweeps for c in s.comparisons.values() if c.correction})
    sizes = f"{found[0]} to {found[-1]}" if len(found) > 1 else str(*found)
    shared = (
        "; those in the suite's own world apart too, so that all sweeps say the same of it" if own else ""
    )
    marks = (
        f"; those with rows that are there as marks ({listed(list(titles))}) apart from the others"
        if titles
        else ""
    )
    return (
        f"{RULE_SENTENCE} All comparisons of a sweep are exploratory: corrected by Benjamini and Hochberg, "
        f"each panel of a sweep a family of its own ({sizes} comparisons){marks}{shared}. "
        "Intervals are over seeds and items."
    )


def margin_sentence(margin: float | None, compared: Sequence[Comparison]) -> str:
    """What counts as no difference, and where that cannot be shown."""
    if margin is None:
        return "No margin is set for this sweep, so that no equivalence is said."
    parts = [f"A difference of accuracies under {points(margin, '')} pp counts as none, by the sweep's file"]
    open_ones = [c for c in compared if c.verdict == "inconclusive" and c.margin is not None]
    # Rows that are alike on every item have no interval; their own sentence says so.
    wide = [c for c in open_ones if c.contrast and c.contrast.low_90 < c.contrast.high_90]
    if few := cannot_be_equivalent(wide):
        count = sum(bool(cannot_be_equivalent([c])) for c in wide)
        parts.append(f"where a comparison is inconclusive, {few} in {count} of {len(open_ones)} of them")
    return f"{'; '.join(parts)}."


def statements_markdown(statements: Sequence[Statement]) -> list[str]:
    """What was stated before any run, and what came, a sentence each."""
    counts = {c.family for c in (s.comparison for s in statements) if c.correction}
    lines = [
        "Fixed in the sweep's file before any run, and one family (Holm"
        f"{f' over {counts.pop()}' if len(counts) == 1 else ''}); told whichever way it came out.",
        "",
    ]
    for s in statements:
        expected = f"the difference {s.spec.expected}" if s.spec.at is None else s.spec.expected
        told = escaped(sentence(s.comparison))
        lines.append(f"- **{STATUS_WORDS[s.status]}** (expected: {expected}). {told}")
    return lines


def _sentence(results: SweepResults, panel: PanelSpec, row: SweepRow) -> str:
    """Where the reference row is above or below another one, and where neither is shown."""
    spec, percent = results.spec, panel.name in results.percent
    places: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
    for value in spec.axis.values:
        comparison = results.comparisons[panel.name, row.name, value]
        effect = (
            f" ({_text(comparison.effect or 0.0, comparison, percent, '+', ' pp')})"
            if comparison.shown
            else ""
        )
        places[comparison.verdict].append(f"{number_text(value)}{effect}")
    parts = [f"{verdict} at {', '.join(found)}" for verdict, found in places.items() if found]
    pair = f"{spec.reference_title} against {row.title}, by {spec.axis.setting}"
    return f"{panel.title}, {pair}: {'; '.join(parts)}."


def _panel_markdown(results: SweepResults, panel: PanelSpec) -> list[str]:
    spec, percent = results.spec, panel.name in results.percent
    head = [spec.axis.setting, *(f"{number_text(value)}" for value in spec.axis.values)]
    places = {row.title: [(panel.name, row.name, value) for value in spec.axis.values] for row in spec.rows}
    rows = [
        [title, *(_cell_text(results.cells[p], percent) for p in row_places)]
        for title, row_places in places.items()
    ]
    lines = [escaped(panel.note), ""] if panel.note else []
    lines += [*grid(head, rows), "", _legend(results, panel)]
    rows = [
        [title, *(_difference_text(results.comparisons[place], percent) for place in row_places)]
        for title, row_places in places.items()
        if row_places[0] in results.comparisons
    ]
    if rows:
        unit = ", pp" if percent else ""
        signs = ", ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items())
        title = f"{escaped(spec.reference_title)} minus the row{unit} ({signs}):"
        lines += ["", title, "", *grid(head, rows)]
    return lines


def _text(mean: float, measured: Cell | Comparison, percent: bool, sign: str = "", unit: str = "") -> str:
    """A value with its interval, where it has one: "59.2 [57.1, 61.4]", "+4.2 pp [+2.1, +6.6]"."""

    def number(value: float) -> str:
        # -0.0 would print as "-0.0".
        return f"{value * 100 + 0.0:{sign}.1f}" if percent else f"{value + 0.0:{sign}.4g}"

    text = f"{number(mean)}{unit if percent else ''}"
    if measured.low is None or measured.high is None:
        return text
    return f"{text} [{number(measured.low)}, {number(measured.high)}]"


def _cell_text(cell: Cell, percent: bool) -> str:
    return cell.reason if cell.mean is None else _text(cell.mean, cell, percent)


def _difference_text(comparison: Comparison, percent: bool) -> str:
    if comparison.effect is None:
        return comparison.reason
    text = _text(comparison.effect, comparison, percent, sign="+")
    return f"{SIGNS.get(comparison.verdict, '')} {text}".strip()


def _legend(results: SweepResults, panel: PanelSpec) -> str:
    """What the cells are over; each number once where all cells agree."""
    cells = [c for (name, _, _), c in results.cells.items() if name == panel.name and c.mean is not None]
    if not cells:
        return "Nothing is measured yet."

    def span(counts: Sequence[int]) -> str:
        low, high = min(counts), max(counts)
        return f"{low:,}" if low == high else f"{low:,} to {high:,}"

    seeds, items = span([c.seeds for c in cells]), span([c.items for c in cells])
    unit = "Percent: mean" if panel.name in results.percent else "Mean"
    return f"{unit} [95 % interval] over {seeds} seed(s) and {items} items."
