"""Intervals and tests against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, permutation_test

from compact_bench.core.errors import DataError
from compact_bench.results.stats import (
    Floats,
    Precision,
    Sample,
    bootstrap_means,
    estimate,
    holm,
    interval,
    permutation_p_value,
    precision,
)

scores = st.lists(st.floats(-3, 3), min_size=1, max_size=12)


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


def test_the_permutation_test_of_signs_is_the_sign_test() -> None:
    """With differences of one size all 2^n flips are tried, and p is the binomial's."""
    values = [1.0] * 9 + [-1.0] * 2 + [0.0] * 5
    expected = binomtest(9, 11, 0.5).pvalue
    assert permutation_p_value(one_task(values)) == pytest.approx(expected)


def test_the_permutation_test_averages_over_seeds_first() -> None:
    opposite = one_task([[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]])
    assert permutation_p_value(opposite) == 1.0
    assert permutation_p_value(one_task([[1.0] * 12, [0.0] * 12])) == pytest.approx(2 / 2**12)


@settings(max_examples=20, deadline=None)
@given(scores)
def test_p_values_are_symmetric_and_in_range(values: list[float]) -> None:
    p = permutation_p_value(one_task(values), resamples=200)
    assert 0.0 < p <= 1.0
    assert permutation_p_value(one_task([-v for v in values]), resamples=200) == pytest.approx(p)


def test_random_flips_agree_with_the_normal_approximation() -> None:
    values = np.random.default_rng(3).normal(0.08, 1.0, size=600)
    z = values.sum() / np.sqrt((values**2).sum())
    assert permutation_p_value(one_task(values)) == pytest.approx(2 * norm.sf(abs(z)), abs=0.015)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@settings(max_examples=12, deadline=None)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=10))
def test_holm_never_lowers_and_keeps_the_order(values: list[float]) -> None:
    corrected = holm(values)
    assert all(c >= v - 1e-12 for c, v in zip(corrected, values, strict=True))
    assert all(c <= min(1.0, len(values) * v) + 1e-9 for c, v in zip(corrected, values, strict=True))
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= -1e-12).all()


def test_the_detectable_difference_of_one_task_by_hand() -> None:
    """Half the items differ by 1: standard deviation sqrt(n/(n-1))/2, and 2.8016 standard errors of it."""
    found = precision(one_task([0.0, 1.0] * 200))
    assert found is not None and found.items == 400
    assert found.standard_error == pytest.approx(0.5 * np.sqrt(400 / 399) / 20)
    constant = norm.ppf(0.975) + norm.ppf(0.8)
    assert found.detectable() == pytest.approx(constant * found.standard_error, rel=1e-5)
    strict = norm.ppf(1 - 0.05 / 45 / 2) + norm.ppf(0.8)
    assert found.detectable(0.05 / 45) == pytest.approx(strict * found.standard_error, rel=1e-5)


def test_the_standard_error_averages_seeds_and_stratifies_items_by_task() -> None:
    generator = np.random.default_rng(8)
    a, b = generator.normal(size=(3, 50)), 5.0 + 2.0 * generator.normal(size=(3, 20))
    found = precision(Sample({"a": a, "b": b}))
    expected = np.sqrt(a.mean(axis=0).var(ddof=1) / 50 + b.mean(axis=0).var(ddof=1) / 20) / 2
    assert found is not None and found.standard_error == pytest.approx(expected)
    # That the tasks' means lie apart is no uncertainty of the mean of task means.
    moved = precision(Sample({"a": a + 100.0, "b": b}))
    assert moved is not None and moved.standard_error == pytest.approx(expected)


def test_nothing_is_detectable_where_no_p_value_could_be_small_enough() -> None:
    assert Precision(0.1, 5).detectable() is None, "five flips give p of at least 1/16"
    assert Precision(0.1, 6).detectable() is not None
    assert Precision(0.1, 6).detectable(0.05 / 45) is None
    assert Precision(0.1, 5000).detectable(0.00005) is None, "fewer than one of the random flips"
    assert Precision(0.0, 500).detectable() is None
    assert precision(Sample({"a": np.zeros((2, 5)), "b": np.zeros((2, 1))})) is None


def test_the_detectable_difference_is_found_with_the_power_it_claims() -> None:
    """Brute force: two rows of right and wrong items, two tasks, a true difference of the detectable size."""
    generator = np.random.default_rng(20)
    sizes, seeds, trials = {"a": 120, "b": 60}, 2, 600

    def difference(effect: float) -> Sample:
        def row(chance: float, size: int) -> Floats:
            return (generator.random((seeds, size)) < chance).astype(np.float64)

        return Sample(
            {n: row(0.5 + effect / 2, size) - row(0.5 - effect / 2, size) for n, size in sizes.items()}
        )

    # Of one table the standard error is a few percent off; what is tested is the rule, not one table's luck.
    planned = [found for _ in range(50) if (found := precision(difference(0.0)))]
    effect = np.mean([found.detectable() for found in planned])
    assert effect == pytest.approx(0.11, abs=0.005)
    found = np.mean([permutation_p_value(difference(effect), 499) < 0.05 for _ in range(trials)])
    none = np.mean([permutation_p_value(difference(0.0), 499) < 0.05 for _ in range(trials)])
    # Three standard errors of a share of so many trials.
    assert found == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / trials))
    assert none == pytest.approx(0.05, abs=3 * np.sqrt(0.0475 / trials))


def test_many_flips_agree_with_flipping_every_item_by_itself() -> None:
    """Against scipy's own paired permutation test, on sizes that repeat and on sizes that do not."""
    generator = np.random.default_rng(4)
    for values in (
        generator.choice([-1.0, 0.0, 1.0], p=[0.2, 0.5, 0.3], size=200),
        generator.normal(0.1, 1, 80),
    ):
        slow = permutation_test(
            (values,),
            lambda x, axis: x.sum(axis=axis),
            permutation_type="samples",
            n_resamples=20000,
            vectorized=True,
            rng=np.random.default_rng(1),
        )
        assert permutation_p_value(one_task(values), 20000) == pytest.approx(slow.pvalue, abs=0.015)
