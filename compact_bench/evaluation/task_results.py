"""What an evaluation returns and what it reports while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class TaskResult:
    """One task's score of one student.

    Attributes:
        metric: the reported metric ("exact_match" for generation, "acc_norm" for choices).
        value: mean of `items`, as the harness reports it; in [0, 1].
        items: score of each item, in item order.
        item_ids: id of each item, in item order.
        cache_key: name of the cache entry, from all that the result depends on.
        seconds: wall time of the evaluation when it was made.
        others: the task's other metrics ("acc", "states_answer").
        engine: what evaluated it: "fast", the plain "harness", or "vllm".
        engine_reason: why the plain harness although the fast engine was requested, or "".
        measures: what else is known of each item, in item order ("has_steps": 1 for a generation with steps).
    """

    task: str
    metric: str
    value: float
    n: int
    items: tuple[float, ...]
    item_ids: tuple[str, ...]
    cache_key: str
    seconds: float
    others: Mapping[str, float] = field(default_factory=dict)
    engine: str = "harness"
    engine_reason: str = ""
    measures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The result as JSON data, as run records hold it."""
        lists = {"items": list(self.items), "item_ids": list(self.item_ids)}
        return {**asdict(self), **lists, "measures": {n: list(v) for n, v in self.measures.items()}}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> TaskResult:
        """The result that `plain` gave.

        Raises:
            KeyError, TypeError: a field is missing, or is none of these.
        """
        lists = {"items": tuple(data["items"]), "item_ids": tuple(data["item_ids"])}
        measures = {name: tuple(values) for name, values in data.get("measures", {}).items()}
        return cls(**{**data, **lists, "measures": measures})


@dataclass(frozen=True)
class EvalProgress:
    """Where an evaluation stands; one before and one after every task, and some within.

    Attributes:
        index: its place, from 1.
        state: "running" before and while a task is computed, "waiting" while another process computes it,
            "done" after it was computed, "cached" when it was found.
        seconds: wall time of the task (0 before it is computed, the stored time when cached).
        done: requests answered so far, of `requests`; 0 of 0 where that is not known.
        reason: why the plain harness evaluates it although the fast engine was requested, or "".
    """

    task: str
    index: int
    total: int
    state: Literal["running", "waiting", "done", "cached"]
    items: int
    seconds: float = 0.0
    result: TaskResult | None = None
    done: int = 0
    requests: int = 0
    reason: str = ""
