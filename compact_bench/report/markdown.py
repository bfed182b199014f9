"""A table as Markdown: one table per column group, so that none is too wide to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compact_bench.comparisons import Comparison
from compact_bench.report.formatting import Reasons, cell_text, column_items, row_seeds
from compact_bench.stats import ALPHA, POWER
from compact_bench.tables import Column, Table

__all__ = ["comparisons_markdown", "escaped", "grid", "table_markdown", "uncompared_sentences"]

COMPARISON_HEAD = (
    "Difference",
    "Effect, pp",
    "Seed SD, pp",
    "p",
    "p (Holm)",
    "Detectable, pp",
    "Seeds x items",
    "First row is",
)

LEGEND = {
    "accuracy": "Percent: mean ± standard deviation over seeds [95 % interval]; n is the number of items.",
    "nats": "Mean ± standard deviation over seeds [95 % interval]; n is the number of items.",
    "steps": "Mean ± standard deviation over seeds.",
}


def escaped(text: str) -> str:
    """Text that may stand in a Markdown table cell."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; the first column is left-aligned, the others right-aligned.

    Args:
        head: column titles.
        rows: cells as text; they are escaped here.
    """
    lines = ["| " + " | ".join(escaped(text) for text in head) + " |"]
    lines.append("|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|")
    lines += ["| " + " | ".join(escaped(text) for text in row) + " |" for row in rows]
    return lines


def table_markdown(table: Table, level: int = 2) -> list[str]:
    """Heading, notes, a summary and one table per column group.

    Args:
        table: what to show.
        level: heading level.
    """
    mark = "#" * level
    lines = [f"{mark} Table {table.number}. {table.title}", "", table.numbering, ""]
    lines += [f"- {note}" for note in table.notes]
    summary = _summary_columns(table)
    if summary:
        lines += ["", f"{mark}# Summary", "", *_columns_markdown(table, summary)]
    for group in table.groups:
        lines += ["", f"{mark}# {group.title}", ""]
        if group.note:
            lines += [group.note, ""]
        lines += _columns_markdown(table, table.columns_of(group.name))
    return lines


def _summary_columns(table: Table) -> list[Column]:
    means = [column for column in table.columns if column.is_mean]
    first = [table.columns_of(g.name)[0] for g in table.groups if g.kind == "measures" and g.name == "drift"]
    return means + first if means else []


def _columns_markdown(table: Table, columns: Sequence[Column]) -> list[str]:
    reasons = Reasons()
    items = {column.name: column_items(table, column) for column in columns}
    head = ["Row", "Seeds"]
    for column in columns:
        count = items[column.name] if column.unit not in ("steps", "tokens", "seconds") else None
        head.append(f"{column.title} (n = {count})" if count else column.title)
    rows = []
    for row in table.rows:
        cells = [(column, table.cells[row.name, column.name]) for column in columns]
        # Chance and the like say nothing about columns that no cell of theirs fills.
        if row.kind == "level" and all(cell.mean is None for _, cell in cells):
            continue
        seeds = row_seeds(table, row.name, columns)
        texts = [
            cell_text(cell, column.unit, reasons, items=items[column.name], seeds=seeds)
            for column, cell in cells
        ]
        rows.append([row.title, str(seeds) if seeds else "", *texts])
    lines = grid(head, rows)
    lines += ["", LEGEND.get(columns[0].unit, LEGEND["nats"])]
    for text in reasons.listing:
        lines += ["", escaped(text)]
    return lines


def comparisons_markdown(comparisons: Sequence[Comparison]) -> list[str]:
    """What the numbers of a table's comparisons mean, and one table per group.

    Args:
        comparisons: of one table.
    """
    lines = [escaped(text) for text in uncompared_sentences(comparisons)]
    measured = [c for c in comparisons if c.effect is not None]
    if not measured:
        return [line for text in lines for line in (text, "")][:-1]
    family, level = measured[0].family, f"{ALPHA * 100:.0f} %"
    lines += [
        "Effect is the first row minus the second, with its 95 % interval. p is of a paired permutation test "
        "over items on differences averaged over seeds; Holm's correction is over all comparisons of the "
        f"table ({family}). Detectable is the smallest true difference that this test finds with "
        f"{POWER * 100:.0f} % power at a two-sided {level}, and in brackets at the strictest step of the "
        f"correction ({level} / {family}): from the standard error over items, which are drawn within their "
        "benchmark, by the normal approximation.",
        "p and the detectable difference are conditional on the seeds that were run; the interval resamples "
        "them too. How much they differ stands apart: seed SD is the standard deviation, over seeds, of the "
        "paired difference.",
    ]
    lines = [line for text in lines for line in (text, "")]
    for group in dict.fromkeys(c.group for c in measured):
        rows = [_comparison_cells(c) for c in measured if c.group == group]
        lines += [f"#### {escaped(group)}", "", *grid(COMPARISON_HEAD, rows), ""]
    return lines[:-1]


def uncompared_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """Why pairs were not compared: once for a pair that has the same reason in every group.

    Args:
        comparisons: of one table; those that have numbers are passed over.
    """
    found: dict[str, list[Comparison]] = {}
    for c in comparisons:
        if c.effect is None:
            text = f"{c.row_title} and {c.against_title} are not compared ({c.reason})."
            found.setdefault(text, []).append(c)
    groups = {c.group for c in comparisons}
    return [
        text if {c.group for c in same} == groups else f"{', '.join(c.group for c in same)}: {text}"
        for text, same in found.items()
    ]


def _comparison_cells(c: Comparison) -> list[str]:
    interval = "" if c.low is None or c.high is None else f" [{_pp(c.low)}, {_pp(c.high)}]"
    return [
        f"{c.row_title} minus {c.against_title}",
        _pp(c.effect) + interval,
        _pp(c.seed_sd, sign=""),
        "none" if c.p_value is None else f"{c.p_value:.4f}",
        "none" if c.p_holm is None else f"{c.p_holm:.4f}",
        f"{_pp(c.detectable, sign='')} ({_pp(c.detectable_holm, sign='')})",
        f"{c.seeds} x {c.items:,}",
        c.verdict,
    ]


def _pp(value: float | None, sign: str = "+") -> str:
    return "none" if value is None else f"{value * 100 + 0.0:{sign}.2f}"
