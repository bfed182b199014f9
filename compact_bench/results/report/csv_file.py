"""Cells and comparisons as CSV: a line each, full precision, inner units."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from compact_bench.core.written.names import shown
from compact_bench.results.statistics.verdicts import RULE
from compact_bench.results.tables.build import Table
from compact_bench.results.tables.comparisons import Comparison

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

COMPARISON_FIELDS = (
    "table",
    "row",
    "against",
    "group",
    "family",
    "verdict",
    "effect",
    "low",
    "high",
    "low_90",
    "high_90",
    "standard_error",
    "df",
    "p",
    "p_corrected",
    "correction",
    "tests_in_family",
    "margin",
    "seed_sd",
    "seeds",
    "items",
    "rule",
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


def comparisons_csv(tables: Sequence[Table]) -> str:
    """All comparisons of all tables with what their verdicts rest on; an empty number is an empty field."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COMPARISON_FIELDS)
    for table in tables:
        for c in table.comparisons:
            writer.writerow(comparison_values(table.number, c))
    return stream.getvalue()


def comparison_values(table: str, c: Comparison) -> list[object]:
    """The values of `COMPARISON_FIELDS` of one comparison."""
    found = c.contrast
    of_contrast = ("low", "high", "low_90", "high_90", "standard_error", "df", "p_value")
    numbers = [getattr(found, name) if found else None for name in of_contrast]
    if found and not found.varies:
        # Where nothing varied there is no interval, and nothing that one could rest on.
        numbers[:-1] = [None] * len(numbers[:-1])
    family = "primary" if c.is_primary else "exploratory"
    return [
        *map(csv_field, (table, c.row, c.against, c.group, family, c.verdict)),
        *("" if value is None else repr(float(value)) for value in (c.effect, *numbers, c.p_corrected)),
        *(c.correction, c.family if c.correction else ""),
        *("" if value is None else repr(float(value)) for value in (c.margin, c.seed_sd)),
        *(c.seeds, c.items, RULE, csv_field(c.reason)),
    ]
