"""The runs behind a report, as Markdown: list, failures, teacher weights, questions left out, data notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compact_bench.core.provenance import flat
from compact_bench.core.records import RunRecord, suite_notes, value_at
from compact_bench.results.report.markdown import escaped, grid
from compact_bench.results.report.sections.teachers import teachers_markdown
from compact_bench.results.tables.build import Table

EXCLUDED_SHOWN = 30
LISTED_SHOWN = 6
RUN_HEAD = ("Run", "Hash", "Status", "Optimiser steps", "Final loss", "Seconds", "Weights")


def runs_markdown(runs: Sequence[RunRecord]) -> list[str]:
    """A line per run: outcome with its reason, cost, hash of the final weights."""
    rows = []
    for run in runs:
        loss, seconds = run.training.get("final_loss"), run.training.get("seconds")
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
    return grid(RUN_HEAD, rows) if rows else []


def missing_markdown(tables: Sequence[Table]) -> list[str]:
    """What has no result: rows by their reason, and failed or unsupported runs of rows that have others."""
    rows: dict[str, list[str]] = {}
    runs: list[str] = []
    for row in (row for table in tables for row in table.filled):
        if row.empty_reason:
            rows.setdefault(row.empty_reason, []).append(row.row.title)
            continue
        for run in row.others:
            first = (run.reason.strip().splitlines() or ["no reason given"])[0]
            runs.append(f"{row.row.title}, seed {run.key.seed}: {run.status}: {first}")
    lines = [f"{reason}: {', '.join(dict.fromkeys(titles))}" for reason, titles in rows.items()]
    return [f"- {escaped(text)}" for text in (*lines, *dict.fromkeys(runs))]


def weights_markdown(runs: Sequence[RunRecord]) -> list[str]:
    """Mean weight on each teacher, a line for every row whose runs record several teachers' weights."""
    weights: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        value = value_at(run, "training.extra.mean_teacher_weights")
        if run.status == "done" and isinstance(value, Mapping) and len(value) > 1:
            weights.setdefault(run.key.label, []).append(value)
    teachers = sorted({name for same in weights.values() for value in same for name in value})
    if not teachers:
        return []
    rows = [
        [label, str(len(same)), *(_mean_sd(same, name) for name in teachers)]
        for label, same in weights.items()
    ]
    text = (
        "Mean weight of a teacher's rationales over all training steps that read one: mean ± standard "
        "deviation over seeds. The means of a row need not sum to 1: each is over the steps that read this "
        "teacher (teachers may lack questions, and a method may read one rationale a step), and a method may "
        "give a part of a step's weight to a term that is no teacher's, or weigh whole questions."
    )
    return [text, "", *grid(["Run", "Seeds", *teachers], rows)]


def _mean_sd(runs: Sequence[Mapping[str, Any]], teacher: str) -> str:
    values = [float(run[teacher]) for run in runs if isinstance(run.get(teacher), int | float)]
    if not values:
        return "none"
    sd = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{sd}"


def excluded_markdown(runs: Sequence[RunRecord]) -> list[str]:
    """Training questions that no method was trained on, with the reason of each."""
    entries = sorted(
        {
            (str(entry.get("question_id")), str(entry.get("problem", "")))
            for run in runs
            for entry in run.training.get("excluded", ())
            if isinstance(entry, Mapping)
        }
    )
    if not entries:
        return ["None."] if runs else []
    count = "1 entry" if len(entries) == 1 else f"{len(entries)} entries"
    lines = [f"{count}; no method was trained on these questions.", ""]
    lines += [
        f"- {escaped(problem if name == 'None' else f'{name}: {problem}')}"
        for name, problem in entries[:EXCLUDED_SHOWN]
    ]
    rest = len(entries) - EXCLUDED_SHOWN
    return [*lines, f"- and {rest} more, listed in the run records"] if rest > 0 else lines


def measured_teachers_markdown(runs: Sequence[RunRecord]) -> list[str]:
    """What the suite measured of its teachers; none where it measured nothing."""
    facts = suite_notes(runs).get("teacher_facts")
    return teachers_markdown(facts) if isinstance(facts, Mapping) else []


def data_markdown(runs: Sequence[RunRecord]) -> list[str]:
    """The suite's notes on its data; levels and teachers are shown elsewhere."""
    return [
        f"- {escaped(name)}: {escaped(text)}"
        for name, text in flat(_summarised(suite_notes(runs))).items()
        if not {"chance", "majority", "teacher_facts"} & set(name.split("."))
    ]


def _summarised(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Notes whose long lists (ids) are only counted."""

    def short(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _summarised(value)
        if not isinstance(value, list | tuple):
            return value
        return ", ".join(map(str, value)) if len(value) <= LISTED_SHOWN else f"{len(value)} entries"

    return {name: short(value) for name, value in notes.items()}
