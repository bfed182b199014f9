"""What a sweep measured: a table at every value, its comparisons with their corrections, its statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from compact_bench.core.records import Cell, RunKey, RunRecord
from compact_bench.core.written.values import number_text
from compact_bench.data.suites import SuiteSpec
from compact_bench.results.sweeps.spec import PanelSpec, SweepSpec
from compact_bench.results.sweeps.statements import Statement, judge_statements
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
        comparisons: the reference row minus the place's, each corrected within its family (`family_of`).
        statements: what was stated before any run.
        percent: names of the panels whose values are accuracies or shares, shown as percent.
        own_value: the value at which the world is the suite's own, and so the same in every sweep; or None.
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
    statements: tuple[Statement, ...] = ()
    own_value: float | None = None

    def family_of(self, place: Place) -> tuple[str, bool, bool]:
        """What is corrected together: one panel, rivals or marks, in the suite's own world or another.

        The suite's own world is in several sweeps, and must be judged alike in all of them, whichever are
        asked for together.
        """
        panel, name, value = place
        rival = next((row.rival for row in self.spec.rows if row.name == name), True)
        return panel, rival, value == self.own_value


def measure_sweep(
    spec: SweepSpec,
    records: Mapping[float, Sequence[RunRecord]],
    planned: Mapping[float, Sequence[RunKey]],
    *,
    suite: SuiteSpec,
    profile: str,
    student: str,
    command: str,
    own_value: float | None = None,
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
                    group = f"{panel.title}, {spec.axis.setting} {number_text(value)}"
                    comparisons[place] = replace(comparison, group=group)
    results = SweepResults(
        spec,
        suite,
        profile,
        student,
        command,
        cells,
        comparisons,
        frozenset(p.name for p in spec.panels if not p.measure or measures[p.measure].unit == "share"),
        tuple(record for value in spec.axis.values for record in records[value]),
        tuple(_missing(spec, records, planned)),
        judge_statements(spec, tables),
        own_value,
    )
    return replace(results, comparisons=_by_families(results))


def _by_families(results: SweepResults) -> dict[Place, Comparison]:
    """The comparisons with their families' corrections, in the same order."""
    families: dict[tuple[str, bool, bool], list[Place]] = {}
    for place in results.comparisons:
        families.setdefault(results.family_of(place), []).append(place)
    found: dict[Place, Comparison] = {}
    for places in families.values():
        pairs = corrected([results.comparisons[place] for place in places], "Benjamini-Hochberg")
        found |= dict(zip(places, pairs, strict=True))
    return {place: found[place] for place in results.comparisons}


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
                missing.append(
                    f"{spec.axis.setting} {number_text(value)}, {key.label}, seed {key.seed}: {why}"
                )
    return missing
