"""What a sweep measured: a cell per value, row and panel, and the reference row against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compact_bench.core.records import Cell, RunKey, RunRecord, number_at, value_at
from compact_bench.data.suites import SuiteSpec
from compact_bench.results.stats import ALPHA, Sample, estimate, holm
from compact_bench.results.sweeps.spec import PanelSpec, SweepSpec
from compact_bench.results.tables.cells import Benchmarks, cell_of, empty_cell, group_sample
from compact_bench.results.tables.comparisons import compare
from compact_bench.results.tables.rows import RowRuns, fill_rows


@dataclass(frozen=True)
class Contrast:
    """The reference row minus another row, in one panel at one value.

    Attributes:
        panel, row: names; the row is the other one.
        value: of the axis.
        effect, low, high: the paired difference and its 95 % interval; None where there is none.
        p_value: of the permutation test over items; None for a measure, which is judged by its interval.
        p_holm: the same, Holm-corrected over all tests of the sweep.
        seeds, items: how many pairs.
        reason: why there is no difference to show, or "".
    """

    panel: str
    row: str
    value: float
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    seeds: int = 0
    items: int = 0
    reason: str = ""

    @property
    def verdict(self) -> str:
        """ "above", "below", "no difference shown" or "not compared"."""
        if self.effect is None or self.low is None or self.high is None:
            return "not compared"
        confirmed = self.p_holm is None or self.p_holm < ALPHA
        if self.low <= 0.0 <= self.high or not confirmed:
            return "no difference shown"
        return "above" if self.effect > 0 else "below"


@dataclass(frozen=True)
class SweepResults:
    """All that a sweep's files are made of.

    Attributes:
        spec: its definition, with the values and rows that were asked for.
        suite, profile, student: what it is of.
        command: the command that makes these results.
        cells: (panel, row name, value) -> cell.
        contrasts: in the order of panels, rows and values.
        records: of all runs.
        missing: sentences that name what was not run, or failed.
    """

    spec: SweepSpec
    suite: SuiteSpec
    profile: str
    student: str
    command: str
    cells: Mapping[tuple[str, str, float], Cell]
    contrasts: tuple[Contrast, ...]
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
        spec: the definition.
        records: value -> records of its runs, as far as there are any.
        planned: value -> keys of all its runs.
        suite, profile, student, command: see `SweepResults`.
    """
    names = [row.name for row in spec.rows]
    cells: dict[tuple[str, str, float], Cell] = {}
    contrasts: list[Contrast] = []
    for value in spec.axis.values:
        filled = fill_rows(spec.as_table(), records[value], (), profile)
        rows = dict(zip(names, filled, strict=True))
        for panel in spec.panels:
            measured = _Panel.of(panel, suite, list(rows.values()))
            for name, row in rows.items():
                cells[panel.name, name, value] = measured.cell(name, row)
            if spec.reference in rows:
                others = [name for name in names if name != spec.reference]
                contrasts += [
                    measured.contrast(value, name, rows[spec.reference], rows[name]) for name in others
                ]
    order = {panel.name: n for n, panel in enumerate(spec.panels)}
    contrasts.sort(key=lambda c: (order[c.panel], names.index(c.row), c.value))
    return SweepResults(
        spec,
        suite,
        profile,
        student,
        command,
        cells,
        _corrected(contrasts),
        tuple(record for value in spec.axis.values for record in records[value]),
        tuple(_missing(spec, records, planned)),
    )


