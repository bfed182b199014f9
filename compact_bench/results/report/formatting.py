"""Numbers as a reader sees them; accuracies become percent here and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence

from compact_bench.core.records import Cell
from compact_bench.results.tables.build import Column, Row, Table

SHORT_REASON = 20
COUNTED = ("steps", "tokens", "seconds")


def number_text(value: float, unit: str) -> str:
    """One number: percent with one decimal, nats with four, ratios with three digits, shares three decimals.

    A change has its sign and, as papers state them, two decimals. `value` is in inner units: an accuracy in
    [0, 1].
    """
    if unit in ("accuracy", "percent"):
        return f"{value * 100:.1f}"
    if unit == "change":
        # -0.0 would print as "-0.0".
        return f"{value * 100 + 0.0:+.2f}"
    if unit == "ratio":
        return f"{value:.3g}"
    if unit == "nats":
        return f"{value:.4f}"
    if unit == "share":
        return f"{value:.3f}"
    if unit in ("steps", "tokens"):
        return f"{value:,.0f}"
    return f"{value:,.1f}" if unit == "seconds" else f"{value:.4g}"


class Reasons:
    """Numbered reasons of empty cells: a long one stands below the table, a short one in the cell."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def short(self, reason: str) -> str:
        """What the cell says."""
        if len(reason) <= SHORT_REASON:
            return reason
        number = self._numbers.setdefault(reason, len(self._numbers) + 1)
        return f"{reason.partition(':')[0][:SHORT_REASON].strip()} ({number})"

    @property
    def listing(self) -> list[str]:
        """The long reasons, "(1) failed: ...", in the order of their numbers."""
        return [f"({number}) {reason}" for reason, number in self._numbers.items()]


def column_items(table: Table, column: Column) -> int | None:
    """How many items every cell of a column is over, or None where that differs or there are none."""
    counts = {table.cells[row.name, column.name].items for row in table.rows if row.kind == "runs"}
    counts.discard(0)
    return counts.pop() if len(counts) == 1 else None


def shown_rows(table: Table, columns: Sequence[Column]) -> list[Row]:
    """The rows that have something to say in these columns.

    A row of runs is always shown, as an empty cell of it has a reason; chance, majority and a paper's row
    where one of their cells is filled, and a paper's row only in the groups that it names.
    """
    groups = {column.group for column in columns}
    return [
        row
        for row in table.rows
        if (not row.groups or groups & set(row.groups))
        and (row.kind == "runs" or any(table.cells[row.name, c.name].mean is not None for c in columns))
    ]


def row_seeds(table: Table, row: str, columns: Sequence[Column]) -> int | None:
    """How many seeds a row's cells of these columns are over; None where that differs or there are none."""
    counts = {table.cells[row, column.name].seeds for column in columns}
    counts.discard(0)
    return counts.pop() if len(counts) == 1 else None


def interval_text(cell: Cell, unit: str) -> str:
    """The 95 % interval, "[8.0, 16.3]"; "" where there is none, as for what is counted."""
    if cell.low is None or cell.high is None or unit in COUNTED:
        return ""
    return f"[{number_text(cell.low, unit)}, {number_text(cell.high, unit)}]"


def differing_counts(cell: Cell, unit: str, *, items: int | None, seeds: int | None) -> str:
    """How many items and seeds a cell is over, where the column's head or its row says otherwise; else ""."""
    differs = []
    if cell.items and cell.items != items and unit not in COUNTED:
        differs.append(f"n = {cell.items}")
    if cell.seeds and cell.seeds != seeds:
        differs.append(f"{cell.seeds} seed{'s' if cell.seeds > 1 else ''}")
    return f"({', '.join(differs)})" if differs else ""


def cell_text(cell: Cell, unit: str, reasons: Reasons, *, items: int | None, seeds: int | None) -> str:
    """A cell: "12.0 ± 1.1 [8.0, 16.3]" (mean, standard deviation over seeds, interval), or why it is empty.

    Args:
        unit: of the cell's column.
        reasons: collects long reasons.
        items, seeds: what the column's head and the row say; what differs is added in the cell.
    """
    if cell.mean is None:
        return reasons.short(cell.reason)
    sd = ""
    if cell.seed_sd is not None:
        sd = f"± {number_text(cell.seed_sd, 'accuracy' if unit == 'change' else unit)}"
    counts = differing_counts(cell, unit, items=items, seeds=seeds)
    parts = (number_text(cell.mean, unit), sd, interval_text(cell, unit), counts)
    return " ".join(part for part in parts if part)
