"""Means with intervals, and paired tests, for runs x items.

Uncertainty comes from two sides: which seeds were run and which items were asked. Both are resampled,
independently ("crossed"), and every method is resampled with the same draws, so that the interval of a
difference is the interval of the paired difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compact_bench.core.errors import DataError

Floats = NDArray[np.float64]
REPLICATES = 2000
PERMUTATIONS = 9999
LEVEL = 0.95
ALPHA = 0.05
POWER = 0.8
SEED = 20260113
"""Of every resampling; a fixed number, so that the same records give the same report."""


@dataclass(frozen=True)
class Sample:
    """Measured values of one row: for every task, a matrix of seeds by items.

    Attributes:
        tasks: task name -> array [seeds, items]; the same seeds, in the same order, in every task. The
            value of a sample is the mean over tasks of the task's mean.
        items_resampled: False where one value per seed is all there is.
        weights: task name -> weight of each item in the task's mean, [items] (tokens of a passage); a task
            that is not here weighs its items alike.
    """

    tasks: Mapping[str, Floats]
    items_resampled: bool = True
    weights: Mapping[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = {name: values.shape for name, values in self.tasks.items()}
        wrong = [name for name, shape in shapes.items() if len(shape) != 2 or 0 in shape]
        if wrong or not shapes or len({shape[0] for shape in shapes.values()}) != 1:
            raise DataError(f"expected one [seeds, items] matrix per task with the same seeds, got {shapes}")

    @property
    def seeds(self) -> int:
        """How many seeds."""
        return int(next(iter(self.tasks.values())).shape[0])

    @property
    def items(self) -> int:
        """How many items, over all tasks."""
        return sum(int(values.shape[1]) for values in self.tasks.values())

    @property
    def seed_means(self) -> Floats:
        """Value of each seed, [seeds]."""
        means = [np.average(x, axis=1, weights=self.weights.get(name)) for name, x in self.tasks.items()]
        return np.asarray(np.mean(means, axis=0))

    def minus(self, other: Sample) -> Sample:
        """The paired difference, task by task; both need the same tasks, seeds and items."""
        return Sample(
            {name: values - other.tasks[name] for name, values in self.tasks.items()},
            self.items_resampled and other.items_resampled,
            self.weights,
        )


@dataclass(frozen=True)
class Estimate:
    """A mean and what is known about its uncertainty.

    Attributes:
        low, high: 95 % percentile interval; None where nothing could be resampled.
        seed_sd: standard deviation over seeds (n - 1); None with one seed.
    """

    mean: float
    low: float | None
    high: float | None
    seed_sd: float | None
    seeds: int
    items: int


@lru_cache(maxsize=64)
def _draws(axis: str, size: int, replicates: int) -> NDArray[np.int32]:
    # The axis' name and size decide the draws, never the method: that is what pairs methods.
    digest = hashlib.sha256(f"{SEED}/{axis}/{size}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return generator.integers(0, size, size=(replicates, size), dtype=np.int32)


def bootstrap_means(sample: Sample, replicates: int = REPLICATES) -> Floats:
    """Bootstrap replicates of a sample's value, [replicates], seeds and items resampled independently.

    Two samples of the same tasks and sizes are resampled alike.
    """
    seeds = _draws("seeds", sample.seeds, replicates)
    total = np.zeros(replicates)
    for name, values in sample.tasks.items():
        if sample.items_resampled:
            drawn = _draws(f"items/{name}", values.shape[1], replicates)
            weights = sample.weights.get(name, np.ones(values.shape[1]))
            sums = np.stack([(row * weights)[drawn].sum(axis=1) for row in values], axis=1)
            by_seed = sums / weights[drawn].sum(axis=1)[:, None]
        else:
            by_seed = np.broadcast_to(values.mean(axis=1), (replicates, sample.seeds))
        total += np.take_along_axis(by_seed, seeds, axis=1).mean(axis=1)
    return total / len(sample.tasks)


def interval(replicates: Floats) -> tuple[float, float]:
    """Percentile interval of bootstrap replicates, [replicates]; `LEVEL` is the share of them inside."""
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(replicates, [tail, 1.0 - tail])
    return float(low), float(high)


def estimate(sample: Sample, replicates: int = REPLICATES) -> Estimate:
    """Mean, 95 % interval and standard deviation over seeds.

    With one seed the interval is over items only; with neither two seeds nor two items there is none.
    """
    means = sample.seed_means
    by_items = sample.items_resampled and any(v.shape[1] > 1 for v in sample.tasks.values())
    resampled = by_items or sample.seeds > 1
    low, high = interval(bootstrap_means(sample, replicates)) if resampled else (None, None)
    seed_sd = float(means.std(ddof=1)) if sample.seeds > 1 else None
    return Estimate(float(means.mean()), low, high, seed_sd, sample.seeds, sample.items)


def permutation_p_value(difference: Sample, resamples: int = PERMUTATIONS) -> float:
    """Two-sided p value of a paired permutation test over items: signs of the seed-averaged differences flip.

    Args:
        difference: values of one row minus those of the other.
        resamples: random sign flips; all of them are tried where there are no more than that.

    Returns:
        p in (0, 1]; 1 when no item differs.
    """
    tasks = difference.tasks.values()
    flips = np.concatenate([values.mean(axis=0) / (values.shape[1] * len(tasks)) for values in tasks])
    # Flipping a zero changes nothing, so such items cost time and no more.
    flips = flips[flips != 0.0]
    if flips.size == 0:
        return 1.0
    exact = flips.size < np.log2(resamples + 1)
    return _p_of_all_flips(flips) if exact else _p_of_random_flips(flips, resamples)


def _p_of_all_flips(flips: Floats) -> float:
    from scipy.stats import permutation_test

    # scipy wants two observations.
    values = flips if flips.size > 1 else np.append(flips, 0.0)
    result = permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    return float(result.pvalue)


def _p_of_random_flips(flips: Floats, resamples: int) -> float:
    from scipy.stats import monte_carlo_test

    # Items are right or wrong, so few sizes occur; the signs of n items of one size add up to a binomial.
    # Rounding makes those one that differ in the last bits alone; the unit does not change p.
    relative = np.round(np.abs(flips) / np.abs(flips).max(), 12)
    sizes, group, counts = np.unique(relative, return_inverse=True, return_counts=True)
    generator = np.random.default_rng(SEED)

    def size_of_total(values: Floats, axis: int) -> Any:
        # Two-sided, and the same for A minus B as for B minus A under the same draws.
        return np.abs(values.sum(axis=axis))

    def draw(size: tuple[int, ...]) -> Floats:
        heads = generator.binomial(counts, 0.5, size=size)
        return np.asarray(sizes * (2.0 * heads - counts))

    observed = sizes * np.bincount(group, weights=np.sign(flips))
    settings = {"vectorized": True, "n_resamples": resamples, "batch": max(1, 2_000_000 // sizes.size)}
    result = monte_carlo_test(observed, draw, size_of_total, alternative="greater", **settings)
    return float(result.pvalue)


@dataclass(frozen=True)
class Precision:
    """How small a difference the paired test over items can detect, given the seeds that were run.

    Attributes:
        standard_error: of the mean of task means of the seed-averaged item differences; items are drawn
            within their task.
        items: how many items, over all tasks.
    """

    standard_error: float
    items: int

    def detectable(self, alpha: float = ALPHA) -> float | None:
        """The true difference, in the values' units, that a two-sided test at `alpha` finds with `POWER`.

        By the normal approximation. None where no difference can be found: the items are so few that even
        the smallest p value of the permutation test is not below `alpha`, or none of them differs, so that
        their spread is unknown.
        """
        if self.standard_error == 0.0 or max(2.0 ** (1 - self.items), 1 / (PERMUTATIONS + 1)) >= alpha:
            return None
        return self.standard_error * _standard_errors(alpha)


@lru_cache(maxsize=256)
def _standard_errors(alpha: float) -> float:
    from statsmodels.stats.power import NormalIndPower

    # One observation of standard deviation 1 has the standard error 1; ratio 0 is the one-sample test.
    return float(NormalIndPower().solve_power(nobs1=1, alpha=alpha, power=POWER, ratio=0))


def precision(difference: Sample) -> Precision | None:
    """How precisely a paired difference is measured.

    None where some task has one item only, so that its items' spread is unknown.
    """
    averaged = [values.mean(axis=0) for values in difference.tasks.values()]
    if min(values.size for values in averaged) < 2:
        return None
    variances = [values.var(ddof=1) / values.size for values in averaged]
    return Precision(float(np.sqrt(np.sum(variances)) / len(averaged)), difference.items)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-corrected p values of one family, in the same order."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]
