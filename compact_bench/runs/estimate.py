"""How long runs will take: from finished runs of the store where there are any, else from stated rates."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from compact_bench.core.records import TRIAL, RunKey, RunRecord
from compact_bench.methods.registry import get_method


@dataclass(frozen=True)
class AssumedRates:
    """What a student takes on two CPU cores, for when nothing has been measured.

    Attributes:
        seconds_per_branch: forward and backward pass over a question with one rationale.
        seconds_per_item: evaluation, averaged over generation and choice tasks.
        overhead_seconds: loading, merging and probing.
    """

    seconds_per_branch: float
    seconds_per_item: float
    overhead_seconds: float


MEASURED = {
    1_000_000: AssumedRates(0.007, 0.005, 2.5),
    135_000_000: AssumedRates(0.8, 0.7, 8.0),
}
"""Parameters -> rates: the lab's student, one thread; SmolLM2-135M on rationales of 200 tokens."""


def assumed_rates(parameters: int | None) -> AssumedRates:
    """Rates of a student with so many parameters (None: unknown), on the line through the two measured."""
    (small, few), (large, many) = sorted(MEASURED.items())
    share = 1.0 if parameters is None else max(0.0, (parameters - small) / (large - small))
    return AssumedRates(*(a + share * (b - a) for a, b in zip(astuple(few), astuple(many), strict=True)))


@dataclass(frozen=True)
class Workload:
    """What each run of a command has to do: questions to train on, (group, items) of every benchmark."""

    questions: int
    teachers: int
    items: Sequence[tuple[str, int]]
    parameters: int | None = None


class Estimator:
    """Estimates runs; several threads may ask and teach it.

    Args:
        records: what the store holds; only finished runs of the same suite, profile and student count.
    """

    def __init__(self, records: Iterable[RunRecord], load: Workload) -> None:
        self._load, self._rates = load, assumed_rates(load.parameters)
        self._records = [record for record in records if record.status == "done"]
        self._lock = threading.Lock()

    def learn(self, record: RunRecord) -> None:
        """Take one more run into account."""
        if record.status == "done":
            with self._lock:
                self._records.append(record)

    @property
    def basis(self) -> str:
        """Where the numbers come from, as one line."""
        if self._records:
            return f"from {len(self._records)} finished run(s) in this store"
        branch, item = self._rates.seconds_per_branch, self._rates.seconds_per_item
        return (
            f"assuming {branch:.2g} s per rationale and {item:.2g} s per test item on two cores; "
            "corrected as runs end"
        )

    def expected(self, keys: Sequence[RunKey]) -> dict[str, float]:
        """Hash -> seconds of runs that execute in this order.

        All runs of methods that train nothing evaluate one student, so only the first of them costs anything.
        """
        with self._lock:
            known = {_untrained_mark(r.key) for r in self._records if not r.training.get("optimiser_steps")}
            estimates: dict[str, float] = {}
            for key in keys:
                seconds = self._evaluation_seconds(key)
                if not untrained(key.method):
                    seconds += self._training_seconds(key) + self._overhead_seconds(key)
                elif (mark := _untrained_mark(key)) in known:
                    seconds = 0.0
                else:
                    known.add(mark)
                estimates[key.hash] = seconds
            return estimates

    def _same(self, key: RunKey) -> list[RunRecord]:
        """Records whose timings carry over: same suite, profile and student; trials train like other runs."""

        def scale(key: RunKey) -> tuple[str, ...]:
            # Versions of a suite have one name in keys, and students of their own.
            return key.suite, key.profile.removesuffix(TRIAL), key.student, key.student_revision

        return [r for r in self._records if scale(r.key) == scale(key)]

    def _training_seconds(self, key: RunKey) -> float:
        same = [r for r in self._same(key) if r.training.get("optimiser_steps") and r.training.get("seconds")]
        counted = [int(r.training["questions"]) for r in same if r.training.get("questions")]
        questions = statistics.median(counted) if counted else self._load.questions
        seen = questions * int(key.settings["train"]["epochs"])
        of_row = [r for r in same if (r.key.method, r.key.variant) == (key.method, key.variant)]
        passes = [(r, r.training.get("questions", 0) * r.training.get("epochs", 0)) for r in of_row]
        per_question = [r.training["seconds"] / count for r, count in passes if count]
        if per_question:
            return float(seen * statistics.median(per_question))
        rates = [r.training["seconds"] / r.training["branches"] for r in same if r.training.get("branches")]
        per_branch = statistics.median(rates) if rates else self._rates.seconds_per_branch
        # A method that trains on one teacher reads one rationale a question.
        branches = 1 if key.settings["method"].get("teacher") else self._load.teachers
        return seen * branches * per_branch

    def _evaluation_seconds(self, key: RunKey) -> float:
        same = [r for r in self._same(key) if r.evaluations]
        alike = [_evaluation_seconds(r) for r in same if r.key.settings["eval"] == key.settings["eval"]]
        if alike:
            return statistics.median(alike)
        counts = [sum(int(e.get("n", 0)) for e in r.evaluations.values()) for r in same]
        rates = [_evaluation_seconds(r) / count for r, count in zip(same, counts, strict=True) if count]
        return self._items(key) * (statistics.median(rates) if rates else self._rates.seconds_per_item)

    def _items(self, key: RunKey) -> int:
        settings = key.settings["eval"]
        limit, groups = settings.get("items_per_task"), settings.get("groups")
        sizes = [size for group, size in self._load.items if groups is None or group in groups]
        return sum(min(size, limit) if limit else size for size in sizes)

    def _overhead_seconds(self, key: RunKey) -> float:
        parts = [
            float(r.provenance["seconds"]) - float(r.training["seconds"]) - _evaluation_seconds(r)
            for r in self._same(key)
            if r.training.get("seconds") and r.provenance.get("seconds")
        ]
        # A run that took a cached evaluation, or was continued, says nothing about it.
        known = [seconds for seconds in parts if seconds >= 0.0]
        return statistics.median(known) if known else self._rates.overhead_seconds


def untrained(method: str) -> bool:
    """Whether a method trains nothing, so that all its seeds are one student."""
    return bool(get_method(method).card.min_teachers == 0)


def _untrained_mark(key: RunKey) -> tuple[str, str]:
    return key.student_revision, str(key.settings["eval"])


def _evaluation_seconds(record: RunRecord) -> float:
    return sum(float(e.get("seconds", 0.0)) for e in record.evaluations.values())
