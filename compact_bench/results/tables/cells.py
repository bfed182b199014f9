"""From runs to numbers: one matrix of seeds by items per task, one cell per row and column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compact_bench.core.records import Cell, RunRecord, number_at, value_at
from compact_bench.results.stats import Estimate, Floats, Sample, estimate
from compact_bench.results.tables.rows import RowRuns
from compact_bench.results.tables.spec import MeasureSpec


@dataclass(frozen=True)
class Benchmarks:
    """A group of benchmarks whose mean is shown.

    Attributes:
        tasks: task names, in the suite's order.
        counted: task -> ids of the items that count in the mean: an item that an earlier task of the group
            has too is left out.
        shared: (task, earlier tasks, how many items) for every task that lost items.
    """

    tasks: tuple[str, ...]
    counted: Mapping[str, frozenset[str]]
    shared: tuple[tuple[str, str, int], ...] = ()

    @classmethod
    def of(cls, tasks: Sequence[str], rows: Sequence[RowRuns]) -> Benchmarks:
        """Find which items of a group's tasks are the same question.

        Args:
            tasks: task names, in the suite's order.
            rows: the table's rows; ids end in the hash of the normalised question.
        """
        seen: dict[str, str] = {}
        counted: dict[str, frozenset[str]] = {}
        shared: list[tuple[str, str, int]] = []
        for task in tasks:
            ids = sorted({i for row in rows for run in row.runs.values() for i in item_ids(run, task)})
            earlier = [i for i in ids if seen.get(question_hash(i), task) != task]
            counted[task] = frozenset(ids) - frozenset(earlier)
            for item in ids:
                seen.setdefault(question_hash(item), task)
            if earlier:
                owners = sorted({seen[question_hash(i)] for i in earlier})
                shared.append((task, ", ".join(owners), len(earlier)))
        return cls(tuple(tasks), counted, tuple(shared))


def question_hash(item_id: str) -> str:
    """The part of an item's id that says which question it is ("addsub/1a2b" -> "1a2b")."""
    return item_id.rsplit("/", 1)[-1]


def item_ids(run: RunRecord, task: str) -> Sequence[str]:
    """Ids of the items of one task, in item order; none where the run lacks the task."""
    ids: Sequence[str] = run.evaluations.get(task, {}).get("item_ids", ())
    return ids


def _scores(run: RunRecord, task: str) -> dict[str, float]:
    result = run.evaluations.get(task, {})
    return dict(zip(result.get("item_ids", ()), result.get("items", ()), strict=False))


def benchmark_sample(
    runs: Sequence[RunRecord], task: str, counted: frozenset[str] | None = None
) -> Sample | None:
    """Scores of one task as [seeds, items]; None where no run has it, or no item is left.

    Args:
        runs: of one row, a seed each; those without the task are left out.
        task: task name.
        counted: ids of the items to use; None for all.
    """
    scores = [found for run in runs if (found := _scores(run, task))]
    if not scores:
        return None
    common = set.intersection(*(set(found) for found in scores))
    # Sorted, so that every row's columns are the same items in the same order, whatever its runs' order.
    order = sorted(i for i in common if counted is None or i in counted)
    if not order:
        return None
    return Sample({task: np.array([[found[i] for i in order] for found in scores], dtype=np.float64)})


def group_sample(runs: Sequence[RunRecord], group: Benchmarks) -> Sample | str:
    """All tasks of a group together, shared items counted once; or why there is no mean.

    Args:
        runs: of one row, a seed each; a seed that lacks a task is left out.
        group: the tasks and their counted items.
    """
    missing = [task for task in group.tasks if not any(_scores(run, task) for run in runs)]
    if missing:
        return f"no mean: {', '.join(missing)} not measured"
    whole = [run for run in runs if all(_scores(run, task) for task in group.tasks)]
    if not whole:
        return "no mean: no seed has every task"
    found = [benchmark_sample(whole, task, group.counted.get(task)) for task in group.tasks]
    tasks = {name: values for sample in found if sample for name, values in sample.tasks.items()}
    return Sample(tasks) if tasks else "no mean: no items"


