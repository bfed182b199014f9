"""From runs to numbers: one matrix of seeds by items per task, one cell per row and column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compact_bench.core.records import Cell, RunRecord, number_at, value_at
from compact_bench.results.statistics.bootstrap import estimate
from compact_bench.results.statistics.samples import Sample
from compact_bench.results.tables.rows import RowRuns
from compact_bench.results.tables.spec import MeasureSpec


@dataclass(frozen=True)
class Benchmarks:
    """A group of benchmarks whose mean is shown.

    Attributes:
        tasks: in the suite's order.
        counted: task -> ids of the items that count in the mean: an item that an earlier task of the group
            has too is left out.
        shared: (task, earlier tasks, how many items) for every task that lost items.
    """

    tasks: tuple[str, ...]
    counted: Mapping[str, frozenset[str]]
    shared: tuple[tuple[str, str, int], ...] = ()

    @classmethod
    def of(cls, tasks: Sequence[str], rows: Sequence[RowRuns]) -> Benchmarks:
        """Find which items of a group's tasks, in the suite's order, are the same question."""
        seen: dict[str, str] = {}
        counted: dict[str, frozenset[str]] = {}
        shared: list[tuple[str, str, int]] = []
        for task in tasks:
            ids = sorted({i for row in rows for run in row.runs.values() for i in item_ids(run, task)})
            earlier = [i for i in ids if seen.get(question_hash_in(i), task) != task]
            counted[task] = frozenset(ids) - frozenset(earlier)
            for item in ids:
                seen.setdefault(question_hash_in(item), task)
            if earlier:
                owners = sorted({seen[question_hash_in(i)] for i in earlier})
                shared.append((task, ", ".join(owners), len(earlier)))
        return cls(tuple(tasks), counted, tuple(shared))


def question_hash_in(item_id: str) -> str:
    """The part of an item's id that says which question it is ("addsub/1a2b" -> "1a2b")."""
    return item_id.rsplit("/", 1)[-1]


def item_ids(run: RunRecord, task: str) -> Sequence[str]:
    """Ids of the items of one task, in item order; none where the run lacks the task."""
    ids: Sequence[str] = run.evaluations.get(task, {}).get("item_ids", ())
    return ids


def has_measure(run: RunRecord, task: str, measure: str) -> bool:
    """Whether a run knows something more of a task's items than their scores ("has_steps")."""
    return bool(run.evaluations.get(task, {}).get("measures", {}).get(measure))


def _scores(run: RunRecord, task: str, measure: str = "") -> dict[str, float]:
    result = run.evaluations.get(task, {})
    values = result.get("measures", {}).get(measure, ()) if measure else result.get("items", ())
    return dict(zip(result.get("item_ids", ()), values, strict=False))


def benchmark_sample(
    runs: Sequence[RunRecord], task: str, counted: frozenset[str] | None = None, measure: str = ""
) -> Sample | None:
    """Scores of one task as [seeds, items]; None where no run has it, or no item is left.

    Args:
        runs: of one row, a seed each; those without the task are left out.
        counted: ids of the items to use; None for all.
        measure: what is taken of an item instead of its score ("has_steps"), or "".
    """
    scores = [by_id for run in runs if (by_id := _scores(run, task, measure))]
    if not scores:
        return None
    common = set.intersection(*(set(by_id) for by_id in scores))
    # Sorted, so that every row's columns are the same items in the same order, whatever its runs' order.
    order = sorted(i for i in common if counted is None or i in counted)
    if not order:
        return None
    return Sample({task: np.array([[by_id[i] for i in order] for by_id in scores], dtype=np.float64)})


def group_sample(runs: Sequence[RunRecord], group: Benchmarks) -> Sample | str:
    """All tasks of a group together, shared items counted once; or why there is no mean.

    A seed that lacks a task is left out.
    """
    missing = [task for task in group.tasks if not any(_scores(run, task) for run in runs)]
    if missing:
        return f"no mean: {', '.join(missing)} not measured"
    whole = [run for run in runs if all(_scores(run, task) for task in group.tasks)]
    if not whole:
        return "no mean: no seed has every task"
    samples = [benchmark_sample(whole, task, group.counted.get(task)) for task in group.tasks]
    tasks = {name: values for sample in samples if sample for name, values in sample.tasks.items()}
    return Sample(tasks) if tasks else "no mean: no items"


