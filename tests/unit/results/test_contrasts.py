"""The difference of two methods: variance, degrees of freedom, p, equivalence, power."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from compact_bench.results.statistics.contrasts import (
    Contrast,
    contrast,
    infer,
    unseen_difference,
    variance_parts,
)
from compact_bench.results.statistics.power import standard_errors
from compact_bench.results.statistics.samples import Floats, Sample


def one_task(values: object, **more: object) -> Sample:
    return Sample({"task": np.array(values, dtype=np.float64)}, **more)  # type: ignore[arg-type]


def found_in(sample: Sample) -> Contrast:
    found = contrast(sample)
    assert found is not None
    return found


def test_two_seeds_and_two_items_by_hand() -> None:
    """Seeds' means 6 and 6, items' means 3 and 9, so that the rest is 1, -1, -1, 1.

    MS_seed = 0, so the rest, MS 4, stands for it: 4/2 per seed mean. MS_item = 2 * 18 = 36.
    """
    found = found_in(one_task([[4, 8], [2, 10]]))
    rest, items = 4 / (2 * 2), (36 - 4) / (2 * 2)
    assert found.estimate == 6
    assert found.standard_error == pytest.approx(math.sqrt(rest + items))
    assert found.df == 1
    assert found.p_value == pytest.approx(2 * stats.t.sf(2.0, 1))
    assert found.seed_sd == 0


def test_three_seeds_and_four_items_against_sums_of_squares_written_out() -> None:
    values = np.array([[1, 0, 0, 1], [1, 1, -1, 1], [0, 0, 0, 1]], dtype=float)
    values[:, 3] += 2.0
    seeds, items = values.shape
    grand = values.mean()
    ss_seed = sum(items * (values[s].mean() - grand) ** 2 for s in range(seeds))
    ss_item = sum(seeds * (values[:, i].mean() - grand) ** 2 for i in range(items))
    ss_all = sum((values[s, i] - grand) ** 2 for s in range(seeds) for i in range(items))
    ms_seed, ms_item = ss_seed / (seeds - 1), ss_item / (items - 1)
    rest_df = (seeds - 1) * (items - 1)
    ms_rest = (ss_all - ss_seed - ss_item) / rest_df
    assert ms_item > ms_rest
    count = seeds * items
    variance = (ms_seed + ms_item - ms_rest) / count
    df = seeds - 1
    found = found_in(one_task(values))
    assert (found.standard_error, found.df) == (pytest.approx(math.sqrt(variance)), pytest.approx(df))
    half = stats.t.ppf(0.975, df) * math.sqrt(variance)
    assert (found.low, found.high) == (pytest.approx(grand - half), pytest.approx(grand + half))
    half = stats.t.ppf(0.95, df) * math.sqrt(variance)
    assert (found.low_90, found.high_90) == (pytest.approx(grand - half), pytest.approx(grand + half))


def test_the_mean_squares_are_those_of_an_analysis_of_variance() -> None:
    """Against statsmodels' type II table of the two-way layout without interaction."""
    import pandas
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    generator = np.random.default_rng(2)
    values = generator.normal(size=(6, 15)) + generator.normal(size=(6, 1)) + generator.normal(size=(1, 15))
    rows = [(v, s, i) for (s, i), v in np.ndenumerate(values)]
    table = anova_lm(ols("y ~ C(s) + C(i)", pandas.DataFrame(rows, columns=["y", "s", "i"])).fit(), typ=2)
    squares = table["sum_sq"] / table["df"]
    count = values.size
    found = found_in(one_task(values))
    expected = (squares["C(s)"] + max(0.0, squares["C(i)"] - squares["Residual"])) / count
    assert found.standard_error == pytest.approx(math.sqrt(expected))


def test_the_standard_error_is_that_of_a_mixed_model() -> None:
    """REML of a balanced crossed layout has the closed form; statsmodels' MixedLM finds it by iteration."""
    import pandas
    from statsmodels.regression.mixed_linear_model import MixedLM

    generator = np.random.default_rng(7)
    values = generator.normal(size=(8, 20)) + generator.normal(size=(8, 1)) + generator.normal(size=(1, 20))
    rows = [(v, s, i, 1) for (s, i), v in np.ndenumerate(values)]
    data = pandas.DataFrame(rows, columns=["y", "s", "i", "one"])
    model = MixedLM.from_formula(
        "y ~ 1", groups="one", vc_formula={"seed": "0 + C(s)", "item": "0 + C(i)"}, re_formula="0", data=data
    )
    error = model.fit(reml=True).bse["Intercept"]
    assert found_in(one_task(values)).standard_error == pytest.approx(float(error), rel=0.01)


