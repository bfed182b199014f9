"""Statements made before any run of a sweep, tested: a difference at a value, or how it changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from compact_bench.core.written.values import number_text
from compact_bench.results.claims import ClaimStatus, status_of
from compact_bench.results.statistics.contrasts import contrast
from compact_bench.results.statistics.samples import Sample
from compact_bench.results.sweeps.spec import StatementSpec, SweepSpec
from compact_bench.results.tables.build import Table
from compact_bench.results.tables.cells import group_sample
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.families import corrected
from compact_bench.results.tables.measuring import compare
from compact_bench.results.tables.pairs import NO_COMMON_SEED, with_common_items
from compact_bench.results.tables.rows import RowRuns, rows_by_name

SIDES = {"above": "above", "below": "below", "rises": "above", "falls": "below"}
"""What was expected -> the verdict that says so."""


@dataclass(frozen=True)
class Statement:
    """A statement and what the runs say of it.

    Attributes:
        comparison: the difference, or its change from the lowest value to the highest; p is corrected by Holm
            over the sweep's statements.
    """

    spec: StatementSpec
    comparison: Comparison

    @property
    def status(self) -> ClaimStatus:
        """As of a claim of the reproduction page."""
        if self.comparison.effect is None:
            return "untested"
        return status_of(self.comparison.verdict, SIDES[self.spec.expected])


def judge_statements(spec: SweepSpec, tables: Mapping[float, Table]) -> tuple[Statement, ...]:
    """All statements of a sweep, by its tables: value -> table."""
    found = corrected([_measured(statement, spec, tables) for statement in spec.statements], "Holm")
    return tuple(Statement(*pair) for pair in zip(spec.statements, found, strict=True))


def _measured(statement: StatementSpec, spec: SweepSpec, tables: Mapping[float, Table]) -> Comparison:
    panel = spec.main_panel
    titles = {row.name: row.title for row in spec.rows}
    names = (statement.row, statement.against)
    first, last = (number_text(end(tables)) for end in (min, max))
    place = f", change from {spec.axis.setting} {first} to {last} (straight line)"
    if statement.at is not None:
        place = f", {spec.axis.setting} {number_text(statement.at)}"
    group = f"{panel.title if panel else ''}{place}"
    row, against = (titles.get(name, name) for name in names)
    empty = Comparison(*names, row, against, group)
    lacking = [name for name in names if name not in titles]
    if lacking:
        return replace(empty, reason=f"{' and '.join(lacking)}: not among the rows")
    chosen = tables if statement.at is None else {v: t for v, t in tables.items() if v == statement.at}
    if not chosen:
        return replace(empty, reason=f"{number_text(statement.at or 0.0)} is not among the values")
    group_name = panel.group if panel else None
    if group_name is None or any(group_name not in table.compared for table in chosen.values()):
        return replace(empty, reason="no benchmarks of this group")
    labels = (spec.label_of(statement.row), spec.label_of(statement.against))
    pairs: dict[float, tuple[RowRuns, RowRuns]] = {}
    for value, table in chosen.items():
        rows = rows_by_name(table.filled)
        pairs[value] = rows[labels[0]], rows[labels[1]]
    table = next(iter(chosen.values()))
    if statement.at is not None:
        (pair,) = pairs.values()
        return compare(*pair, group, table.compared[group_name][1], table.yardsticks[group_name])
    return change_over_values(pairs, table, group_name, empty)


def change_over_values(
    pairs: Mapping[float, tuple[RowRuns, RowRuns]], table: Table, group: str, empty: Comparison
) -> Comparison:
    """How much the difference of two rows changes from the lowest value to the highest, by a straight line.

    The line of least squares is a weighted sum of the differences at the values, so that the sum over values
    of an item's differences, seed by seed, is one more difference for the crossed model: seeds and items are
    drawn, and the seeds that all values share pair the values. Its variance over seeds is its own.

    Args:
        pairs: value -> the two rows.
        table: the first of the sweep's tables.
        group: name of the compared group.
        empty: the comparison still without numbers.
    """
    values = np.array(sorted(pairs), np.float64)
    if len(values) < 2:
        return replace(empty, reason="one value shows no change")
    for value in values:
        if side := next((side for side in pairs[value] if side.empty_reason), None):
            return replace(empty, reason=f"{number_text(value)}, {side.row.title}: {side.empty_reason}")
    seeds = sorted(set.intersection(*(set(side.runs) for pair in pairs.values() for side in pair)))
    if not seeds:
        return replace(empty, reason=NO_COMMON_SEED)
    sides = [[[side.runs[seed] for seed in seeds] for side in pairs[value]] for value in values]
    every = [run for pair in sides for runs in pair for run in runs]
    common = with_common_items(table.compared[group][1], every)
    samples = [[group_sample(runs, common) for runs in pair] for pair in sides]
    whole = [sample for pair in samples for sample in pair if not isinstance(sample, str)]
    if len(whole) < 2 * len(values) or len({sample.seeds for sample in whole}) > 1:
        return replace(empty, reason="not every seed has the same tasks at every value")
    centred = values - values.mean()
    shares = centred / np.square(centred).sum() * (values[-1] - values[0])
    difference = _sum(
        shares, [ours.minus(theirs) for ours, theirs in zip(whole[::2], whole[1::2], strict=True)]
    )
    return replace(
        empty,
        effect=float(difference.seed_means.mean()),
        contrast=contrast(difference),
        seeds=difference.seeds,
        items=difference.items,
        margin=table.margin,
    )


def _sum(shares: Sequence[float], samples: Sequence[Sample]) -> Sample:
    return Sample(
        {
            task: np.sum(
                [share * sample.tasks[task] for share, sample in zip(shares, samples, strict=True)], axis=0
            )
            for task in samples[0].tasks
        }
    )
