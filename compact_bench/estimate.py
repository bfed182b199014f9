"""How long runs will take: from finished runs of the store where there are any, else from stated rates."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compact_bench.records import RunKey, RunRecord
from compact_bench.registry import get_method
from compact_bench.trainer import MethodCard

__all__ = ["ASSUMED", "Estimator"]


@dataclass(frozen=True)
class AssumedRates:
    """What a 135-million-parameter student does on two CPU cores, for when nothing has been measured.

    Attributes:
        train_tokens_per_second: tokens of branches, forward and backward.
        tokens_per_branch: question and rationale.
        seconds_per_item: evaluation, averaged over generation and choice tasks.
        overhead_seconds: loading, merging and probing.
    """

    train_tokens_per_second: float = 250.0
    tokens_per_branch: float = 200.0
    seconds_per_item: float = 0.7
    overhead_seconds: float = 8.0


ASSUMED = AssumedRates()


class Estimator:
    """Estimates runs of one suite, profile and student.

    Args:
        records: what the store holds; only finished runs of the same suite, profile and student count.
        questions: training questions of a run.
        teachers: how many.
        items: benchmark items that a run evaluates.
    """

    def __init__(self, records: Sequence[RunRecord], questions: int, teachers: int, items: int) -> None:
        self._records = [r for r in records if r.status == "done"]
        self._questions, self._teachers, self._items = questions, teachers, items

    @property
    def basis(self) -> str:
        """Where the numbers come from, as one line."""
        if self._records:
            return f"from {len(self._records)} finished run(s) in this store"
        return (
            f"assuming {ASSUMED.train_tokens_per_second:.0f} training tokens/s and "
            f"{ASSUMED.seconds_per_item:g} s per test item (a small student on two cores)"
        )

    def seconds(self, key: RunKey, *, evaluated: bool = False) -> float:
        """Estimate of one run.

        Args:
            key: the run.
            evaluated: whether its evaluation is known already, as for a second seed of an untrained method.
        """
        evaluation = 0.0 if evaluated else self._evaluation_seconds(key)
        return self._training_seconds(key) + evaluation + ASSUMED.overhead_seconds * (not evaluated)

    def _same(self, key: RunKey) -> list[RunRecord]:
        """Records whose timings carry over: same suite, profile and student."""
        names = ("suite", "profile", "student")
        return [r for r in self._records if all(r.key[name] == getattr(key, name) for name in names)]

    def _training_seconds(self, key: RunKey) -> float:
        if untrained(key):
            return 0.0
        steps = self._questions * int(key.settings["train"]["epochs"])
        same = [r for r in self._same(key) if r.training.get("optimiser_steps")]
        own = [r for r in same if (r.key["method"], r.key["variant"]) == (key.method, key.variant)]
        per_question = [s for r in own if (s := _seconds_per_question(r)) is not None]
        if per_question:
            return steps * statistics.median(per_question)
        branches = 1 if key.variant else self._teachers
        rates = [
            r.training["total_tokens"] / r.training["seconds"] for r in same if r.training.get("seconds")
        ]
        rate = statistics.median(rates) if rates else ASSUMED.train_tokens_per_second
        return steps * branches * ASSUMED.tokens_per_branch / max(rate, 1e-9)

    def _evaluation_seconds(self, key: RunKey) -> float:
        known = [
            sum(float(e.get("seconds", 0.0)) for e in r.evaluations.values())
            for r in self._same(key)
            if _eval_size(r.key) == key.settings["eval"]
        ]
        return statistics.median(known) if known else self._items * ASSUMED.seconds_per_item


def untrained(key: RunKey) -> bool:
    """Whether a run's method trains nothing, so that all its seeds are one student."""
    card: MethodCard = get_method(key.method).card
    return card.min_teachers == 0


def _seconds_per_question(record: RunRecord) -> float | None:
    training: Mapping[str, Any] = record.training
    seen = training.get("questions", 0) * training.get("epochs", 0)
    return training["seconds"] / seen if seen and training.get("seconds") else None


def _eval_size(key: Mapping[str, Any]) -> Mapping[str, Any]:
    size: Mapping[str, Any] = key["settings"]["eval"]
    return size
