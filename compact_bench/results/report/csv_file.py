"""Tables as one long CSV: a line per cell, full precision, inner units."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from compact_bench.core.written.names import shown
from compact_bench.results.tables.build import Table

FIELDS = (
    "table",
    "row",
    "row_title",
    "column",
    "group",
    "unit",
    "mean",
    "low",
    "high",
    "seed_sd",
    "seeds",
    "items",
    "reason",
)


def csv_field(value: object) -> object:
    """A field that no program takes for a formula, with nothing hidden in it; numbers stay as they are."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text


def tables_csv(tables: Sequence[Table]) -> str:
    """All cells of all tables; an empty number is an empty field, and `reason` says why."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(FIELDS)
    for table in tables:
        for row in table.rows:
            for column in table.columns:
                cell = table.cells[row.name, column.name]
                numbers = (cell.mean, cell.low, cell.high, cell.seed_sd)
                writer.writerow(
                    [
                        *map(csv_field, (table.number, row.name, row.title)),
                        *map(csv_field, (column.name, column.group, column.unit)),
                        # repr keeps every digit.
                        *("" if value is None else repr(float(value)) for value in numbers),
                        cell.seeds,
                        cell.items,
                        csv_field(cell.reason),
                    ]
                )
    return stream.getvalue()
