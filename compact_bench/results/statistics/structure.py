"""How the runs of a store vary: over seeds, items and both, and how the tasks of one student go together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from compact_bench.core.errors import DataError
from compact_bench.results.statistics.samples import Floats, Sample

RIGHT_OR_WRONG = "expected items that are right or wrong (1 or 0)"


@dataclass(frozen=True)
class Structure:
    """Means and variances of a table's trained rows, on the scale of accuracies.

    Attributes:
        rows: names; the first is the one that the others are compared with.
        groups: name of each group -> places of its tasks.
        tasks: names.
        items: how many items each task has, [tasks].
        means: accuracy of each task, the same for every row, [tasks].
        seed_variance: over seeds of a row's true accuracy, [rows, tasks].
        item_variance: over items of a row's true accuracy on them, [rows, tasks].
        shared_item_variance: the part of it that all rows have in common, [tasks].
        correlation: between tasks, of the seeds' effects of one row, [tasks, tasks].
        seeds: how many seeds it was measured with.
    """

    rows: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]]
    tasks: tuple[str, ...]
    items: tuple[int, ...]
    means: Floats
    seed_variance: Floats
    item_variance: Floats
    shared_item_variance: Floats
    correlation: Floats
    seeds: int


def structure_of(rows: Mapping[str, Mapping[str, Sample]]) -> Structure:
    """Estimate the variances by the moments of the crossed layout; estimates below 0 are 0.

    Args:
        rows: row -> group -> its values; every row with the same groups, tasks and items.

    Raises:
        DataError: fewer than two rows, a row with one seed, other tasks or items, or values beside 0 and 1.
    """
    samples = _checked(rows)
    groups: dict[str, tuple[int, ...]] = {}
    names: list[str] = []
    for group, sample in next(iter(samples.values())).items():
        groups[group] = tuple(range(len(names), len(names) + len(sample.tasks)))
        names += sample.tasks
    values = [[x for sample in row.values() for x in sample.tasks.values()] for row in samples.values()]
    seed, item = (np.array(one) for one in zip(*map(_variances, values), strict=True))
    pairs = list(combinations(range(len(values)), 2))
    item_means = [[x.mean(axis=0) for x in row] for row in values]
    shared = [
        np.mean([np.cov(item_means[a][t], item_means[b][t])[0, 1] for a, b in pairs])
        for t in range(len(names))
    ]
    return Structure(
        rows=tuple(samples),
        groups=groups,
        tasks=tuple(names),
        items=tuple(x.shape[1] for x in values[0]),
        means=np.mean([[x.mean() for x in row] for row in values], axis=0),
        seed_variance=seed,
        item_variance=item,
        shared_item_variance=np.clip(shared, 0.0, None),
        correlation=_correlation(values, seed),
        seeds=min(x.shape[0] for row in values for x in row),
    )


def _checked(rows: Mapping[str, Mapping[str, Sample]]) -> Mapping[str, Mapping[str, Sample]]:
    if len(rows) < 2:
        raise DataError(
            f"expected at least two trained rows to compare, got {len(rows)} ({', '.join(rows)})."
        )
    layouts = {
        name: {(g, t): x.shape[1] for g, sample in row.items() for t, x in sample.tasks.items()}
        for name, row in rows.items()
    }
    first = next(iter(layouts.values()))
    for name, row in rows.items():
        if any(sample.seeds < 2 for sample in row.values()):
            raise DataError(
                f"row {name}: expected at least two seeds, which alone show how seeds vary, got 1."
            )
        if layouts[name] != first or not first or min(first.values()) < 2:
            raise DataError(
                f"row {name}: expected the same tasks and at least two items of each, as all rows."
            )
        if any(not np.isin(x, (0.0, 1.0)).all() for sample in row.values() for x in sample.tasks.values()):
            raise DataError(f"row {name}: {RIGHT_OR_WRONG}, got other scores.")
    return rows


def _variances(tasks: Sequence[Floats]) -> tuple[list[float], list[float]]:
    """Of one row: each task's variance over seeds and over items, beside what right or wrong adds."""
    seed_parts, item_parts = [], []
    for values in tasks:
        seeds, items = values.shape
        of_seeds, of_items = values.mean(axis=1), values.mean(axis=0)
        rest = values - of_seeds[:, None] - of_items + values.mean()
        ms_rest = float(np.square(rest).sum() / ((seeds - 1) * (items - 1)))
        seed_parts.append(max(0.0, float(of_seeds.var(ddof=1)) - ms_rest / items))
        item_parts.append(max(0.0, float(of_items.var(ddof=1)) - ms_rest / seeds))
    return seed_parts, item_parts


def _correlation(values: Sequence[Sequence[Floats]], variances: Floats) -> Floats:
    """Correlation of the seeds' effects between tasks, pooled over rows; the nearest that can be."""
    covariances = sum(np.cov([x.mean(axis=1) for x in row]).reshape(len(row), -1) for row in values)
    spread = np.sqrt(variances.sum(axis=0))
    scale = np.outer(spread, spread)
    found = np.divide(covariances, scale, out=np.zeros_like(scale), where=scale > 0)
    found = np.clip(found, -1.0, 1.0)
    np.fill_diagonal(found, 1.0)
    roots, vectors = np.linalg.eigh(found)
    found = (vectors * np.clip(roots, 1e-6, None)) @ vectors.T
    size = np.sqrt(np.diag(found))
    return np.asarray(found / np.outer(size, size))


_ANGLES = np.linspace(0.0, math.pi / 2, 2001)


def latent_correlation(covariance: Floats, thresholds: Floats) -> Floats:
    """Correlation of two normal variables whose passing of a threshold has this covariance.

    Args:
        covariance: of the two events, at least 0, [..., tasks]; more than can be gives 1.
        thresholds: the value that a standard normal variable must be below, [tasks].

    Source:
        Derivative of the bivariate normal distribution by its correlation (Plackett 1954), at equal
        thresholds: exp(-z^2 / (1 + r)) / (2 pi sqrt(1 - r^2)), integrated over asin(r).
    """
    found = np.zeros_like(covariance)
    for task, z in enumerate(thresholds):
        density = np.exp(-(z**2) / (1 + np.sin(_ANGLES))) / (2 * math.pi)
        steps = (density[1:] + density[:-1]) / 2 * np.diff(_ANGLES)
        reached = np.concatenate([[0.0], np.cumsum(steps)])
        found[..., task] = np.sin(np.interp(covariance[..., task], reached, _ANGLES))
    return found
