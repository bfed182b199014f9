"""Two runs side by side, item by item: who was right where, and what each wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compact_bench.core.errors import ConfigError, StoreError, UnknownNameError
from compact_bench.core.records import RunRecord
from compact_bench.evaluation.cache import read_items
from compact_bench.runs.store.store import Store

RIGHT = 0.5
"""A score above this counts as right; items score 0 or 1."""


@dataclass(frozen=True)
class ItemPair:
    """One item as two students answered it.

    Attributes:
        scores: of the first and of the second run.
        predictions: the answers read from what they wrote, or the options chosen.
        texts: the generations; empty texts for tasks where options are scored.
    """

    item_id: str
    prompt: str
    gold: str
    scores: tuple[float, float]
    predictions: tuple[str, str]
    texts: tuple[str, str]

    @property
    def differs(self) -> bool:
        """Whether one was right and the other was not."""
        return (self.scores[0] > RIGHT) != (self.scores[1] > RIGHT)


@dataclass(frozen=True)
class TaskComparison:
    """All items that two runs share in one task, in item order."""

    task: str
    pairs: tuple[ItemPair, ...]

    def count(self, first_right: bool, second_right: bool) -> int:
        """Items where the first run was right or not, and the second."""
        expected = (first_right, second_right)
        return sum(1 for p in self.pairs if (p.scores[0] > RIGHT, p.scores[1] > RIGHT) == expected)


def compare_runs(
    store: Store, first: RunRecord, second: RunRecord, tasks: Sequence[str] = ()
) -> tuple[TaskComparison, ...]:
    """Compare two finished runs.

    Args:
        tasks: only these; empty for all that both have.

    Raises:
        UnknownNameError: one of them does not have a task.
        ConfigError: they have no task or no item in common.
        StoreError: a run is not done, or its evaluation is no longer in the store.
    """
    for record in (first, second):
        if record.status != "done":
            raise StoreError(
                f"run {record.key.name} is {record.status} ({record.reason}); expected a finished run."
            )
    shared = [task for task in first.evaluations if task in second.evaluations]
    for task in tasks:
        if task not in shared:
            raise UnknownNameError("task of both runs", task, shared)
    comparisons = tuple(_compare_task(store, first, second, task) for task in (tasks or shared))
    if not any(comparison.pairs for comparison in comparisons):
        raise ConfigError("the two runs share no item; compare runs of the same suite and profile.")
    return comparisons


def _compare_task(store: Store, first: RunRecord, second: RunRecord, task: str) -> TaskComparison:
    mine, theirs = _items(store, first, task), _items(store, second, task)
    pairs = tuple(_pair(item_id, mine[item_id], theirs[item_id]) for item_id in mine if item_id in theirs)
    return TaskComparison(task, pairs)


def _items(store: Store, record: RunRecord, task: str) -> Mapping[str, Mapping[str, Any]]:
    cache_key = record.evaluations[task]["cache_key"]
    items = read_items(store.evaluations_dir, record.weights["final"], cache_key)
    return {str(item["id"]): item for item in items}


def _pair(item_id: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> ItemPair:
    return ItemPair(
        item_id=item_id,
        prompt=str(a.get("prompt", "")),
        gold=str(a.get("gold", "")),
        scores=(float(a["score"]), float(b["score"])),
        predictions=(_text(a.get("prediction")), _text(b.get("prediction"))),
        texts=(str(a.get("generation", "")), str(b.get("generation", ""))),
    )


def _text(value: Any) -> str:
    return "none" if value is None else str(value)
