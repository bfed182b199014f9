"""The simulation of equal methods: it has the variances it was given, and the rule holds its level on it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import binomtest, multivariate_normal, norm

from compact_bench.core.errors import DataError
from compact_bench.results.statistics.calibration import Calibration, Plan, Rate, _Model, calibrate
from compact_bench.results.statistics.samples import Floats, Sample
from compact_bench.results.statistics.structure import Structure, latent_correlation, structure_of

PLAN = Plan(primary=(1, 2), primary_groups=("known", "new"), margin=0.05, difference=0.2)


def shape(rows: int = 5, items: int = 30, seed_sd: float = 0.05) -> Structure:
    """Two groups of two tasks; rows vary over seeds between half and twice `seed_sd`."""
    sds = seed_sd * np.linspace(0.5, 2.0, rows)[:, None] * np.ones(4)
    correlation = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    return Structure(
        rows=tuple(f"row{n}" for n in range(rows)),
        groups={"known": (0, 1), "new": (2, 3)},
        tasks=("a", "b", "c", "d"),
        items=(items,) * 4,
        means=np.array([0.5, 0.7, 0.3, 0.85]),
        seed_variance=sds**2,
        item_variance=np.full((rows, 4), 0.04),
        shared_item_variance=np.full(4, 0.03),
        correlation=correlation,
        seeds=5,
    )


def unlike() -> Structure:
    """Rows of which some hardly vary over seeds, and some find a strategy or do not."""
    spreads = np.array([0.005, 0.02, 0.08, 0.2, 0.39])
    return dataclasses.replace(shape(), seed_variance=np.tile(spreads[:, None] ** 2, (1, 4)))


def drawn(structure: Structure, tables: int, seeds: int) -> list[dict[str, dict[str, Sample]]]:
    """Simulated tables as the samples that a store would give."""
    model = _Model.of(structure, (0.0, 0.05, 0.2))
    groups = dict(model.draw(np.random.default_rng(1), tables, seeds))
    return [
        {
            row: {
                group: Sample({str(n): task[table, place] for n, task in enumerate(tasks)})
                for group, tasks in groups.items()
            }
            for place, row in enumerate(structure.rows)
        }
        for table in range(tables)
    ]


def test_the_latent_correlation_gives_the_covariance_back() -> None:
    """Against scipy's bivariate normal distribution."""
    for z, r in ((0.0, 0.3), (1.2, 0.6), (-0.7, 0.1)):
        both = multivariate_normal.cdf([z, z], cov=[[1, r], [r, 1]])
        covariance = np.array([[both - norm.cdf(z) ** 2]])
        assert latent_correlation(covariance, np.array([z]))[0, 0] == pytest.approx(r, abs=1e-3)
    assert latent_correlation(np.array([[0.0, 1.0]]), np.zeros(2)).tolist() == [[0.0, 1.0]]


def test_the_structure_of_simulated_tables_is_what_was_asked_for() -> None:
    """Means of the estimates over many tables, of which few are cut off at 0."""
    structure = shape(rows=3, items=60, seed_sd=0.1)
    found = [structure_of(table) for table in drawn(structure, 60, 8)]

    def mean(name: str) -> Floats:
        return np.asarray(np.mean([getattr(one, name) for one in found], axis=0))

    assert mean("means") == pytest.approx(structure.means, abs=0.02)
    assert mean("seed_variance") == pytest.approx(structure.seed_variance, rel=0.25, abs=2e-3)
    # Where seeds and items together leave too little to chance, both shrink a bit.
    assert mean("item_variance") == pytest.approx(structure.item_variance, rel=0.25)
    assert mean("shared_item_variance") == pytest.approx(structure.shared_item_variance, rel=0.25)
    assert mean("correlation")[0, 1:] == pytest.approx(0.5, abs=0.15)
    assert found[0].groups == {"known": (0, 1), "new": (2, 3)} and found[0].items == (60,) * 4


