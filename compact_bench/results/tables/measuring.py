"""The difference of two rows, measured: on a group's mean, on a measure, or of how they vary."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy import stats

from compact_bench.core.records import RunRecord, number_at, value_at
from compact_bench.results.statistics.contrasts import Contrast, contrast
from compact_bench.results.statistics.power import ALPHA
from compact_bench.results.statistics.samples import Floats, Sample
from compact_bench.results.tables.cells import Benchmarks, item_sample
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.pairs import NO_COMMON_SEED, paired_runs, paired_samples, students_of
from compact_bench.results.tables.rows import RowRuns
from compact_bench.results.tables.spec import MeasureSpec


@dataclass(frozen=True)
class Yardstick:
    """What the comparisons of one group are measured with.

    Attributes:
        margin, can_show: see `Comparison`.
        unknown: why it is not known whether the group can show a difference, or "".
    """

    margin: float | None = None
    can_show: bool = True
    unknown: str = ""


PLAIN = Yardstick()
T = TypeVar("T")


def compare(
    row: RowRuns, against: RowRuns, group: str, benchmarks: Benchmarks, yardstick: Yardstick = PLAIN
) -> Comparison:
    """One row minus another on one group's mean, without any correction; `group` is its short title."""
    compared, pair = _compared(row, against, group, lambda: paired_samples(row, against, benchmarks))
    if pair is None:
        return compared
    ours, theirs = pair
    compared = replace(compared, margin=yardstick.margin, can_show=yardstick.can_show)
    return _with_contrast(compared, ours.minus(theirs))


def _with_contrast(compared: Comparison, difference: Sample) -> Comparison:
    return replace(
        compared,
        effect=float(difference.seed_means.mean()),
        contrast=contrast(difference),
        seeds=difference.seeds,
        items=difference.items if difference.items_resampled else 0,
    )


def compare_measure(row: RowRuns, against: RowRuns, measure: MeasureSpec) -> Comparison:
    """One row minus another on a measure, over the same seeds and items.

    Where the two rows have no items in common, or others under every seed, the interval is over seeds only.
    """

    def difference() -> Sample | str:
        pairs = list(zip(*paired_runs(row, against), strict=True))
        if not pairs:
            return NO_COMMON_SEED
        recorded = [tuple(number_at(run, measure.source) for run in pair) for pair in pairs]
        kept = [n for n, values in enumerate(recorded) if None not in values]
        if not kept:
            return "not measured in both rows"
        both = item_sample([pairs[n][side] for side in (0, 1) for n in kept], measure)
        each = [item_sample(pairs[n], measure) for n in kept]
        # Where seeds draw their questions, what all of them share is few, and not what was measured.
        if both is not None and all(one and one.items == both.items for one in each):
            ours, theirs = np.split(both.tasks[measure.name], 2)
            return replace(both, tasks={measure.name: ours - theirs})
        values = np.array([recorded[n] for n in kept], dtype=np.float64)
        return Sample({measure.name: values[:, :1] - values[:, 1:]}, items_resampled=False)

    compared, sample = _compared(row, against, measure.title, difference)
    return compared if sample is None else _with_contrast(compared, sample)


def compare_spread(row: RowRuns, against: RowRuns, group: str, benchmarks: Benchmarks) -> Comparison:
    """How many times as much one row's group mean varies over training seeds as another's.

    The ratio of the standard deviations over seeds, which is that of the standard errors of the mean, with
    the interval and two-sided p value of the F test; it takes the two rows' seeds as independent.
    """
    title = f"{group}, spread over seeds"
    compared, pair = _compared(row, against, title, lambda: paired_samples(row, against, benchmarks))
    if pair is None:
        return compared
    seeds = pair[0].seeds
    if seeds < 2:
        return replace(compared, reason="one seed has no spread")
    ours, theirs = (float(sample.seed_means.std(ddof=1)) for sample in pair)
    if not ours or not theirs:
        return replace(compared, reason="a row is the same under every seed")
    of_f, ratio = stats.f(seeds - 1, seeds - 1), (ours / theirs) ** 2

    def ends(tail: float) -> tuple[float, float]:
        low, high = (0.5 * math.log(ratio / of_f.ppf(share)) for share in (1 - tail, tail))
        return low, high

    found = Contrast(
        0.5 * math.log(ratio),
        None,
        seeds - 1.0,
        *ends(ALPHA / 2),
        *ends(ALPHA),
        p_value=float(min(1.0, 2 * min(of_f.cdf(ratio), of_f.sf(ratio)))),
        seeds=seeds,
        items=0,
    )
    return replace(compared, effect=found.estimate, contrast=found, seeds=seeds, is_ratio=True)


def compare_easiest_weight(row: RowRuns, against: RowRuns) -> Comparison:
    """One row's weight on its easiest teacher minus another's, over seeds."""

    def values() -> Sample | str:
        pairs = [tuple(map(_easiest_weight, pair)) for pair in zip(*paired_runs(row, against), strict=True)]
        known = [pair for pair in pairs if None not in pair]
        if not known:
            return "not recorded in both rows"
        both = np.array(known, np.float64)
        difference: Floats = both[:, :1] - both[:, 1:]
        return Sample({"": difference}, items_resampled=False)

    compared, sample = _compared(row, against, "weight on the easiest teacher", values)
    if sample is None:
        return compared
    if sample.seeds < 2 or not sample.seed_means.std():
        return replace(compared, reason="fewer than two seeds that differ")
    return _with_contrast(compared, sample)


def _easiest_weight(run: RunRecord) -> float | None:
    """Mean weight on the teacher whose rationales cost the fewest nats per token; None where not recorded."""
    losses, weights = (value_at(run, f"training.extra.mean_teacher_{name}") for name in ("losses", "weights"))
    return weights[min(losses, key=losses.__getitem__)] if losses and weights else None


def _compared(
    row: RowRuns, against: RowRuns, group: str, measured: Callable[[], T | str]
) -> tuple[Comparison, T | None]:
    """A comparison still without numbers, and what was measured; None where the comparison says why not."""
    names = (row.same_as or row.row.name, against.same_as or against.row.name)
    empty = Comparison(
        row.row.name, against.row.name, row.row.title, against.row.title, group, measured=names
    )
    for side in (row, against):
        if side.empty_reason:
            return replace(empty, reason=f"{side.row.title}: {side.empty_reason}"), None
    students = (students_of(row), students_of(against))
    if names[0] == names[1]:
        return replace(empty, reason="both rows are the same runs"), None
    if students[0] and students[0] == students[1]:
        return replace(empty, reason="both rows have the same final weights"), None
    found = measured()
    if isinstance(found, str):
        return replace(empty, reason=found), None
    return replace(empty, students=students), found
