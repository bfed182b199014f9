"""What a sweep measured: a table at every value, and comparisons with one correction over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from compact_bench.core.records import Cell, RunKey, RunRecord
from compact_bench.data.suites import SuiteSpec
from compact_bench.results.sweeps.spec import PanelSpec, SweepSpec
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.cells import empty_cell
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.families import corrected
from compact_bench.results.tables.measuring import compare_measure
from compact_bench.results.tables.spec import MeasureSpec

Place = tuple[str, str, float]
"""Panel, row and value of the axis."""


@dataclass(frozen=True)
class SweepResults:
    """All that a sweep's files are made of.

    Attributes:
        spec: its definition, with the values and rows that were requested.
        command: the command that makes these results.
        cells: the tables' cells; of a panel that shows 1 minus a column, that.
        comparisons: the reference row minus the place's, corrected over all tests of the sweep.
        percent: names of the panels whose values are accuracies or shares, shown as percent.
        missing: sentences that name what was not run, or failed.
    """

    spec: SweepSpec
    suite: SuiteSpec
    profile: str
    student: str
    command: str
    cells: Mapping[Place, Cell]
    comparisons: Mapping[Place, Comparison]
    percent: frozenset[str]
    records: tuple[RunRecord, ...]
    missing: tuple[str, ...]


def measure_sweep(
    spec: SweepSpec,
    records: Mapping[float, Sequence[RunRecord]],
    planned: Mapping[float, Sequence[RunKey]],
    *,
    suite: SuiteSpec,
    profile: str,
    student: str,
    command: str,
) -> SweepResults:
    """Everything that the records of a sweep say.

    Args:
        records: value -> records of its runs, as far as there are any.
        planned: value -> keys of all its runs.
    """
    definition, measures = spec.as_table(), spec.measures
    tables = {
        value: build_table(definition, records[value], suite, profile=profile) for value in spec.axis.values
    }
    cells: dict[Place, Cell] = {}
    comparisons: dict[Place, Comparison] = {}
    for panel in spec.panels:
        for row in spec.rows:
            for value, table in tables.items():
                place = panel.name, row.name, value
                cells[place] = _cell(table, panel, row.label)
                if definition.reference and row.name != spec.reference:
                    comparison = _compared(table, panel, row.label, measures)
                    # The correction counts comparisons of one group and pair once: here, at every value.
                    comparisons[place] = replace(comparison, group=f"{panel.name}, {value:g}")
    return SweepResults(
        spec,
        suite,
        profile,
        student,
        command,
        cells,
        dict(zip(comparisons, corrected(list(comparisons.values()), "Benjamini-Hochberg"), strict=True)),
        frozenset(p.name for p in spec.panels if not p.measure or measures[p.measure].unit == "share"),
        tuple(record for value in spec.axis.values for record in records[value]),
        tuple(_missing(spec, records, planned)),
    )


def _cell(table: Table, panel: PanelSpec, row: str) -> Cell:
    cell = table.cells.get((row, panel.column)) or empty_cell(row, panel.column, "not measured")
    if not panel.one_minus or cell.mean is None:
        return cell
    low, high = (None if bound is None else 1.0 - bound for bound in (cell.high, cell.low))
    return replace(cell, mean=1.0 - cell.mean, low=low, high=high)


def _compared(table: Table, panel: PanelSpec, row: str, measures: Mapping[str, MeasureSpec]) -> Comparison:
    """The table's reference row minus another; with its sign turned where 1 minus the value is shown."""
    if panel.measure:
        rows = {one.row.name: one for one in table.filled}
        comparison = compare_measure(rows[table.reference], rows[row], measures[panel.measure])
    else:
        same = (c for c in table.comparisons if (c.against, c.group) == (row, panel.group))
        empty = Comparison(table.reference, row, "", "", "", reason="no benchmarks of this group")
        comparison = next(same, empty)
    if not panel.one_minus or comparison.effect is None:
        return comparison
    turned = comparison.contrast and comparison.contrast.turned()
    return replace(comparison, effect=-comparison.effect, contrast=turned)


def _missing(
    spec: SweepSpec, records: Mapping[float, Sequence[RunRecord]], planned: Mapping[float, Sequence[RunKey]]
) -> list[str]:
    missing = []
    for value in spec.axis.values:
        known = {record.key.name: record for record in records[value]}
        for key in planned[value]:
            record = known.get(key.name)
            if record is None or record.status != "done":
                why = "not run" if record is None else f"{record.status}: {record.reason}"
                missing.append(f"{spec.axis.setting} {value:g}, {key.label}, seed {key.seed}: {why}")
    return missing