def _corrected(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """The contrasts with Holm's correction over all tests of the sweep."""
    tested = [n for n, c in enumerate(contrasts) if c.p_value is not None]
    corrected = dict(zip(tested, holm([contrasts[n].p_value or 0.0 for n in tested]), strict=True))
    return tuple(replace(c, p_holm=corrected.get(n)) for n, c in enumerate(contrasts))


def _missing(
    spec: SweepSpec, records: Mapping[float, Sequence[RunRecord]], planned: Mapping[float, Sequence[RunKey]]
) -> list[str]:
    found = []
    for value in spec.axis.values:
        known = {(r.key.method, r.key.variant, r.key.seed): r for r in records[value]}
        for key in planned[value]:
            record = known.get((key.method, key.variant, key.seed))
            place = f"{spec.axis.setting} {value:g}, {key.label}, seed {key.seed}"
            if record is None:
                found.append(f"{place}: not run")
            elif record.status != "done":
                found.append(f"{place}: {record.status}: {record.reason}")
    return found


@dataclass(frozen=True)
class _Panel:
    """A panel's specification with what is the same for all rows at one value."""

    spec: PanelSpec
    benchmarks: Benchmarks | None

    @classmethod
    def of(cls, spec: PanelSpec, suite: SuiteSpec, rows: Sequence[RowRuns]) -> _Panel:
        if spec.group is None:
            return cls(spec, None)
        tasks = [b.task for b in suite.benchmarks if b.group == spec.group]
        return cls(spec, Benchmarks.of(tasks, rows))

    def cell(self, name: str, row: RowRuns) -> Cell:
        if row.empty_reason:
            return empty_cell(name, self.spec.name, row.empty_reason)
        runs = list(row.runs.values())
        if self.benchmarks is None:
            return cell_of(name, self.spec.name, self._sample(runs), "not measured")
        sample = group_sample(runs, self.benchmarks)
        if isinstance(sample, str):
            return empty_cell(name, self.spec.name, sample)
        return cell_of(name, self.spec.name, sample, "not measured")

    def contrast(self, value: float, name: str, reference: RowRuns, row: RowRuns) -> Contrast:
        empty = Contrast(self.spec.name, name, value)
        if self.benchmarks is not None:
            found = compare(reference, row, self.spec.title, self.benchmarks)
            return replace(
                empty,
                effect=found.effect,
                low=found.low,
                high=found.high,
                p_value=found.p_value,
                seeds=found.seeds,
                items=found.items,
                reason=found.reason,
            )
        for side in (reference, row):
            if side.empty_reason:
                return replace(empty, reason=f"{side.row.title}: {side.empty_reason}")
        seeds = sorted(set(reference.runs) & set(row.runs))
        if not seeds:
            return replace(empty, reason="no seed in common")
        ours, theirs = ([side.runs[seed] for seed in seeds] for side in (reference, row))
        ids = _common_ids(ours + theirs, self.spec)
        left, right = self._sample(ours, ids), self._sample(theirs, ids)
        if left is None or right is None or left.seeds != right.seeds:
            return replace(empty, reason="not measured in both rows")
        result = estimate(left.minus(right))
        return replace(
            empty,
            effect=result.mean,
            low=result.low,
            high=result.high,
            seeds=result.seeds,
            items=result.items,
        )

    def _sample(self, runs: Sequence[RunRecord], ids: Sequence[str] | None = None) -> Sample | None:
        """The measure as [seeds, items]; as one value per seed where records have no items in common."""
        measured = [run for run in runs if number_at(run, self.spec.source) is not None]
        if not measured:
            return None
        order = _common_ids(measured, self.spec) if ids is None else ids
        items = [_items(run, self.spec) for run in measured]
        rows = [[found[i] for i in order] for found in items]
        if not order:
            rows = [[number_at(run, self.spec.source) or 0.0] for run in measured]
        values = np.array(rows, dtype=np.float64)
        shown = 1.0 - values if self.spec.one_minus else values
        return Sample({self.spec.name: shown}, items_resampled=bool(order))


def _items(run: RunRecord, panel: PanelSpec) -> dict[str, float]:
    """Id -> value, of the items that have one."""
    if not panel.items_source:
        return {}
    ids, values = value_at(run, panel.ids_source), value_at(run, panel.items_source)
    if not isinstance(ids, list | tuple) or not isinstance(values, list | tuple):
        return {}
    pairs = zip(ids, values, strict=False)
    return {str(i): float(x) for i, x in pairs if isinstance(x, int | float)}


def _common_ids(runs: Sequence[RunRecord], panel: PanelSpec) -> list[str]:
    """Ids of the items that every run has, in a fixed order."""
    found = [set(_items(run, panel)) for run in runs if number_at(run, panel.source) is not None]
    return sorted(set.intersection(*found)) if found else []
