"""The reference row against every other row, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from compact_bench.records import RunRecord
from compact_bench.stats import estimate, holm, permutation_p_value
from compact_bench.table_cells import Benchmarks, group_sample, item_ids
from compact_bench.table_rows import RowRuns
from compact_bench.table_spec import GroupSpec

__all__ = ["ALPHA", "Comparison", "compare_rows", "few_seeds_note"]

ALPHA = 0.05
ENOUGH_SEEDS = 5


@dataclass(frozen=True)
class Comparison:
    """The reference row minus another row, on one group's mean.

    Attributes:
        row: name of the other row.
        title, reference_title: both rows, as shown.
        group: short title of the group.
        effect, low, high: difference of accuracies in [-1, 1] and its 95 % interval; None when there is none.
        p_value: of the permutation test; None when there is none.
        p_holm: the same, Holm-corrected over all comparisons of the table.
        seeds, items: how many pairs.
        reason: why there is no comparison, or "".
        same_as: row whose comparison this repeats, or "".
    """

    row: str
    title: str
    reference_title: str
    group: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    seeds: int = 0
    items: int = 0
    reason: str = ""
    same_as: str = ""

    @property
    def shown(self) -> bool:
        """Whether a difference is shown: the interval excludes 0 and the corrected test agrees."""
        if self.low is None or self.high is None or self.p_holm is None:
            return False
        return not self.low <= 0.0 <= self.high and self.p_holm < ALPHA

    @property
    def sentence(self) -> str:
        """The comparison in words; a difference inside the interval is never called one."""
        names = f"{self.reference_title} and {self.title}"
        if self.effect is None:
            return f"{self.group}: {names} are not compared ({self.reason})."
        if self.low is None or self.high is None or self.p_holm is None:
            return (
                f"{self.group}: no difference is shown between {names}: {_pp(self.effect)}, and one item "
                "under one seed gives no interval."
            )
        over = " over items only" if self.seeds == 1 else ""
        facts = f"95 % interval{over} {_pp(self.low)} to {_pp(self.high)}, p = {self.p_holm:.3g} after Holm"
        if self.shown:
            side = "above" if self.effect > 0 else "below"
            size = f"{abs(self.effect) * 100:.1f} pp"
            return f"{self.group}: {self.reference_title} is {size} {side} {self.title} ({facts})."
        if self.low <= 0.0 <= self.high:
            return f"{self.group}: no difference is shown between {names} ({_pp(self.effect)}; {facts})."
        return (
            f"{self.group}: no difference is shown between {names} ({_pp(self.effect)}; {facts}): the "
            "interval leaves out 0, but the corrected test does not confirm it."
        )


def _pp(value: float) -> str:
    # -0.0 would print as "-0.0".
    return f"{value * 100 + 0.0:+.1f} pp"


def few_seeds_note(seeds: Sequence[int]) -> str:
    """What few seeds mean for the comparisons; "" when there are enough, or no comparison.

    Args:
        seeds: seeds of each comparison.
    """
    fewest = min((n for n in seeds if n), default=0)
    if fewest == 0 or fewest >= ENOUGH_SEEDS:
        return ""
    count = "one seed" if fewest == 1 else f"{fewest} seeds"
    return (
        f"Some rows are compared on {count} only: intervals and p values are conditional on the seeds that "
        "were run, and another choice of seeds may change them."
    )


def compare_rows(
    reference: RowRuns, rows: Sequence[RowRuns], groups: Mapping[str, tuple[GroupSpec, Benchmarks]]
) -> tuple[Comparison, ...]:
    """Compare the reference row with every other row on every group's mean.

    Seeds are paired; a row that was never trained has the same scores under every seed. Items are paired by
    id. The p values of all comparisons are one family for Holm's correction; a row that repeats another
    (the best single teacher) takes over its comparison and is not counted twice.

    Args:
        reference: the row that the others are compared with.
        rows: all rows; the reference itself is skipped.
        groups: group name -> its specification and benchmarks.
    """
    found: list[Comparison] = []
    for spec, benchmarks in groups.values():
        for row in rows:
            if row.row.name != reference.row.name:
                found.append(_compare(reference, row, spec.short or spec.title, benchmarks))
    family = [i for i, c in enumerate(found) if c.p_value is not None and not c.same_as]
    corrected = dict(zip(family, holm([found[i].p_value or 0.0 for i in family]), strict=True))
    found = [replace(c, p_holm=corrected.get(i)) for i, c in enumerate(found)]
    by_place = {(c.row, c.group): c for c in found}
    return tuple(replace(c, p_holm=by_place[c.same_as, c.group].p_holm) if c.same_as else c for c in found)


def _compare(reference: RowRuns, row: RowRuns, group: str, benchmarks: Benchmarks) -> Comparison:
    empty = Comparison(row.row.name, row.row.title, reference.row.title, group, same_as=row.same_as)
    for side in (reference, row):
        if side.empty_reason:
            return replace(empty, reason=f"{side.row.title}: {side.empty_reason}")
    ours, theirs = _paired_runs(reference, row)
    if not ours:
        return replace(empty, reason="no seed in common")
    common = _common_items(ours + theirs, benchmarks)
    left, right = group_sample(ours, common), group_sample(theirs, common)
    if isinstance(left, str) or isinstance(right, str):
        reason = left if isinstance(left, str) else str(right)
        return replace(empty, reason=reason)
    if left.seeds != right.seeds or left.tasks.keys() != right.tasks.keys():
        return replace(empty, reason="not every seed has the same tasks on both sides")
    difference = left.minus(right)
    result = estimate(difference)
    return replace(
        empty,
        effect=result.mean,
        low=result.low,
        high=result.high,
        p_value=permutation_p_value(difference),
        seeds=result.seeds,
        items=result.items,
    )


def _paired_runs(reference: RowRuns, row: RowRuns) -> tuple[list[RunRecord], list[RunRecord]]:
    """Runs of both rows, seed by seed."""
    ours, theirs = reference.runs, row.runs
    # Without training the seed changes nothing, so one run stands for every seed of the other row.
    if row.untrained:
        theirs = {seed: theirs.get(seed, next(iter(theirs.values()))) for seed in ours}
    elif reference.untrained:
        ours = {seed: ours.get(seed, next(iter(ours.values()))) for seed in theirs}
    seeds = sorted(set(ours) & set(theirs))
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


def _common_items(runs: Sequence[RunRecord], benchmarks: Benchmarks) -> Benchmarks:
    """The group's items that every one of these runs has."""
    counted = {
        task: benchmarks.counted[task].intersection(*(item_ids(run, task) for run in runs))
        for task in benchmarks.tasks
    }
    return replace(benchmarks, counted=counted)
