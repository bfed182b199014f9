"""Pairs of rows, in numbers and in words: the reference row against every other, and what else is planned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from compact_bench.core.records import RunRecord, number_at, value_at
from compact_bench.results.stats import (
    ALPHA,
    POWER,
    Floats,
    Precision,
    Sample,
    holm,
    permutation_p_value,
    precision,
)
from compact_bench.results.tables.cells import Benchmarks, cell_of, group_sample, item_ids, item_sample
from compact_bench.results.tables.planned_pairs import ComparisonSpec
from compact_bench.results.tables.rows import RowRuns, rows_by_name
from compact_bench.results.tables.spec import GroupSpec, MeasureSpec, TableSpec

ENOUGH_SEEDS = 5
NO_COMMON_SEED = "no seed in common"
Groups = Mapping[str, tuple[GroupSpec, Benchmarks]]


@dataclass(frozen=True)
class Comparison:
    """One row minus another, on one group's mean or on a measure.

    Attributes:
        group: short title of the group, or title of the measure.
        effect, low, high: difference (accuracies: in [-1, 1]) and its 95 % interval; None when there is none.
        seed_sd: standard deviation, over seeds, of the paired difference; None with one seed.
        p_value: of the permutation test; None when there is none, as for a measure.
        p_holm: the same, Holm-corrected over all comparisons of the table.
        family: how many comparisons Holm's correction counts.
        precision: how small a difference the test can detect; None when that is unknown.
        seeds, items: how many pairs.
        reason: why there is no comparison, or "".
        measured: names of the rows whose runs are compared: not "best" but the teacher that was chosen.
        in_words: whether the report tells it in a sentence.
        tells_detectable: whether it also tells the smallest detectable difference.
        is_ratio: whether effect and interval are natural logarithms of a ratio.
    """

    row: str
    against: str
    row_title: str
    against_title: str
    group: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    seed_sd: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    family: int = 1
    precision: Precision | None = None
    seeds: int = 0
    items: int = 0
    reason: str = ""
    measured: tuple[str, str] = ("", "")
    in_words: bool = False
    tells_detectable: bool = False
    is_ratio: bool = False

    @property
    def shown(self) -> bool:
        """Whether a difference is shown: the interval excludes 0 and the corrected test, if any, agrees."""
        if self.low is None or self.high is None or self.low <= 0.0 <= self.high:
            return False
        # A measure's difference has no test: there the interval decides.
        return self.p_value is None or (self.p_holm is not None and self.p_holm < ALPHA)

    @property
    def detectable(self) -> float | None:
        """The smallest difference that the uncorrected test detects, given the seeds; None if none."""
        return self.precision.detectable() if self.precision else None

    @property
    def detectable_holm(self) -> float | None:
        """The same at the strictest step of Holm's correction."""
        return self.precision.detectable(ALPHA / self.family) if self.precision else None

    @property
    def counts(self) -> str:
        """How much was compared: "n = 3 seeds, 1,200 items"."""
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"n = {seeds}, {self.items:,} item{'s' if self.items != 1 else ''}"

    @property
    def verdict(self) -> str:
        """The outcome in a word or two, for a table."""
        if self.effect is None:
            return "not compared"
        if not self.shown:
            return "no difference shown"
        return "above" if self.effect > 0 else "below"

    @property
    def measure(self) -> str:
        """Effect, interval and counts: "+2.1 pp [+0.4, +3.9], n = 5 seeds, 1,200 items"."""
        if self.effect is None:
            return "none"
        if self.is_ratio:
            low, high = (f"{math.exp(value or 0.0):.2f}" for value in (self.low, self.high))
            return f"{math.exp(self.effect):.2f} times [{low}, {high}], {self.counts}"
        interval = "" if self.low is None or self.high is None else f" [{_pp(self.low)}, {_pp(self.high)}]"
        return f"{_pp(self.effect)} pp{interval}, {self.counts}"

    @property
    def sentence(self) -> str:
        """The comparison in words; a difference inside the interval is never called one."""
        names = f"{self.row_title} and {self.against_title}"
        if self.effect is None:
            return f"{self.group}: {names} are not compared ({self.reason})."
        none = f"{self.group}: no difference is shown between {names}: {self.measure}"
        if self.low is None or self.high is None or self.p_holm is None:
            return f"{none}; one item under one seed gives no interval."
        facts = f"p = {self.p_holm:.3g} after Holm"
        if self.seeds == 1:
            facts = f"interval over items only, {facts}"
        if self.shown:
            return f"{self.group}: {self.side_and_size} ({facts})."
        if self.low <= 0.0 <= self.high:
            return f"{none} ({facts})."
        return f"{none} ({facts}): the interval leaves out 0, but the corrected test does not confirm it."

    @property
    def side_and_size(self) -> str:
        """Which row is above, by how much: "A is above B by 2.1 pp [0.4, 3.9], n = 5 seeds, 1,200 items"."""
        effect, low, high = (value or 0.0 for value in (self.effect, self.low, self.high))
        side, bounds = ("above", (low, high)) if effect > 0 else ("below", (-high, -low))
        size = f"{abs(effect) * 100:.1f} pp [{bounds[0] * 100:.1f}, {bounds[1] * 100:.1f}]"
        return f"{self.row_title} is {side} {self.against_title} by {size}, {self.counts}"

    @property
    def detectable_sentence(self) -> str:
        """How small a difference of this pair the table could have detected, in words; "" if not compared."""
        if self.effect is None:
            return ""
        names = f"{self.row_title} and {self.against_title}"
        terms = f"{POWER * 100:.0f} % power, two-sided {ALPHA * 100:.0f} %, {self.counts}"
        if self.detectable is None:
            return (
                f"{self.group}: no difference between {names} could have been detected ({terms}): there are "
                "too few items, or none of them differs."
            )
        strict = "nothing" if self.detectable_holm is None else f"{self.detectable_holm * 100:.1f} pp"
        sentence = (
            f"{self.group}: the smallest difference between {names} that this table could have detected is "
            f"{self.detectable * 100:.1f} pp ({terms}); {strict} at the strictest step of Holm's correction "
            f"({ALPHA * 100:.0f} % / {self.family})."
        )
        if self.seed_sd is None:
            return sentence
        spread = f"{self.seed_sd * 100:.1f} pp"
        return f"{sentence} Over the seeds, this difference has a standard deviation of {spread}."


