"""Intervals of single cells, as a picture of their spread: no verdict is made from them.

Uncertainty comes from two sides: which seeds were run and which items were asked. Both are resampled,
independently ("crossed"), and every row with the same draws.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from compact_bench.results.statistics.samples import Floats, Sample

REPLICATES = 2000
LEVEL = 0.95
SEED = 20260113
"""Of every resampling; a fixed number, so that the same records give the same report."""
MOST_SEED_DRAWS = 4000
"""Up to so many ways to draw the seeds, every way is taken equally often."""


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


@lru_cache(maxsize=64)
def _seed_draws(size: int, replicates: int) -> NDArray[np.int32]:
    """Draws of seeds, [at least `replicates`, size]: all of them, as often as needed, where they are few."""
    ways = size**size
    if ways > MOST_SEED_DRAWS:
        return _draws("seeds", size, replicates)
    every = np.stack(np.unravel_index(np.arange(ways), (size,) * size), axis=1).astype(np.int32)
    return np.tile(every, (-(-replicates // ways), 1))


def bootstrap_means(sample: Sample, replicates: int = REPLICATES) -> Floats:
    """Bootstrap replicates of a sample's value, [at least `replicates`]: seeds and items independently.

    Two samples of the same tasks and sizes are resampled alike. Few seeds are not drawn at random: each of
    the S^S draws stands equally often, which may take some more replicates.
    """
    seeds = _seed_draws(sample.seeds, replicates)
    total = np.zeros(len(seeds))
    for name, values in sample.tasks.items():
        if sample.items_resampled:
            drawn = _draws(f"items/{name}", values.shape[1], len(seeds))
            weights = sample.weights.get(name, np.ones(values.shape[1]))
            sums = np.stack([(row * weights)[drawn].sum(axis=1) for row in values], axis=1)
            by_seed = sums / weights[drawn].sum(axis=1)[:, None]
        else:
            by_seed = np.broadcast_to(values.mean(axis=1), (len(seeds), sample.seeds))
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
