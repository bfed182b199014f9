"""Changes: rows relative to the reference or to the untrained student, and tasks that a mean hides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compact_bench.core.records import Cell
from compact_bench.results.statistics.bootstrap import bootstrap_means, interval
from compact_bench.results.statistics.power import ALPHA
from compact_bench.results.tables.cells import Benchmarks, empty_cell
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.families import Groups
from compact_bench.results.tables.measuring import Yardstick, compare
from compact_bench.results.tables.pairs import paired_samples
from compact_bench.results.tables.rows import RowRuns


@dataclass(frozen=True)
class Movement:
    """A task that moves the other way than its group's mean, which hides it.

    Attributes:
        mean: two rows on the group's mean.
        task: the same rows on the task alone, whose 95 % interval leaves out 0; uncorrected.
    """

    mean: Comparison
    task: Comparison


def change_cell(row: RowRuns, reference: RowRuns | None, column: str, benchmarks: Benchmarks) -> Cell:
    """The mean of a group, divided by the reference row's, minus 1.

    Seeds and items are paired. The interval is of the ratio: both rows are resampled with the same draws.
    """
    name = row.row.name
    if reference is None or reference.empty_reason:
        why = "no reference row" if reference is None else f"{reference.row.title}: {reference.empty_reason}"
        return empty_cell(name, column, why)
    if row.empty_reason:
        return empty_cell(name, column, row.empty_reason)
    if (row.same_as or name) == reference.row.name:
        return empty_cell(name, column, "the reference")
    pair = paired_samples(row, reference, benchmarks)
    if isinstance(pair, str):
        return empty_cell(name, column, pair)
    ours, theirs = pair
    if not theirs.seed_means.all():
        return empty_cell(name, column, "the reference is at 0 %")
    change = float(ours.seed_means.mean() / theirs.seed_means.mean() - 1.0)
    by_seed = ours.seed_means / theirs.seed_means - 1.0
    spread = float(np.std(by_seed, ddof=1)) if ours.seeds > 1 else None
    low = high = None
    if ours.seeds > 1 or ours.items > 1:
        draws, reference_draws = bootstrap_means(ours), bootstrap_means(theirs)
        if (reference_draws > 0).all():
            low, high = interval(draws / reference_draws - 1.0)
    return Cell(name, column, change, low, high, spread, ours.seeds, ours.items)


def untrained_row(rows: Sequence[RowRuns]) -> RowRuns | None:
    """The row of the student as it was before training; None where no run is of it."""
    return next((row for row in rows if row.runs and row.untrained), None)


def over_untrained(
    rows: Sequence[RowRuns], groups: Groups, measured_with: Mapping[str, Yardstick]
) -> dict[tuple[str, str], Comparison]:
    """(row name, group name) -> the row's mean minus the untrained student's, uncorrected."""
    base = untrained_row(rows)
    if base is None:
        return {}
    return {
        (row.row.name, name): compare(
            row, base, group.short or group.title, benchmarks, measured_with.get(name, Yardstick())
        )
        for name, (group, benchmarks) in groups.items()
        for row in rows
        if row is not base
    }


def hidden_by_means(
    pairs: Iterable[tuple[RowRuns, RowRuns, str, Comparison]],
    rows: Sequence[RowRuns],
    groups: Groups,
    titles: Mapping[str, str],
) -> tuple[Movement, ...]:
    """Tasks whose difference has another sign than their group's, beyond their own 95 % interval.

    Args:
        pairs: two rows, a group's name, and their comparison on its mean.
        rows: of the table.
        titles: task -> what its column is called.
    """
    single = {
        task: Benchmarks.of((task,), rows) for _, benchmarks in groups.values() for task in benchmarks.tasks
    }
    found = []
    for row, against, group, mean in pairs:
        if mean.effect is None or mean.contrast is None or len(groups[group][1].tasks) < 2:
            continue
        for task in groups[group][1].tasks:
            alone = compare(row, against, titles.get(task, task), single[task])
            if alone.effect is None or alone.p_value is None:
                continue
            if alone.p_value < ALPHA and np.sign(alone.effect) != np.sign(mean.effect):
                found.append(Movement(mean, alone))
    return tuple(found)
