"""The files of a sweep: picture, table, data and words, from run records and nothing else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from compact_bench.core.files import write_atomic
from compact_bench.core.records import Cell, RunRecord, RunStatus
from compact_bench.results.figures import Drawing, Line, Panel, Point, draw
from compact_bench.results.report.markdown import escaped, grid
from compact_bench.results.report.sections.provenance import provenance_markdown
from compact_bench.results.sweeps.results import Place, SweepResults
from compact_bench.results.sweeps.spec import PanelSpec, SweepRow, SweepSpec
from compact_bench.results.tables.comparisons import Comparison, few_seeds_note

MISSING_SHOWN = 20
VERDICTS = ("above", "below", "no difference shown", "not compared")
CELL_NUMBERS = ("mean", "low", "high", "seed_sd", "seeds", "items", "reason")
COMPARISON_NUMBERS = ("effect", "low", "high", "p_value", "p_holm", "seeds", "items", "reason")


@dataclass(frozen=True)
class WrittenSweep:
    """The files that were written."""

    markdown: Path
    csv: Path
    json: Path
    png: Path
    svg: Path


def write_sweep(results: SweepResults, folder: Path) -> WrittenSweep:
    """Write SWEEP.md and sweep_<name>.csv, .json, .png and .svg; the same records give the same bytes.

    Args:
        results: what was measured, whole or not.
        folder: where the files go.

    Raises:
        StoreError: a file cannot be written.
    """
    stem = f"sweep_{results.spec.name}"
    written = WrittenSweep(
        folder / "SWEEP.md", *(folder / f"{stem}.{end}" for end in ("csv", "json", "png", "svg"))
    )
    drawing = draw_sweep(results)
    write_atomic(written.png, drawing.png)
    write_atomic(written.svg, drawing.svg)
    write_atomic(written.csv, sweep_csv(results).encode())
    write_atomic(written.json, sweep_json(results).encode())
    write_atomic(written.markdown, sweep_markdown(results, written.png.name).encode())
    return written


def draw_sweep(results: SweepResults) -> Drawing:
    """The figure: a panel per measure, a line per row.

    Args:
        results: what was measured; values without a cell leave a gap in their line.
    """
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
    found = ((value, results.cells[panel.name, row, value]) for value in results.spec.axis.values)
    return tuple(Point(x, c.mean, c.low, c.high) for x, c in found if c.mean is not None)


def sweep_csv(results: SweepResults) -> str:
    """One line per panel, row and value; accuracies and shares in [0, 1]."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["panel", "row", results.spec.axis.setting, *CELL_NUMBERS])
    for (panel, row, value), cell in results.cells.items():
        writer.writerow([panel, row, f"{value:g}", *_numbers(cell).values()])
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
        "runs": sorted(record.key.hash for record in results.records),
        "missing": list(results.missing),
    }
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _placed(place: Place) -> dict[str, str | float]:
    return dict(zip(("panel", "row", "value"), place, strict=True))


def _numbers(measured: Cell | Comparison) -> dict[str, float | int | str | None]:
    names = CELL_NUMBERS if isinstance(measured, Cell) else COMPARISON_NUMBERS
    return {name: getattr(measured, name) for name in names}


def sweep_markdown(results: SweepResults, picture: str) -> str:
    """The text of SWEEP.md.

    Args:
        results: what was measured.
        picture: name of the figure's file beside it.
    """
    spec = results.spec
    runs = sorted(results.records, key=lambda r: (r.key.name, r.key.hash))
    lines = [
        "<!-- Generated by compact-bench from run records: do not edit. -->",
        "",
        f"# Sweep: {spec.title}",
        "",
        "This file is generated from run records; do not edit it. It is made by",
        "",
        "```",
        results.command,
        "```",
        "",
        f"- Suite: {results.suite.title}",
        f"- Profile: {results.profile}",
        f"- Student: {results.student}",
        f"- Seeds: {', '.join(map(str, spec.seeds))}",
        f"- Varied: {spec.axis.title} (`{spec.axis.setting}`)",
        f"- Runs: {_states(runs)}",
        "",
        f"![{spec.title}]({picture})",
        "",
        "## What the data support",
        "",
        *_words(results),
    ]
    for panel in spec.panels:
        lines += ["", f"## {panel.title}", "", *_panel_markdown(results, panel)]
    if results.missing:
        lines += ["", "## Missing", "", *_missing_markdown(results.missing)]
    if runs:
        lines += ["", "## Provenance", "", *provenance_markdown(runs)]
    return "\n".join(lines).rstrip() + "\n"


def _states(runs: Sequence[RunRecord]) -> str:
    counts = {status: sum(run.status == status for run in runs) for status in get_args(RunStatus)}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "none"


def _missing_markdown(missing: Sequence[str]) -> list[str]:
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
    tested = sum(c.p_value is not None for c in compared)
    if tested:
        lines.append(
            f"- A difference of accuracies is shown where its 95 % interval leaves out 0 and a paired "
            f"permutation test over items agrees after Holm's correction over all {tested} of this sweep. Of "
            "other measures the interval alone decides. Intervals resample seeds and items."
        )
    notes = [few_seeds_note([c.seeds for c in compared]), escaped(spec.note)]
    return lines + [f"- {note}" for note in notes if note]


def _sentence(results: SweepResults, panel: PanelSpec, row: SweepRow) -> str:
    """Where the reference row is above or below another one, and where no difference is shown."""
    spec, percent = results.spec, panel.name in results.percent
    places: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
    for value in spec.axis.values:
        found = results.comparisons[panel.name, row.name, value]
        effect = f" ({_text(found.effect or 0.0, found, percent, '+', ' pp')})" if found.shown else ""
        places[found.verdict].append(f"{value:g}{effect}")
    parts = [f"{verdict} at {', '.join(listed)}" for verdict, listed in places.items() if listed]
    pair = f"{_reference_title(spec)} against {row.title}, by {spec.axis.setting}"
    return f"{panel.title}, {pair}: {'; '.join(parts)}."


def _reference_title(spec: SweepSpec) -> str:
    return next(row.title for row in spec.rows if row.name == spec.reference)


def _panel_markdown(results: SweepResults, panel: PanelSpec) -> list[str]:
    spec, percent = results.spec, panel.name in results.percent
    head = [spec.axis.setting, *(f"{value:g}" for value in spec.axis.values)]
    places = {row.title: [(panel.name, row.name, value) for value in spec.axis.values] for row in spec.rows}
    rows = [[title, *(_cell_text(results.cells[p], percent) for p in own)] for title, own in places.items()]
    lines = [panel.note, ""] if panel.note else []
    lines += [*grid(head, rows), "", _legend(results, panel)]
    rows = [
        [title, *(_difference_text(results.comparisons[place], percent) for place in own)]
        for title, own in places.items()
        if own[0] in results.comparisons
    ]
    if rows:
        unit = ", pp" if percent else ""
        title = f"{_reference_title(spec)} minus the row{unit}; * where a difference is shown:"
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


def _difference_text(found: Comparison, percent: bool) -> str:
    if found.effect is None:
        return found.reason
    return _text(found.effect, found, percent, sign="+") + (" *" if found.shown else "")


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
