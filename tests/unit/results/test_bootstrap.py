"""Intervals of cells against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from compact_bench.core.errors import DataError
from compact_bench.results.statistics.bootstrap import bootstrap_means, estimate, interval
from compact_bench.results.statistics.samples import Sample


def one_task(values: object, **more: object) -> Sample:
    return Sample({"task": np.atleast_2d(np.array(values, dtype=np.float64))}, **more)  # type: ignore[arg-type]


def test_items_only_interval_is_the_analytic_one() -> None:
    values = (np.arange(400) % 4 == 0).astype(float)
    found = estimate(one_task(values), replicates=4000)
    spread = norm.ppf(0.975) * np.sqrt(0.25 * 0.75 / 400)
    assert found.mean == 0.25
    assert found.seed_sd is None
    assert found.low == pytest.approx(0.25 - spread, abs=0.005)
    assert found.high == pytest.approx(0.25 + spread, abs=0.005)


def test_variance_of_the_crossed_bootstrap_has_its_known_parts() -> None:
    """For x = a_seed + b_item the replicates' variance is var(a)/S + var(b)/n (population variances)."""
    generator = np.random.default_rng(5)
    seeds, items = generator.normal(size=6), generator.normal(size=50)
    sample = one_task(seeds[:, None] + items[None, :])
    expected = seeds.var() / 6 + items.var() / 50
    assert bootstrap_means(sample, 20000).var() == pytest.approx(expected, rel=0.05)
    assert (estimate(sample).low, estimate(sample).high) == interval(bootstrap_means(sample))
    assert estimate(sample).seed_sd == pytest.approx(seeds.std(ddof=1))


def test_seeds_only_and_nothing_to_resample() -> None:
    found = estimate(one_task([[1.0], [2.0], [3.0]], items_resampled=False))
    assert found.low is not None and 1.0 <= found.low < 2.0
    single = estimate(one_task([[1.5]], items_resampled=False))
    assert (single.mean, single.low, single.high, single.seed_sd) == (1.5, None, None, None)


def test_every_method_gets_the_same_draws() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random((3, 30)), generator.random((3, 30))
    difference = bootstrap_means(one_task(a)) - bootstrap_means(one_task(b))
    np.testing.assert_allclose(bootstrap_means(one_task(a - b)), difference, atol=1e-12)
    # The same items moved by a constant: the paired difference is known exactly.
    moved = one_task(a + 0.25).minus(one_task(a))
    assert interval(bootstrap_means(moved)) == pytest.approx((0.25, 0.25))


def test_tasks_weigh_alike_whatever_their_size() -> None:
    sample = Sample({"small": np.array([[1.0, 0.0]]), "large": np.zeros((1, 98))})
    assert estimate(sample).mean == 0.25
    assert estimate(sample).items == 100


def test_weighted_items_give_the_weighted_mean() -> None:
    weights = {"task": np.array([1.0, 3.0])}
    found = estimate(one_task([[0.0, 1.0]], weights=weights))
    assert found.mean == 0.75
    assert (found.low, found.high) == (0.0, 1.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=2, max_size=12))
def test_the_interval_lies_within_the_values_and_repeats(values: list[float]) -> None:
    found = estimate(one_task(values), replicates=200)
    assert found.low is not None and found.high is not None
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found == estimate(one_task(values), replicates=200)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,)])
def test_an_empty_or_flat_matrix_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="expected one"):
        Sample({"task": np.zeros(shape)})
    with pytest.raises(DataError, match="same seeds"):
        Sample({"a": np.zeros((1, 2)), "b": np.zeros((2, 2))})


def test_few_seeds_are_drawn_in_every_way_equally_often() -> None:
    """The replicates of values per seed are then the exact bootstrap distribution: 1, 2, 4 give 27 means."""
    sample = one_task([[1.0], [2.0], [4.0]], items_resampled=False)
    found, counts = np.unique(np.round(bootstrap_means(sample), 9), return_counts=True)
    every = np.array([(a + b + c) / 3 for a in (1, 2, 4) for b in (1, 2, 4) for c in (1, 2, 4)])
    expected, ways = np.unique(np.round(every, 9), return_counts=True)
    np.testing.assert_allclose(found, expected)
    assert (counts * 27 == ways * counts.sum()).all() and counts.sum() >= 2000
    assert bootstrap_means(sample).mean() == pytest.approx(7 / 3)
    # Six seeds have 46,656 draws, so that they are drawn at random.
    assert len(bootstrap_means(one_task(np.arange(6.0)[:, None], items_resampled=False))) == 2000
