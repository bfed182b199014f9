"""The files of a sweep: picture, table, data and words, from run records and nothing else."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from compact_bench.core.files import key_hash, run_name, write_atomic
from compact_bench.core.records import Cell, RunRecord, RunStatus
from compact_bench.results.figures import Drawing, Line, Panel, Point, draw
from compact_bench.results.report.markdown import escaped, grid
from compact_bench.results.report.sections.provenance import provenance_markdown
from compact_bench.results.sweeps.results import Contrast, SweepResults
from compact_bench.results.sweeps.spec import PanelSpec
from compact_bench.results.tables.comparisons import few_seeds_note

__all__ = ["WrittenSweep", "draw_sweep", "sweep_csv", "sweep_json", "sweep_markdown", "write_sweep"]

MISSING_SHOWN = 20


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
            percent=True,
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
    setting = results.spec.axis.setting
    writer.writerow(["panel", "row", setting, "mean", "low", "high", "seed_sd", "seeds", "items", "reason"])
    for panel in results.spec.panels:
        for row in results.spec.rows:
            for value in results.spec.axis.values:
                c = results.cells[panel.name, row.name, value]
                numbers = ["" if x is None else repr(x) for x in (c.mean, c.low, c.high, c.seed_sd)]
                writer.writerow([panel.name, row.name, f"{value:g}", *numbers, c.seeds, c.items, c.reason])
    return stream.getvalue()


def sweep_json(results: SweepResults) -> str:
    """Everything as data: definition, cells, contrasts, runs, what is missing."""
    cells = [
        {"panel": panel, "row": row, "value": value, **_numbers(cell)}
        for (panel, row, value), cell in results.cells.items()
    ]
    data = {
        "definition": results.spec.model_dump(mode="json"),
        "suite": results.suite.name,
        "profile": results.profile,
        "student": results.student,
        "command": results.command,
        "cells": cells,
        "contrasts": [{**asdict(c), "verdict": c.verdict} for c in results.contrasts],
        "runs": sorted(key_hash(record.key) for record in results.records),
        "missing": list(results.missing),
    }
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _numbers(cell: Cell) -> dict[str, float | int | str | None]:
    found = asdict(cell)
    return {name: found[name] for name in ("mean", "low", "high", "seed_sd", "seeds", "items", "reason")}


def sweep_markdown(results: SweepResults, picture: str) -> str:
    """The text of SWEEP.md.

    Args:
        results: what was measured.
        picture: name of the figure's file beside it.
    """
    spec = results.spec
    runs = sorted(results.records, key=lambda r: (run_name(r.key), key_hash(r.key)))
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
    spec = results.spec
    lines = []
    for panel in spec.panels:
        for row in spec.rows:
            found = [c for c in results.contrasts if (c.panel, c.row) == (panel.name, row.name)]
            if found:
                lines.append(f"- {escaped(_sentence(results, panel, row.title, found))}")
    if not lines:
        lines.append("- Nothing is compared: fewer than two rows, or the reference row is not among them.")
    if results.missing:
        lines.append(f"- {len(results.missing)} run(s) are missing; they are listed below.")
    seeds = [c.seeds for c in results.contrasts]
    tested = sum(c.p_value is not None for c in results.contrasts)
    if tested:
        lines.append(
            f"- A difference of accuracies is shown where its 95 % interval leaves out 0 and a paired "
            f"permutation test over items agrees after Holm's correction over all {tested} of this sweep. Of "
            "other measures the interval alone decides. Intervals resample seeds and items."
        )
    few = few_seeds_note(seeds)
    return [*lines, *([f"- {few}"] if few else []), *([f"- {escaped(spec.note)}"] if spec.note else [])]


def _sentence(results: SweepResults, panel: PanelSpec, title: str, found: Sequence[Contrast]) -> str:
    """Where the reference row is above or below another one, and where no difference is shown."""
    spec = results.spec
    reference = next(row.title for row in spec.rows if row.name == spec.reference)
    parts = []
    for verdict in ("above", "below"):
        shown = [c for c in found if c.verdict == verdict]
        if shown:
            listed = ", ".join(f"{c.value:g} ({_effect(c)})" for c in shown)
            parts.append(f"{verdict} at {listed}")
    for verdict in ("no difference shown", "not compared"):
        same = [f"{c.value:g}" for c in found if c.verdict == verdict]
        if same:
            parts.append(f"{verdict} at {', '.join(same)}")
    return f"{panel.title}, {reference} against {title}, by {spec.axis.setting}: {'; '.join(parts)}."


def _effect(contrast: Contrast) -> str:
    effect, low, high = (
        x * 100 + 0.0 for x in (contrast.effect, contrast.low, contrast.high) if x is not None
    )
    return f"{effect:+.1f} pp [{low:+.1f}, {high:+.1f}]"


def _panel_markdown(results: SweepResults, panel: PanelSpec) -> list[str]:
    spec = results.spec
    head = [spec.axis.setting, *(f"{value:g}" for value in spec.axis.values)]
    rows = [
        [row.title, *(_cell_text(results.cells[panel.name, row.name, v]) for v in spec.axis.values)]
        for row in spec.rows
    ]
    lines = [panel.note, ""] if panel.note else []
    lines += [*grid(head, rows), "", _legend(results, panel)]
    contrasts = {(c.row, c.value): c for c in results.contrasts if c.panel == panel.name}
    others = [row for row in spec.rows if (row.name, spec.axis.values[0]) in contrasts]
    if others:
        reference = next(row.title for row in spec.rows if row.name == spec.reference)
        rows = [
            [row.title, *(_contrast_text(contrasts[row.name, v]) for v in spec.axis.values)] for row in others
        ]
        lines += ["", f"{reference} minus the row, pp; * where a difference is shown:", "", *grid(head, rows)]
    return lines


def _cell_text(cell: Cell) -> str:
    if cell.mean is None:
        return cell.reason
    interval = (
        "" if cell.low is None or cell.high is None else f" [{cell.low * 100:.1f}, {cell.high * 100:.1f}]"
    )
    return f"{cell.mean * 100:.1f}{interval}"


def _contrast_text(contrast: Contrast) -> str:
    if contrast.effect is None:
        return contrast.reason
    mark = " *" if contrast.verdict in ("above", "below") else ""
    if contrast.low is None or contrast.high is None:
        return f"{contrast.effect * 100 + 0.0:+.1f}"
    return _effect(contrast).replace(" pp", "") + mark


def _legend(results: SweepResults, panel: PanelSpec) -> str:
    """What the cells are over; each number once where all cells agree."""
    cells = [c for (name, _, _), c in results.cells.items() if name == panel.name and c.mean is not None]
    if not cells:
        return "Nothing is measured yet."

    def span(counts: Sequence[int]) -> str:
        low, high = min(counts), max(counts)
        return f"{low:,}" if low == high else f"{low:,} to {high:,}"

    seeds, items = span([c.seeds for c in cells]), span([c.items for c in cells])
    return f"Percent: mean [95 % interval] over {seeds} seed(s) and {items} items."
