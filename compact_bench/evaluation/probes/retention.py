"""Retention: what the student could do before distillation and still can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compact_bench.core.errors import DataError, Fault
from compact_bench.evaluation.results import TaskResult


@dataclass(frozen=True)
class RetentionChange:
    """A task's score before and after distillation.

    Attributes:
        task: task name.
        metric: what is compared.
        before, after: mean score of the base and of the student, in [0, 1].
        change: after - before.
        n: items.
        lost, gained: items that were right and no longer are, and the reverse.
        item_changes: after - before of every item, in item order.
    """

    task: str
    metric: str
    before: float
    after: float
    change: float
    n: int
    lost: int
    gained: int
    item_changes: tuple[float, ...]


def retention(
    before: Mapping[str, TaskResult], after: Mapping[str, TaskResult], tasks: Sequence[str] | None = None
) -> dict[str, RetentionChange]:
    """Compare two students item by item on the same tasks.

    Args:
        before: the base's results.
        after: the distilled student's results.
        tasks: tasks to compare, or None for all of `before`.

    Raises:
        DataError: a task is missing from one of the two, or they have other items or metrics; all faults
            are listed.
    """
    wanted = list(before) if tasks is None else list(tasks)
    faults: list[Fault] = []
    for task in wanted:
        a, b = before.get(task), after.get(task)
        if a is None or b is None:
            side = "before" if a is None else "after"
            faults.append(Fault(f"task {task}", f"expected a result on both sides, got none {side}"))
        elif a.metric != b.metric:
            faults.append(Fault(f"task {task}", f"expected one metric, got {a.metric} and {b.metric}"))
        elif a.item_ids != b.item_ids:
            faults.append(Fault(f"task {task}", f"expected the same items, got {a.n} and {b.n} others"))
    if faults:
        raise DataError("retention cannot be computed", faults, "evaluate both students on the same tasks.")
    return {task: _change(before[task], after[task]) for task in wanted}


def mean_change(changes: Mapping[str, RetentionChange]) -> float | None:
    """Mean change over tasks, every task weighing the same; None without tasks."""
    return sum(c.change for c in changes.values()) / len(changes) if changes else None


def _change(before: TaskResult, after: TaskResult) -> RetentionChange:
    steps = tuple(b - a for a, b in zip(before.items, after.items, strict=True))
    return RetentionChange(
        task=before.task,
        metric=before.metric,
        before=before.value,
        after=after.value,
        change=after.value - before.value,
        n=before.n,
        lost=sum(step < 0 for step in steps),
        gained=sum(step > 0 for step in steps),
        item_changes=steps,
    )
