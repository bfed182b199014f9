"""RESULTS.md, RESULTS.csv and RESULTS.tex: everything a reader needs, from run records and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compact_bench.core.files import write_atomic
from compact_bench.core.provenance import flat
from compact_bench.core.records import RunRecord, value_at
from compact_bench.results.report.csv_file import tables_csv
from compact_bench.results.report.latex import tables_latex
from compact_bench.results.report.markdown import (
    comparisons_markdown,
    escaped,
    folded,
    grid,
    is_long,
    table_markdown,
)
from compact_bench.results.report.sections.figures import (
    DrawnFigure,
    draw_figures,
    figures_markdown,
    write_figures,
)
from compact_bench.results.report.sections.findings import findings_markdown
from compact_bench.results.report.sections.provenance import provenance_markdown
from compact_bench.results.report.sections.teachers import teachers_markdown
from compact_bench.results.report.sections.truth import truth_markdown
from compact_bench.results.report.sections.tuning import tuning_markdown
from compact_bench.results.tables.build import Table
from compact_bench.results.tuning import Tuning

EXCLUDED_SHOWN = 30
LISTED_SHOWN = 6
RUNS_SHOWN = 60


@dataclass(frozen=True)
class ReportFacts:
    """What the report says beside the records.

    Attributes:
        command: the exact command that makes these results.
        suite_title: the suite's title.
        profile_note: what the suite says of the profile's scale.
        card: the suite's own facts and warnings, as prose or Markdown.
        student: how the student is named in full; "" takes the records' name.
        teachers: name -> title.
        tuning: how learning rates were chosen; None where every row has the suite's own.
        figures: folder of the pictures, relative to the files'; "" for the same.
    """

    command: str
    suite_title: str = ""
    profile_note: str = ""
    card: str = ""
    student: str = ""
    teachers: Mapping[str, str] | None = None
    tuning: Tuning | None = None
    figures: str = ""


@dataclass(frozen=True)
class WrittenResults:
    """The files that were written."""

    markdown: Path
    csv: Path
    latex: Path


def write_results(
    tables: Sequence[Table], records: Sequence[RunRecord], folder: Path, facts: ReportFacts
) -> WrittenResults:
    """Write RESULTS.md, RESULTS.csv and RESULTS.tex; the same records give the same bytes.

    Figures that the records have something for are drawn beside them.

    Args:
        tables: what to show.
        records: the runs behind them.
        folder: where the files go.
        facts: what the report says beside the records.

    Raises:
        StoreError: a file cannot be written.
    """
    written = WrittenResults(folder / "RESULTS.md", folder / "RESULTS.csv", folder / "RESULTS.tex")
    figures = draw_figures(records, _titles(tables))
    write_atomic(written.markdown, _rendered(tables, records, facts, figures).encode())
    write_atomic(written.csv, tables_csv(tables).encode())
    write_atomic(written.latex, tables_latex(tables).encode())
    write_figures(figures, folder / facts.figures)
    return written


def render_results(tables: Sequence[Table], records: Sequence[RunRecord], facts: ReportFacts) -> str:
    """The text of RESULTS.md.

    Args:
        tables, records, facts: as in `write_results`.
    """
    return _rendered(tables, records, facts, draw_figures(records, _titles(tables)))


def _rendered(
    tables: Sequence[Table],
    records: Sequence[RunRecord],
    facts: ReportFacts,
    figures: Sequence[DrawnFigure],
) -> str:
    runs = sorted(records, key=lambda r: (r.key.name, r.key.hash))
    lines = _head(tables, runs, facts)
    for table in tables:
        if found := findings_markdown(table):
            name = f" (table {table.number})" if len(tables) > 1 else ""
            lines += ["", f"## What the data support{name}", "", *found]
    for table in tables:
        lines += ["", *table_markdown(table)]
        if table.comparisons:
            lines += ["", "### Comparisons", "", *_compared(table)]
    truth = truth_markdown(tables, runs, _titles(tables)) + figures_markdown(figures, "truth", facts.figures)
    for title, section in (
        ("Do the weights go to the rationales that are right?", truth),
        ("Figures", figures_markdown(figures, "", facts.figures)[1:]),
        ("Tuning", tuning_markdown(facts.tuning) if facts.tuning else []),
        ("About the suite", facts.card.strip().splitlines()),
        ("Teacher weights", _teacher_weights(runs)),
        ("Questions left out", _excluded(runs)),
        ("Teachers as measured", _teachers_as_measured(runs)),
        ("Data", _data_notes(runs)),
        ("Runs", _runs(runs)),
        ("Provenance", provenance_markdown(runs)),
    ):
        if section:
            lines += ["", f"## {title}", "", *section]
    return "\n".join(lines).rstrip() + "\n"


def _titles(tables: Sequence[Table]) -> dict[str, str]:
    """Row name -> title; a row of several tables has its title in the first."""
    return {row.name: row.title for table in reversed(tables) for row in table.rows}


def _compared(table: Table) -> list[str]:
    return comparisons_markdown(table.comparisons, fold=is_long(table))


def _head(tables: Sequence[Table], runs: Sequence[RunRecord], facts: ReportFacts) -> list[str]:
    suite = facts.suite_title or ", ".join(dict.fromkeys(table.suite for table in tables))
    profiles = ", ".join(dict.fromkeys(table.profile for table in tables if table.profile))
    students = facts.student or ", ".join(sorted({r.key.student for r in runs}))
    seeds = ", ".join(str(seed) for seed in sorted({r.key.seed for r in runs}))
    counts = {s: sum(r.status == s for r in runs) for s in ("done", "failed", "unsupported")}
    states = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "none"
    lines = [
        "<!-- Generated by compact-bench from run records: do not edit. -->",
        "",
        f"# Results: {suite}",
        "",
        "This file is generated from run records; do not edit it. It is made by",
        "",
        "```",
        facts.command,
        "```",
        "",
        f"- Profile: {profiles or 'unknown'}{f' ({facts.profile_note})' if facts.profile_note else ''}",
        f"- Student: {students or 'unknown'}",
        f"- Seeds: {seeds or 'none'}",
        f"- Runs: {states}",
    ]
    if facts.teachers:
        named = [f"{name} ({title})" if title else name for name, title in facts.teachers.items()]
        lines.append(f"- Teachers: {', '.join(named)}")
    if facts.tuning:
        lines.append("- Learning rate: chosen for every row on the validation split, see [Tuning](#tuning)")
    if facts.card.strip():
        lines += ["", "What to know before believing these numbers: [About the suite](#about-the-suite)."]
    return lines


def _by_label(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        if run.status == "done":
            found.setdefault(run.key.label, []).append(run)
    return found


def _teacher_weights(runs: Sequence[RunRecord]) -> list[str]:
    weights: dict[str, list[Mapping[str, Any]]] = {}
    for label, same in _by_label(runs).items():
        found = [value_at(run, "training.extra.mean_teacher_weights") for run in same]
        kept = [value for value in found if isinstance(value, Mapping) and len(value) > 1]
        if kept:
            weights[label] = kept
    teachers = sorted({name for found in weights.values() for value in found for name in value})
    if not teachers:
        return []
    rows = [
        [label, str(len(found)), *(_mean_sd(found, t) for t in teachers)] for label, found in weights.items()
    ]
    text = "Mean teacher weight over all training steps: mean ± standard deviation over seeds."
    return [text, "", *grid(["Run", "Seeds", *teachers], rows)]


def _mean_sd(found: Sequence[Mapping[str, Any]], teacher: str) -> str:
    values = [float(value[teacher]) for value in found if isinstance(value.get(teacher), int | float)]
    if not values:
        return "none"
    sd = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{sd}"


def _excluded(runs: Sequence[RunRecord]) -> list[str]:
    found = {
        (str(entry.get("question_id")), str(entry.get("problem", "")))
        for run in runs
        for entry in run.training.get("excluded", ())
        if isinstance(entry, Mapping)
    }
    if not found:
        return ["None."] if runs else []
    entries = sorted(found)
    count = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    lines = [f"{count}; no method was trained on these questions.", ""]
    lines += [
        f"- {escaped(problem)}" if name == "None" else f"- {escaped(name)}: {escaped(problem)}"
        for name, problem in entries[:EXCLUDED_SHOWN]
    ]
    rest = len(entries) - EXCLUDED_SHOWN
    return [*lines, f"- and {rest} more, listed in the run records"] if rest > 0 else lines


def _teachers_as_measured(runs: Sequence[RunRecord]) -> list[str]:
    facts = _suite_notes(runs).get("teacher_facts")
    return teachers_markdown(facts) if isinstance(facts, Mapping) else []


def _data_notes(runs: Sequence[RunRecord]) -> list[str]:
    return [
        f"- {escaped(name)}: {escaped(text)}"
        for name, text in flat(_summarised(_suite_notes(runs))).items()
        if not {"chance", "majority", "teacher_facts"} & set(name.split("."))
    ]


def _suite_notes(runs: Sequence[RunRecord]) -> Mapping[str, Any]:
    """What the first run that has any notes of the suite's data says."""
    for run in runs:
        for path in ("probes.suite_notes", "provenance.suite_notes"):
            notes = value_at(run, path)
            if isinstance(notes, Mapping) and notes:
                return notes
    return {}


