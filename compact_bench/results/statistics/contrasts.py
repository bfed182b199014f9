"""The difference of two methods, over seeds and items: one model for the interval and for p.

A task's differences, [seeds, items], are taken as mean + seed + item + rest, all three random. The tasks of
a mean share the trained students, so that the seeds' part is measured on the mean itself, and the items' part
task by task. Every function here works on the last two axes, so that calibration runs thousands of tables
through the same lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from compact_bench.results.statistics.power import ALPHA, standard_errors
from compact_bench.results.statistics.samples import Floats, Sample

NO_SPREAD = 1e-12
"""Share of a variance (of a value, for its range) below which what is left of it is rounding alone."""


@dataclass(frozen=True)
class Contrast:
    """A difference of two methods with what is known about it; all in the values' units.

    Attributes:
        standard_error: of the estimate, over seeds and items; None for a ratio, whose interval is lopsided.
        df: degrees of freedom of its t distribution; see `infer`.
        low, high: 95 % interval.
        low_90, high_90: 90 % interval, which decides on equivalence.
        p_value: two-sided, of no difference; below 5 % exactly where the 95 % interval leaves out 0.
        seed_sd: standard deviation, over seeds, of the paired difference; None for a ratio.
        unseen: the largest difference on other items that these items would all fail to show in one of
            twenty cases; so close no equivalence can be said, whatever varies. 0 where there are no items.
    """

    estimate: float
    standard_error: float | None
    df: float
    low: float
    high: float
    low_90: float
    high_90: float
    p_value: float
    seeds: int
    items: int
    seed_sd: float | None = None
    unseen: float = 0.0

    @property
    def varies(self) -> bool:
        """Whether anything varied; where nothing did, `low` and `high` are no interval."""
        return self.standard_error != 0

    def turned(self) -> Contrast:
        """The same difference the other way round."""
        return replace(
            self,
            estimate=-self.estimate,
            low=-self.high,
            high=-self.low,
            low_90=-self.high_90,
            high_90=-self.low_90,
        )

    def is_equivalent(self, margin: float) -> bool:
        """Whether two one-sided tests at 5 % both say that the difference is smaller than the margin.

        Not where nothing varied: rows that are alike on every item do not say how unlike they could be. Nor
        where so few items could all miss a difference of the margin.
        """
        return self.can_show_equivalence(margin) and -margin < self.low_90 and self.high_90 < margin

    def can_show_equivalence(self, margin: float) -> bool:
        """Whether these seeds and items could show equivalence: the 90 % interval fits into the margin."""
        return 0 < (self.high_90 - self.low_90) / 2 < margin and self.unseen < margin

    def detectable(self, alpha: float = ALPHA) -> float | None:
        """The true difference that a two-sided test at `alpha` finds with 80 % power; None if unknown."""
        if not self.standard_error:
            return None
        return self.standard_error * standard_errors(self.df, alpha)


@dataclass(frozen=True)
class Parts:
    """Estimates and their variances' parts, each of the shape that is before [seeds, items].

    Attributes:
        seed_variance: of the seeds' mean differences, [...]; divided by the seeds it is the seeds' part.
        item_part: the items' part of the variance of the estimate.
        item_df: the smallest degrees of freedom in it; infinite where it is 0.
        constant: where nothing varies, over seeds or over items.
        signs: how many items (seeds, where items are not drawn) an estimate is over.
    """

    estimate: Floats
    seed_variance: Floats
    item_part: Floats
    item_df: Floats
    constant: NDArray[np.bool_]
    seeds: int
    signs: int


def variance_parts(tasks: Sequence[Floats], items_drawn: bool = True) -> Parts:
    """Mean over tasks of the tasks' means, and the parts of its variance.

    Args:
        tasks: differences, [..., seeds, items] each, at least two seeds and, where items are drawn, items.
        items_drawn: False where the values are one number per seed.

    Source:
        The crossed two-way layout without replication: E MS_item = var(rest) + seeds var(item), and
        E MS_rest = var(rest), where MS are mean squares. The seeds' part holds the rest's.
    """
    seeds, share = tasks[0].shape[-2], 1.0 / len(tasks)
    by_seed = share * np.sum([values.mean(axis=-1) for values in tasks], axis=0)
    variance = by_seed.var(axis=-1, ddof=1)
    item_part, rest = np.zeros(variance.shape), np.zeros(variance.shape)
    item_df = np.full(variance.shape, np.inf)
    for values in tasks if items_drawn else ():
        items = values.shape[-1]
        of_items = values.mean(axis=-2)
        ms_item = seeds * of_items.var(axis=-1, ddof=1)
        centred = values - of_items[..., None, :]
        of_seeds = items * np.square(centred.mean(axis=-1)).sum(axis=-1)
        of_rest = np.einsum("...si,...si->...", centred, centred) - of_seeds
        # Rounding may leave less than nothing.
        ms_rest = np.clip(of_rest, 0.0, None) / ((seeds - 1) * (items - 1))
        found = ms_item - ms_rest > NO_SPREAD * ms_item
        scale = share**2 / (seeds * items)
        item_part += np.where(found, scale * (ms_item - ms_rest), 0.0)
        item_df = np.where(found, np.minimum(item_df, items - 1.0), item_df)
        rest += share**2 * ms_rest / items
    # Right and wrong items make equal means by chance; what the rest alone adds to a mean is then the floor.
    equal = variance <= NO_SPREAD * rest
    return Parts(
        by_seed.mean(axis=-1),
        np.where(equal, rest, variance),
        item_part,
        item_df,
        constant=np.all([_is_constant(values) for values in tasks], axis=0),
        seeds=seeds,
        signs=sum(values.shape[-1] for values in tasks) if items_drawn else seeds,
    )


def unseen_difference(items: Sequence[int]) -> float:
    """The largest difference that lies on items of which all of these, drawn at random, miss every one.

    Rows that differ on a share q of a task's items agree on all n that were drawn with probability
    (1 - q)^n, which is 5 % where q is about 3 / n (the rule of three).

    Args:
        items: how many each task has.

    Returns:
        A difference of the mean over tasks, where right items count 1.
    """
    return max(float(-np.log(ALPHA)) / (len(items) * count) for count in items)


def _is_constant(values: Floats) -> NDArray[np.bool_]:
    """Whether all values over seeds and items are one value but for rounding."""
    of_all = values.reshape(*values.shape[:-2], -1)
    return np.asarray(np.ptp(of_all, axis=-1) <= NO_SPREAD * np.abs(of_all).max(axis=-1))


@dataclass(frozen=True)
class Inference:
    """What `infer` says, every field of one shape; see `Contrast`."""

    standard_error: Floats
    df: Floats
    low: Floats
    high: Floats
    low_90: Floats
    high_90: Floats
    p_value: Floats


def infer(parts: Parts) -> Inference:
    """Intervals and p values by the t distribution, with the degrees of freedom of its scarcest part.

    A sum of variances has at least the degrees of freedom of the least of its parts, which are nearly always
    the seeds' (S - 1). Satterthwaite's formula gives more where the seeds' variance happens to come out
    small, which is where the error is underestimated: with the variances of real stores it calls equal
    methods different too often (decision 28). Where nothing varies the difference is a constant: there is
    no interval (its ends are the constant), and p is that of a sign test over its items, 1 for 0.
    """
    from scipy.stats import t

    seed_part = np.where(parts.constant, 0.0, parts.seed_variance / parts.seeds)
    variance = seed_part + np.where(parts.constant, 0.0, parts.item_part)
    # Where items alone make a difference vary, and seeds nothing at all, the test is one of items.
    of_items = (parts.item_part > 0) & (seed_part <= NO_SPREAD * parts.item_part)
    df = np.where(of_items, parts.item_df, np.minimum(parts.seeds - 1.0, parts.item_df))
    error = np.sqrt(variance)
    size = np.divide(np.abs(parts.estimate), error, out=np.zeros_like(error), where=error > 0)
    of_signs = np.where(parts.estimate == 0, 1.0, 2.0 ** (1 - parts.signs))
    p_value = np.where(error > 0, 2 * t.sf(size, df), of_signs)
    half, half_90 = (error * t.ppf(1 - tail, df) for tail in (ALPHA / 2, ALPHA))
    ends = (parts.estimate - half, parts.estimate + half)
    ends_90 = (parts.estimate - half_90, parts.estimate + half_90)
    return Inference(error, df, *ends, *ends_90, p_value)


def contrast(difference: Sample) -> Contrast | None:
    """What the runs say about two methods.

    Args:
        difference: values of one row minus those of the other, paired by seed and item.

    Returns:
        None where nothing can be said of the methods: with one seed the difference is one of these trained
        students, and with one item of a task its items' spread is unknown.
    """
    tasks = difference.equally_weighted
    if difference.seeds < 2 or (difference.items_resampled and min(x.shape[1] for x in tasks) < 2):
        return None
    parts = variance_parts(tasks, difference.items_resampled)
    found = infer(parts)
    return Contrast(
        estimate=float(parts.estimate),
        standard_error=float(found.standard_error),
        df=float(found.df),
        low=float(found.low),
        high=float(found.high),
        low_90=float(found.low_90),
        high_90=float(found.high_90),
        p_value=float(found.p_value),
        seeds=difference.seeds,
        items=difference.items if difference.items_resampled else 0,
        seed_sd=float(difference.seed_means.std(ddof=1)),
        unseen=unseen_difference([x.shape[1] for x in tasks]) if difference.items_resampled else 0.0,
    )