def empty_cell(row: str, column: str, reason: str) -> Cell:
    """A cell without a number, which says why."""
    return Cell(row, column, None, reason=reason)


def cell_of(row: str, column: str, sample: Sample | str) -> Cell:
    """A cell from a sample; a text in its place says why the cell is empty."""
    if isinstance(sample, str):
        return empty_cell(row, column, sample)
    estimated = estimate(sample)
    items = estimated.items if sample.items_resampled else 0
    return Cell(
        row, column, estimated.mean, estimated.low, estimated.high, estimated.seed_sd, estimated.seeds, items
    )


def seed_cell(row: str, column: str, values: Sequence[float | None]) -> Cell:
    """A cell from one value per seed; a seed without one is left out."""
    known = np.array([[value] for value in values if value is not None], dtype=np.float64)
    sample = Sample({column: known}, items_resampled=False) if known.size else "not measured"
    return cell_of(row, column, sample)


def measure_cell(row: RowRuns, measure: MeasureSpec) -> Cell:
    """A cell of a column that is no benchmark.

    One number per run gives an interval over seeds; per-item values, where the record has them and their
    mean is that number, give one over items too.
    """
    name = row.row.name
    runs = [run for run in row.runs.values() if number_at(run, measure.source) is not None]
    if not runs:
        reason = row.empty_reason or _why_missing(list(row.runs.values()), measure.source)
        return empty_cell(name, measure.name, reason)
    recorded = [number_at(run, measure.source) for run in runs]
    sample = item_sample(runs, measure)
    if sample and np.allclose(sample.seed_means, np.array(recorded, np.float64), rtol=1e-6, atol=1e-12):
        return cell_of(name, measure.name, sample)
    return seed_cell(name, measure.name, recorded)


def _why_missing(runs: Sequence[RunRecord], source: str) -> str:
    """What records say of a number they lack: a probe may keep `reasons` beside its values."""
    part, _, inner = source.partition(".")
    probe, _, name = inner.partition(".")
    # A probe that failed has one reason for all of its numbers.
    names = (name.replace(".", "_"), "problem")
    reasons = [value_at(run, f"{part}.{probe}.reasons.{key}") for key in names for run in runs]
    return next((reason for reason in reasons if isinstance(reason, str)), "not measured")


def item_sample(runs: Sequence[RunRecord], measure: MeasureSpec) -> Sample | None:
    """Per-item values of a measure, of the items that every run has; None where there are no two of them.

    Args:
        runs: a row of the sample each. Items are in the order of the first, so that rows of a table, whose
            records list the same items, are resampled alike.
        measure: names the values, their weights and ids.
    """
    by_run = [_items(run, measure) for run in runs]
    if not measure.ids_source and len({len(items) for items in by_run}) != 1:
        # Without ids the place says which item it is, and lists of two lengths have other items in a place.
        return None
    shared = [i for i in by_run[0] if all(None not in items.get(i, (None,)) for items in by_run)]
    if len(shared) < 2:
        return None
    values, weights = (
        np.array([[items[i][side] for i in shared] for items in by_run], dtype=np.float64) for side in (0, 1)
    )
    if not np.isfinite(values).all() or (weights != weights[0]).any() or (weights <= 0).any():
        return None
    return Sample({measure.name: values}, weights={measure.name: weights[0]})


def _items(run: RunRecord, measure: MeasureSpec) -> dict[str | int, tuple[float | None, float | None]]:
    """Item -> its value and weight; an item without an id is named by its place."""
    values = _listed(run, measure.items_source)
    weights = _listed(run, measure.weights_source) or [1.0] * len(values)
    ids = _listed(run, measure.ids_source) or range(len(values))
    same = len(values) == len(weights) == len(ids)
    return dict(zip(ids, zip(values, weights, strict=True), strict=True)) if same else {}


def _listed(run: RunRecord, source: str) -> list[Any]:
    listed = value_at(run, source) if source else None
    return list(listed) if isinstance(listed, list | tuple) else []
