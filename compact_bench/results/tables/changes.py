"""Changes: a row's mean accuracy relative to the reference row's, as papers tell their ablations."""

from __future__ import annotations

import numpy as np

from compact_bench.core.records import Cell
from compact_bench.results.statistics.bootstrap import bootstrap_means, interval
from compact_bench.results.tables.cells import Benchmarks, empty_cell
from compact_bench.results.tables.pairs import paired_samples
from compact_bench.results.tables.rows import RowRuns


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