def test_tasks_share_the_students_and_not_the_items() -> None:
    """The same seeds' effects in two tasks do not average out; those of items do."""
    generator = np.random.default_rng(3)
    seeds = generator.normal(size=(7, 1))
    shared = {name: seeds + np.zeros((7, 9)) for name in "ab"}
    one = found_in(Sample({"a": shared["a"]}))
    assert found_in(Sample(shared)).standard_error == pytest.approx(one.standard_error)
    items = {name: generator.normal(size=(1, 9)) + np.zeros((7, 9)) for name in "ab"}
    parts = [found_in(Sample({name: values})).standard_error or 0.0 for name, values in items.items()]
    both = found_in(Sample(items))
    assert both.standard_error == pytest.approx(math.hypot(*parts) / 2)
    # Without any spread over seeds the test is one of items, so that its degrees of freedom are theirs.
    assert both.df == 8


def test_values_per_seed_alone_are_a_t_test() -> None:
    values = np.array([0.3, -0.1, 0.4, 0.5])
    found, expected = found_in(one_task(values[:, None], items_resampled=False)), stats.ttest_1samp(values, 0)
    interval = expected.confidence_interval(0.95)
    assert found.p_value == pytest.approx(expected.pvalue) and found.df == 3 and found.items == 0
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_weighted_items_are_a_ratio() -> None:
    """Equal weights change nothing; with others the estimate is the weighted mean, its error the ratio's."""
    generator = np.random.default_rng(4)
    values, weights = generator.normal(size=(5, 400)), generator.integers(1, 9, size=400).astype(float)
    plain = found_in(one_task(values))
    alike = found_in(one_task(values, weights={"task": np.full(400, 3.0)}))
    assert dataclasses.astuple(alike)[:-1] == pytest.approx(dataclasses.astuple(plain)[:-1])
    found = found_in(one_task(values, weights={"task": weights}))
    assert found.estimate == pytest.approx(np.average(values, axis=1, weights=weights).mean())
    # Of a constant plus a seed's effect no weights can make a spread over items.
    constant = np.arange(5.0)[:, None] + np.zeros((5, 400))
    one = found_in(one_task(constant, weights={"task": weights}))
    assert one.standard_error == pytest.approx(found_in(one_task(constant)).standard_error)
    # The bootstrap of items and their weights together agrees.
    tiled = one_task(np.tile(generator.normal(size=400), (5, 1)), weights={"task": weights})
    draws = generator.integers(0, 400, size=(4000, 400))
    means = (tiled.tasks["task"][0] * weights)[draws].sum(1) / weights[draws].sum(1)
    assert found_in(tiled).standard_error == pytest.approx(means.std(), rel=0.05)


def test_too_little_says_nothing_of_the_methods() -> None:
    assert contrast(one_task([[0.0, 1.0, 1.0]])) is None, "one seed"
    assert contrast(one_task([[0.0], [1.0]])) is None, "one item"
    assert contrast(Sample({"a": np.zeros((2, 5)), "b": np.zeros((2, 1))})) is None
    assert contrast(one_task([[0.5]], items_resampled=False)) is None


def test_nothing_that_varies_gives_the_difference_itself() -> None:
    same = found_in(one_task(np.zeros((3, 5))))
    assert (same.estimate, same.low, same.high, same.p_value, same.detectable()) == (0, 0, 0, 1, None)
    assert not same.is_equivalent(0.05) and not same.can_show_equivalence(0.05)
    other = found_in(one_task(np.ones((3, 5))))
    assert not same.varies and not other.varies
    assert other.p_value == 2**-4, "five items of one sign"
    assert found_in(one_task(np.ones((3, 1)), items_resampled=False)).p_value == 2**-2, "three seeds"


def test_equal_seeds_that_differ_in_their_items_are_no_certainty() -> None:
    """Both seeds are 3 of 100 below, on other items; a t test would be certain."""
    values = np.zeros((2, 100))
    values[0, :3] = values[1, 3:6] = -1.0
    found = found_in(one_task(values))
    assert found.seed_sd == 0 and found.estimate == -0.03
    expected = math.sqrt(0.03 * 0.97 / 99 / 2)
    assert found.standard_error == pytest.approx(expected, rel=0.05) and found.p_value > 0.01


binary = arrays(np.int8, st.tuples(st.integers(2, 6), st.integers(2, 12)), elements=st.integers(-1, 1))