def _summarised(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Notes whose long lists (ids) are only counted."""
    found: dict[str, Any] = {}
    for name, value in notes.items():
        if isinstance(value, Mapping):
            found[name] = _summarised(value)
        elif isinstance(value, list | tuple):
            short = len(value) <= LISTED_SHOWN
            found[name] = ", ".join(str(x) for x in value) if short else f"{len(value)} entries"
        else:
            found[name] = value
    return found


def _runs(runs: Sequence[RunRecord]) -> list[str]:
    head = ["Run", "Hash", "Status", "Optimiser steps", "Final loss", "Seconds", "Weights"]
    rows = []
    for run in runs:
        loss = run.training.get("final_loss")
        seconds = run.training.get("seconds")
        weights = str(run.weights.get("final", ""))
        base = " (the base's)" if weights and weights == run.weights.get("base") else ""
        rows.append(
            [
                run.key.name,
                run.key.hash,
                run.status if run.status == "done" else f"{run.status}: {run.reason}",
                str(run.training.get("optimiser_steps", "")),
                f"{loss:.4f}" if isinstance(loss, int | float) else "",
                f"{seconds:.1f}" if isinstance(seconds, int | float) else "",
                f"{weights[:12]}{base}",
            ]
        )
    if len(rows) > RUNS_SHOWN:
        return folded(f"{len(rows)} runs", grid(head, rows))
    return grid(head, rows) if rows else []