def _pp(value: float) -> str:
    # -0.0 would print as "-0.0".
    return f"{value * 100 + 0.0:+.1f}"


def few_seeds_note(seeds: Sequence[int]) -> str:
    """What few seeds of comparisons mean for them; "" when there are enough, or no comparison."""
    fewest = min((n for n in seeds if n), default=0)
    if fewest == 0 or fewest >= ENOUGH_SEEDS:
        return ""
    count = "one seed" if fewest == 1 else f"{fewest} seeds"
    return (
        f"Some rows are compared on {count} only: intervals and p values are conditional on the seeds that "
        "were run, and another choice of seeds may change them."
    )


def compare_rows(spec: TableSpec, rows: Sequence[RowRuns], groups: Groups) -> tuple[Comparison, ...]:
    """Compare the reference row with every other row, and the other planned pairs, on every group's mean.

    Seeds are paired; a row that was never trained has the same scores under every seed. Items are paired by
    id. The p values of all comparisons are one family for Holm's correction; a pair that repeats another
    (the best single teacher's) takes over its values and is not counted twice.

    Returns:
        Group by group: the planned pairs in their order, as far as both rows are here, then the reference
        against the other rows.
    """
    by_name = rows_by_name(rows)
    planned: list[tuple[RowRuns, RowRuns, ComparisonSpec | None]] = [
        (by_name[pair.row], by_name[pair.against], pair)
        for pair in spec.planned
        if {pair.row, pair.against} <= by_name.keys()
    ]
    if spec.reference in by_name:
        reference = by_name[spec.reference]
        known = {reference.row.name, *(b.row.name for a, b, _ in planned if a is reference)}
        planned += [(reference, row, None) for row in rows if row.row.name not in known]
    comparisons = []
    for group, benchmarks in groups.values():
        for row, against, pair in planned:
            result = compare(row, against, group.short or group.title, benchmarks)
            in_words = pair is not None or not spec.planned
            detectable = pair is not None and pair.detectable
            comparisons.append(replace(result, in_words=in_words, tells_detectable=detectable))
    return corrected(comparisons)


def corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons of one family with Holm's correction; those of the same runs count once."""
    tests = {(frozenset(c.measured), c.group): c.p_value for c in comparisons if c.p_value is not None}
    p_holm = dict(zip(tests, holm(list(tests.values())), strict=True))
    return tuple(
        replace(c, p_holm=p_holm.get((frozenset(c.measured), c.group)), family=max(1, len(tests)))
        for c in comparisons
    )


def compare(row: RowRuns, against: RowRuns, group: str, benchmarks: Benchmarks) -> Comparison:
    """One row minus another on one group's mean, without any correction; `group` is its short title."""

    def difference() -> Sample | str:
        pair = paired_samples(row, against, benchmarks)
        return pair if isinstance(pair, str) else pair[0].minus(pair[1])

    compared, sample = _compared(row, against, group, difference)
    if sample is None:
        return compared
    return replace(compared, p_value=permutation_p_value(sample), precision=precision(sample))


def compare_measure(row: RowRuns, against: RowRuns, measure: MeasureSpec) -> Comparison:
    """One row minus another on a measure, over the same seeds and items; its interval stands for a test.

    Where the two rows have no items in common, or others under every seed, the interval is over seeds only.
    """

    def difference() -> Sample | str:
        pairs = list(zip(*_paired_runs(row, against), strict=True))
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

    return _compared(row, against, measure.title, difference)[0]


def compare_spread(row: RowRuns, against: RowRuns, group: str, benchmarks: Benchmarks) -> Comparison:
    """How many times as much one row's group mean varies over training seeds as another's.

    The ratio of the standard deviations over seeds, which is that of the standard errors of the mean, with
    the interval and two-sided p value of the F test; it takes the two rows' seeds as independent.
    """
    title = f"{group}, spread over seeds"
    compared, sample = _compared(row, against, title, lambda: _seed_values(row, against, benchmarks))
    if sample is None:
        return compared
    if sample.seeds < 2:
        return replace(compared, effect=None, reason="one seed has no spread")
    ours, theirs = (float(values.std(ddof=1)) for values in sample.tasks[""].T)
    if not ours or not theirs:
        return replace(compared, effect=None, reason="a row is the same under every seed")
    of_f, ratio = stats.f(sample.seeds - 1, sample.seeds - 1), (ours / theirs) ** 2
    low, high = (0.5 * math.log(ratio / of_f.ppf(share)) for share in (1 - ALPHA / 2, ALPHA / 2))
    p_value = float(min(1.0, 2 * min(of_f.cdf(ratio), of_f.sf(ratio))))
    return replace(
        compared,
        effect=0.5 * math.log(ratio),
        low=low,
        high=high,
        p_value=p_value,
        seed_sd=None,
        is_ratio=True,
    )


def _seed_values(row: RowRuns, against: RowRuns, benchmarks: Benchmarks) -> Sample | str:
    """Both rows' group means, [seeds, 2]."""
    pair = paired_samples(row, against, benchmarks)
    return pair if isinstance(pair, str) else _of_seeds(*(sample.seed_means for sample in pair))


def _of_seeds(ours: Sequence[float] | Floats, theirs: Sequence[float] | Floats) -> Sample:
    return Sample({"": np.stack([ours, theirs], axis=1)}, items_resampled=False)


