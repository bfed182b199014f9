"""A table as Markdown: one table per column group, so that none is too wide to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compact_bench.comparisons import Comparison
from compact_bench.report.formatting import Reasons, cell_text, column_items, row_seeds
from compact_bench.tables import Column, Table

__all__ = ["comparisons_markdown", "escaped", "grid", "table_markdown"]

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
    """Comparisons in words, then their numbers.

    Args:
        comparisons: of one table.
    """
    lines = [f"- {escaped(c.sentence)}" for c in comparisons]
    measured = [c for c in comparisons if c.effect is not None]
    if not measured:
        return lines
    head = ["Against", "Group", "Effect, pp", "95 % interval, pp", "p", "p (Holm)", "Seeds", "Items"]
    rows = [
        [
            c.title,
            c.group,
            _pp(c.effect),
            "none" if c.low is None else f"{_pp(c.low)} to {_pp(c.high)}",
            "none" if c.p_value is None else f"{c.p_value:.4f}",
            "none" if c.p_holm is None else f"{c.p_holm:.4f}",
            str(c.seeds),
            str(c.items),
        ]
        for c in measured
    ]
    text = (
        f"Effect is {measured[0].reference_title} minus the other row. p is of a paired permutation test "
        "over items on differences averaged over seeds; Holm's correction is over all comparisons of the "
        "table."
    )
    return [*lines, "", escaped(text), "", *grid(head, rows)]


def _pp(value: float | None) -> str:
    return "none" if value is None else f"{value * 100 + 0.0:+.2f}"