@settings(max_examples=150, deadline=None)
@given(binary, st.data())
def test_no_number_is_missing_and_the_sides_can_be_swapped(values: Floats, data: st.DataObject) -> None:
    other = data.draw(arrays(np.int8, (len(values), 3), elements=st.integers(-1, 1)))
    tasks = {"a": values.astype(float), "b": other.astype(float)}
    found = found_in(Sample(tasks))
    numbers = [v for v in dataclasses.asdict(found).values() if v is not None]
    assert np.isfinite(numbers).all() and found.df > 0 and 0 <= found.p_value <= 1
    assert found.low <= found.low_90 <= found.estimate <= found.high_90 <= found.high
    swapped = found_in(Sample({name: -x for name, x in tasks.items()}))
    assert dataclasses.astuple(swapped.turned()) == pytest.approx(dataclasses.astuple(found))
    if found.standard_error and abs(found.p_value - 0.05) > 1e-9:
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


def test_many_tables_at_once_are_the_tables_one_by_one() -> None:
    generator = np.random.default_rng(1)
    tasks = [generator.integers(-1, 2, size=(4, 3, 5, 8)).astype(float), generator.normal(size=(4, 3, 5, 6))]
    tasks[0][0, 0] = 0.0
    every = infer(variance_parts(tasks))
    for place in np.ndindex(4, 3):
        one = found_in(Sample({str(n): task[place] for n, task in enumerate(tasks)}))
        assert (every.p_value[place], every.df[place]) == (pytest.approx(one.p_value), pytest.approx(one.df))
        assert (every.low[place], every.high_90[place]) == (
            pytest.approx(one.low),
            pytest.approx(one.high_90),
        )


def test_equivalence_is_two_one_sided_tests() -> None:
    """Against statsmodels' paired TOST, on values per seed."""
    from statsmodels.stats.weightstats import DescrStatsW

    generator = np.random.default_rng(9)
    for shift in (0.0, 0.02, 0.05):
        values = generator.normal(shift, 0.03, size=12)
        found = found_in(one_task(values[:, None], items_resampled=False))
        p_value = DescrStatsW(values).ttost_mean(-0.03, 0.03)[0]
        assert found.is_equivalent(0.03) == (p_value < 0.05)
    assert found.can_show_equivalence(0.03) and not found.can_show_equivalence(0.01)


def test_the_detectable_difference_has_the_power_it_claims() -> None:
    """By the noncentral t distribution of scipy, at degrees of freedom that are no whole number."""
    for df, alpha in ((2.0, 0.05), (7.3, 0.05), (25.0, 0.05 / 12)):
        effect, critical = standard_errors(df, alpha), stats.t.ppf(1 - alpha / 2, df)
        power = stats.nct.sf(critical, df, effect) + stats.nct.cdf(-critical, df, effect)
        assert power == pytest.approx(0.8, abs=1e-4)
    found = found_in(one_task(np.random.default_rng(1).normal(size=(5, 30))))
    assert found.detectable() == pytest.approx((found.standard_error or 0) * standard_errors(found.df))


def test_rows_alike_on_every_item_have_no_interval() -> None:
    found = found_in(one_task(np.zeros((2, 20))))
    assert not found.varies and found.p_value == 1
    assert not found.is_equivalent(0.05) and not found.can_show_equivalence(0.05)
    assert found.detectable() is None


def test_few_items_cannot_say_equivalent() -> None:
    """Of 20 items all may miss a difference of 5 pp; of 80 hardly."""
    for items, can in ((20, False), (80, True)):
        values = np.zeros((4, items))
        values[0, 0] = 1.0
        found = found_in(one_task(values))
        assert found.low_90 > -0.05 and found.high_90 < 0.05
        assert found.is_equivalent(0.05) == found.can_show_equivalence(0.05) == can
    assert unseen_difference([20]) == pytest.approx(-math.log(0.05) / 20)
    assert (1 - unseen_difference([100])) ** 100 == pytest.approx(0.05, rel=0.06)
    assert unseen_difference([20, 200]) == unseen_difference([40]), "a mean of two tasks moves half as much"


def test_rounding_is_no_variance_of_items() -> None:
    """Equal mean squares of items and rest, but for the last digit: such a part must not set df."""
    values = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]) * 0.1 + 0.3
    found = variance_parts([values, values[:, ::-1]])
    assert found.item_part == 0 and np.isinf(found.item_df)


@settings(max_examples=100, deadline=None)
@given(binary)
def test_the_degrees_of_freedom_are_those_of_the_scarcest_part(values: Floats) -> None:
    """Whatever the sizes of the parts: a variance over seeds that came out small must not lend trust."""
    seeds, items = values.shape
    found = infer(variance_parts([values.astype(float)]))
    assert found.df in (seeds - 1, items - 1) and found.df <= max(seeds - 1, items - 1)
    by_seed = values.mean(axis=1)
    if by_seed.std() > 1e-9:
        assert found.df <= seeds - 1
