"""Two rows' runs, paired by seed and by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compact_bench.core.records import RunRecord, fingerprint
from compact_bench.results.statistics.samples import Sample
from compact_bench.results.tables.cells import Benchmarks, group_sample, item_ids
from compact_bench.results.tables.rows import RowRuns

NO_COMMON_SEED = "no seed in common"


def paired_samples(row: RowRuns, against: RowRuns, benchmarks: Benchmarks) -> tuple[Sample, Sample] | str:
    """Scores of two rows with runs, with the same seeds, tasks and items; or why there are none."""
    ours, theirs = paired_runs(row, against)
    if not ours:
        return NO_COMMON_SEED
    common = with_common_items(benchmarks, ours + theirs)
    left, right = group_sample(ours, common), group_sample(theirs, common)
    if isinstance(left, str) or isinstance(right, str):
        return left if isinstance(left, str) else str(right)
    if left.seeds != right.seeds or left.tasks.keys() != right.tasks.keys():
        return "not every seed has the same tasks on both sides"
    return left, right


def paired_runs(row: RowRuns, against: RowRuns) -> tuple[list[RunRecord], list[RunRecord]]:
    """Runs of both rows, seed by seed; a row that was never trained has the same run under every seed."""
    ours, theirs = row.runs, against.runs
    # Without training the seed changes nothing, so one run stands for every seed of the other row.
    if against.untrained:
        theirs = {seed: theirs.get(seed, next(iter(theirs.values()))) for seed in ours}
    elif row.untrained:
        ours = {seed: ours.get(seed, next(iter(ours.values()))) for seed in theirs}
    seeds = sorted(set(ours) & set(theirs))
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def with_common_items(benchmarks: Benchmarks, runs: Sequence[RunRecord]) -> Benchmarks:
    """The same benchmarks with the items that every one of these runs has."""
    counted = {
        task: benchmarks.counted[task].intersection(*(item_ids(run, task) for run in runs))
        for task in benchmarks.tasks
    }
    return replace(benchmarks, counted=counted)


def students_of(row: RowRuns) -> str:
    """What names a row's trained students by their weights, seed by seed; "" where a record lacks them."""
    weights = {seed: run.weights.get("final", "") for seed, run in sorted(row.runs.items())}
    if not all(weights.values()):
        return ""
    return fingerprint(sorted(set(weights.values())) if row.untrained else list(weights.items()))
