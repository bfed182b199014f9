"""Measured values of a row, and the difference of two rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compact_bench.core.errors import DataError

Floats = NDArray[np.float64]


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

    @property
    def equally_weighted(self) -> list[Floats]:
        """Every task's matrix, [seeds, items], whose plain means are the weighted ones.

        Items are drawn together with their weights, so that a weighted mean is a ratio of two means; an
        item stands here for what it adds to the ratio (its linear part).
        """
        tasks = []
        for name, values in self.tasks.items():
            weights = self.weights.get(name)
            if weights is not None:
                means = np.average(values, axis=1, weights=weights)[:, None]
                values = means + (values - means) * (weights / weights.mean())
            tasks.append(values)
        return tasks

    def minus(self, other: Sample) -> Sample:
        """The paired difference, task by task; both need the same tasks, seeds and items."""
        return Sample(
            {name: values - other.tasks[name] for name, values in self.tasks.items()},
            self.items_resampled and other.items_resampled,
            self.weights,
        )