def test_rows_that_cannot_tell_how_they_vary_are_refused() -> None:
    def row(seeds: int = 2, items: int = 3, value: float = 1.0) -> dict[str, Sample]:
        return {"known": Sample({"a": np.full((seeds, items), value)})}

    for rows, why in (
        ({"one": row()}, "at least two trained rows"),
        ({"one": row(), "other": row(seeds=1)}, "row other: expected at least two seeds"),
        ({"one": row(), "other": row(items=4)}, "row other: expected the same tasks"),
        ({"one": row(items=1), "other": row(items=1)}, "at least two items"),
        ({"one": row(), "other": row(value=0.5)}, "row other: expected items that are right or wrong"),
    ):
        with pytest.raises(DataError, match=why):
            structure_of(rows)


def test_the_limit_is_clopper_and_pearsons() -> None:
    for count, trials in ((0, 50), (7, 200), (50, 50)):
        expected = binomtest(count, trials, alternative="less").proportion_ci(0.95).high
        assert Rate(count, trials).upper == pytest.approx(expected)
    assert Rate(3, 60).share == 0.05


def check(found: Calibration, most: float, *, per_group: bool = True) -> None:
    groups = ("", *found.false_verdicts) if per_group else ("",)
    for group in groups:
        rate = found.rate(found.false_verdicts, found.comparisons, group)
        assert rate.share <= most, (found.seeds, group, rate.share)
    assert found.false_primary / found.tables <= most
    assert found.rate(found.false_equivalent, found.shifted).share <= most


@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_methods_are_seldom_called_different(seeds: int) -> None:
    found = calibrate(shape(items=15), PLAN, seeds, 240)
    check(found, 0.12)
    assert found == calibrate(shape(items=15), PLAN, seeds, 240), "the same call, the same counts"
    assert found.rate(found.found, found.shifted).share > found.rate(found.false_verdicts, 4).share
    assert found.false_exploratory <= 240 * 4 * 0.06


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_rule_holds_its_level(seeds: int) -> None:
    """10,000 tables: at most 6 % false verdicts per comparison, and of tables with a false primary one."""
    check(calibrate(shape(), PLAN, seeds, 10_000), 0.06)
    alike = dataclasses.replace(shape(), seed_variance=np.full((5, 4), 0.03**2))
    check(calibrate(alike, PLAN, seeds, 10_000), 0.06)
    check(calibrate(unlike(), PLAN, seeds, 10_000), 0.06)


@pytest.mark.parametrize("seeds", [3, 5])
def test_rows_of_very_unlike_spreads_are_held_too(seeds: int) -> None:
    """Standard deviations over seeds from 0.5 to 39 points, as the second lab's rows have.

    Rule 2 fails here: on one group it called equal methods different in 8 % of comparisons at three seeds.
    """
    check(calibrate(unlike(), PLAN, seeds, 600), 0.065)


def test_a_rule_that_holds_the_seeds_fixed_fails_here() -> None:
    """What the check is for: the first set of rules, items only, calls far more equal methods different."""
    wrong = tested = 0
    for table in drawn(shape(seed_sd=0.08), 40, 3):
        first, *others = table.values()
        for other in others:
            difference = first["known"].minus(other["known"])
            means = [x.mean(axis=0) for x in difference.tasks.values()]
            error = np.sqrt(sum(m.var(ddof=1) / m.size for m in means)) / len(means)
            wrong += bool(abs(difference.seed_means.mean()) > 1.96 * error)
            tested += 1
    assert wrong / tested > 0.15


@pytest.mark.parametrize("seeds", [2, 3])
def test_few_seeds_of_few_items_are_held_too(seeds: int) -> None:
    """22 items a task, and accuracies near 0 where many rows are alike on most items."""
    check(calibrate(shape(items=22), PLAN, seeds, 400), 0.06)
    low = dataclasses.replace(shape(items=22, seed_sd=0.01), means=np.array([0.05, 0.1, 0.03, 0.06]))
    check(calibrate(low, PLAN, seeds, 400), 0.06)