def empty_cell(row: str, column: str, reason: str) -> Cell:
    """A cell without a number, which says why."""
    return Cell(row, column, None, reason=reason)


def cell_of(row: str, column: str, sample: Sample | None, reason: str) -> Cell:
    """A cell from a sample; `reason` is what an absent one says."""
    return empty_cell(row, column, reason) if sample is None else _filled(row, column, estimate(sample))


def _filled(row: str, column: str, found: Estimate) -> Cell:
    items = found.items if found.over != "seeds only" and found.over else 0
    return Cell(
        row, column, found.mean, found.low, found.high, found.seed_sd, found.seeds, items or found.items
    )


def measure_cell(row: RowRuns, measure: MeasureSpec) -> Cell:
    """A cell of a column that is no benchmark.

    One number per run gives an interval over seeds; per-item values, where the record has them and their
    mean is that number, give one over items too.

    Args:
        row: the row's runs.
        measure: which number.
    """
    name = row.row.name
    if not row.runs:
        return empty_cell(name, measure.name, row.empty_reason)
    runs = list(row.runs.values())
    sample = measure_sample(runs, measure)
    if sample is None:
        return empty_cell(name, measure.name, _why_missing(runs, measure.source))
    found = estimate(sample)
    if sample.items_resampled:
        return _filled(name, measure.name, found)
    return Cell(name, measure.name, found.mean, found.low, found.high, found.seed_sd, found.seeds, 0)


def _why_missing(runs: Sequence[RunRecord], source: str) -> str:
    """What records say of a number they lack: a probe may keep `reasons` beside its values."""
    part, _, inner = source.partition(".")
    probe, _, name = inner.partition(".")
    # A probe that failed has one reason for all of its numbers.
    names = (name.replace(".", "_"), "problem")
    reasons = [value_at(run, f"{part}.{probe}.reasons.{key}") for key in names for run in runs]
    return next((reason for reason in reasons if isinstance(reason, str)), "not measured")


def measure_sample(runs: Sequence[RunRecord], measure: MeasureSpec) -> Sample | None:
    """A measure as [seeds, items], or as one value per seed; None where no run has it.

    Args:
        runs: of one row, a seed each; those without the measure are left out.
        measure: which number.
    """
    measured = [run for run in runs if number_at(run, measure.source) is not None]
    if not measured:
        return None
    values = np.array([[number_at(run, measure.source)] for run in measured], dtype=np.float64)
    sample = _item_sample(measured, measure, values[:, 0])
    return sample or Sample({measure.name: values}, items_resampled=False)


def _item_sample(runs: Sequence[RunRecord], measure: MeasureSpec, values: Floats) -> Sample | None:
    """Per-item values of a measure; None where there are none, or where their mean is not the number."""
    lists = [_numbers(run, measure.items_source) for run in runs]
    weights = [_numbers(run, measure.weights_source) or [1.0] * len(lists[0]) for run in runs]
    sizes = {len(numbers) for numbers in lists + weights}
    if len(sizes) != 1 or sizes == {0}:
        return None
    there = [i for i in range(len(lists[0])) if all(row[i] is not None for row in lists + weights)]
    matrix = np.array([[row[i] for i in there] for row in lists], dtype=np.float64)
    weight = np.array([[row[i] for i in there] for row in weights], dtype=np.float64)
    if len(there) < 2 or not np.isfinite(matrix).all() or (weight != weight[0]).any() or (weight <= 0).any():
        return None
    sample = Sample({measure.name: matrix}, weights={measure.name: weight[0]})
    return sample if np.allclose(sample.seed_means, values, rtol=1e-6, atol=1e-12) else None


def _numbers(run: RunRecord, source: str) -> list[float | None]:
    found = value_at(run, source) if source else None
    return list(found) if isinstance(found, list | tuple) else []