def compare_easiest_weight(row: RowRuns, against: RowRuns) -> Comparison:
    """One row's weight on its easiest teacher minus another's, with a paired t test over seeds."""

    def values() -> Sample | str:
        pairs = [tuple(map(_easiest_weight, pair)) for pair in zip(*_paired_runs(row, against), strict=True)]
        known = [pair for pair in pairs if None not in pair]
        return _of_seeds(*np.array(known, np.float64).T) if known else "not recorded in both rows"

    compared, sample = _compared(row, against, "weight on the easiest teacher", values)
    if sample is None:
        return compared
    difference = np.subtract(*sample.tasks[""].T)
    if len(difference) < 2 or not difference.std():
        return replace(compared, effect=None, reason="fewer than two seeds that differ")
    test = stats.ttest_1samp(difference, 0.0)
    low, high = test.confidence_interval(1 - ALPHA)
    mean, spread = float(difference.mean()), float(difference.std(ddof=1))
    p_value = float(test.pvalue)
    return replace(compared, effect=mean, low=float(low), high=float(high), seed_sd=spread, p_value=p_value)


def _easiest_weight(run: RunRecord) -> float | None:
    """Mean weight on the teacher whose rationales cost the fewest nats per token; None where not recorded."""
    losses, weights = (value_at(run, f"training.extra.mean_teacher_{name}") for name in ("losses", "weights"))
    return weights[min(losses, key=losses.__getitem__)] if losses and weights else None


def _compared(
    row: RowRuns, against: RowRuns, group: str, difference: Callable[[], Sample | str]
) -> tuple[Comparison, Sample | None]:
    """Effect and interval of a difference, and the difference; a text in its place says why there is none."""
    measured = (row.same_as or row.row.name, against.same_as or against.row.name)
    empty = Comparison(
        row.row.name, against.row.name, row.row.title, against.row.title, group, measured=measured
    )
    for side in (row, against):
        if side.empty_reason:
            return replace(empty, reason=f"{side.row.title}: {side.empty_reason}"), None
    if measured[0] == measured[1]:
        return replace(empty, reason="both rows are the same runs"), None
    sample = difference()
    if isinstance(sample, str):
        return replace(empty, reason=sample), None
    cell = cell_of(row.row.name, group, sample)
    measures = {name: getattr(cell, name) for name in ("low", "high", "seed_sd", "seeds", "items")}
    return replace(empty, effect=cell.mean, **measures), sample


def paired_samples(row: RowRuns, against: RowRuns, benchmarks: Benchmarks) -> tuple[Sample, Sample] | str:
    """Scores of two rows with runs, with the same seeds, tasks and items; or why there are none."""
    ours, theirs = _paired_runs(row, against)
    if not ours:
        return NO_COMMON_SEED
    # The items that every one of these runs has.
    counted = {
        task: benchmarks.counted[task].intersection(*(item_ids(run, task) for run in ours + theirs))
        for task in benchmarks.tasks
    }
    common = replace(benchmarks, counted=counted)
    left, right = group_sample(ours, common), group_sample(theirs, common)
    if isinstance(left, str) or isinstance(right, str):
        return left if isinstance(left, str) else str(right)
    if left.seeds != right.seeds or left.tasks.keys() != right.tasks.keys():
        return "not every seed has the same tasks on both sides"
    return left, right


def _paired_runs(row: RowRuns, against: RowRuns) -> tuple[list[RunRecord], list[RunRecord]]:
    """Runs of both rows, seed by seed."""
    ours, theirs = row.runs, against.runs
    # Without training the seed changes nothing, so one run stands for every seed of the other row.
    if against.untrained:
        theirs = {seed: theirs.get(seed, next(iter(theirs.values()))) for seed in ours}
    elif row.untrained:
        ours = {seed: ours.get(seed, next(iter(ours.values()))) for seed in theirs}
    seeds = sorted(set(ours) & set(theirs))
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
