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

from compact_bench.results.statistics.power import ALPHA, standard_errors
from compact_bench.results.statistics.priors import SeedVariance
from compact_bench.results.statistics.samples import Floats, Sample

NO_SPREAD = 1e-12
"""Share of the rest's variance below which equal seeds differ by rounding alone."""


@dataclass(frozen=True)
class Contrast:
    """A difference of two methods with what is known about it; all in the values' units.

    Attributes:
        standard_error: of the estimate, over seeds and items; None for a ratio, whose interval is lopsided.
        df: degrees of freedom of its t distribution (Satterthwaite's).
        low, high: 95 % interval.
        low_90, high_90: 90 % interval, which decides on equivalence.
        p_value: two-sided, of no difference; below 5 % exactly where the 95 % interval leaves out 0.
        seed_sd: standard deviation, over seeds, of the paired difference; None for a ratio.
        prior_df: degrees of freedom that moderation added to the seeds' variance (infinite where all rows
            vary alike); None where nothing was moderated.
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
    prior_df: float | None = None

    @property
    def moderated(self) -> bool:
        """Whether the variance over seeds was moderated by that of other rows."""
        return self.prior_df is not None

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

        Not where nothing varied: rows that are alike on every item do not say how unlike they could be.
        """
        return self.low_90 < self.high_90 and -margin < self.low_90 and self.high_90 < margin

    def can_show_equivalence(self, margin: float) -> bool:
        """Whether these seeds and items could show equivalence: the 90 % interval fits into the margin."""
        return 0 < (self.high_90 - self.low_90) / 2 < margin

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
        seed_df: its degrees of freedom.
        item_part: the items' part of the variance of the estimate.
        item_terms: Satterthwaite's sum over the mean squares in it: each part's square over its df.
    """

    estimate: Floats
    seed_variance: Floats
    seed_df: Floats
    item_part: Floats
    item_terms: Floats
    seeds: int


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
    df = np.full(variance.shape, seeds - 1.0)
    item_part, item_terms, rest, rest_terms = (np.zeros(variance.shape) for _ in range(4))
    for values in tasks if items_drawn else ():
        items = values.shape[-1]
        rest_df = (seeds - 1) * (items - 1)
        of_items = values.mean(axis=-2)
        ms_item = seeds * of_items.var(axis=-1, ddof=1)
        centred = values - of_items[..., None, :]
        of_seeds = items * np.square(centred.mean(axis=-1)).sum(axis=-1)
        of_rest = np.einsum("...si,...si->...", centred, centred) - of_seeds
        # Rounding may leave less than nothing.
        ms_rest = np.clip(of_rest, 0.0, None) / rest_df
        found = ms_item > ms_rest
        scale = share**2 / (seeds * items)
        item_part += np.where(found, scale * (ms_item - ms_rest), 0.0)
        terms = np.square(scale * ms_item) / (items - 1) + np.square(scale * ms_rest) / rest_df
        item_terms += np.where(found, terms, 0.0)
        rest += share**2 * ms_rest / items
        rest_terms += np.square(share**2 * ms_rest / items) / rest_df
    # Right and wrong items make equal means by chance; what the rest alone adds to a mean is then the floor.
    equal = variance <= NO_SPREAD * rest
    floor_df = np.divide(np.square(rest), rest_terms, out=df.copy(), where=rest_terms > 0)
    variance, df = np.where(equal, rest, variance), np.where(equal, floor_df, df)
    return Parts(by_seed.mean(axis=-1), variance, df, item_part, item_terms, seeds)


def moderate(parts: Parts, variance: Floats, df: Floats) -> Parts:
    """The same with moderated variances over seeds, [...], and their degrees of freedom."""
    return replace(parts, seed_variance=np.asarray(variance), seed_df=np.asarray(df))


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
    """Intervals and p values by the t distribution with Satterthwaite's degrees of freedom.

    Without any variance the difference is a constant: its interval is itself, and p is 1 for 0, else 0.
    """
    from scipy.stats import t

    seed_part = parts.seed_variance / parts.seeds
    variance = seed_part + parts.item_part
    terms = np.square(seed_part) / parts.seed_df + parts.item_terms
    df = np.divide(np.square(variance), terms, out=parts.seed_df.copy(), where=terms > 0)
    error = np.sqrt(variance)
    size = np.divide(np.abs(parts.estimate), error, out=np.zeros_like(error), where=error > 0)
    p_value = np.where(error > 0, 2 * t.sf(size, df), np.where(parts.estimate == 0, 1.0, 0.0))
    half, half_90 = (error * t.ppf(1 - tail, df) for tail in (ALPHA / 2, ALPHA))
    ends = (parts.estimate - half, parts.estimate + half)
    ends_90 = (parts.estimate - half_90, parts.estimate + half_90)
    return Inference(error, df, *ends, *ends_90, p_value)


def contrast(difference: Sample, moderated: SeedVariance | None = None) -> Contrast | None:
    """What the runs say about two methods.

    Args:
        difference: values of one row minus those of the other, paired by seed and item.
        moderated: the seeds' variance of this difference as other rows moderate it, below five seeds.

    Returns:
        None where nothing can be said of the methods: with one seed the difference is one of these trained
        students, and with one item of a task its items' spread is unknown.
    """
    tasks = difference.equally_weighted
    if difference.seeds < 2 or (difference.items_resampled and min(x.shape[1] for x in tasks) < 2):
        return None
    parts = variance_parts(tasks, difference.items_resampled)
    seed_sd = float(difference.seed_means.std(ddof=1))
    if moderated is not None:
        parts = moderate(parts, np.asarray(moderated.variance), np.asarray(moderated.df))
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
        seed_sd=seed_sd,
        prior_df=moderated.prior_df if moderated else None,
    )
