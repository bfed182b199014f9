"""`bench eval`: evaluation by the plain harness and by the fast engine, on the same items, in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from compact_bench.commands.bench.contenders.turns import Clock, in_turn
from compact_bench.commands.bench.measuring.results import BenchResult
from compact_bench.commands.bench.measuring.samples import Spread, spread
from compact_bench.commands.bench.step import provenance_of
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.progress import Display
from compact_bench.core.settings import EvalSettings, Strict
from compact_bench.evaluation.bridge import evaluate
from compact_bench.evaluation.cache import read_items
from compact_bench.evaluation.task_files import is_generation
from compact_bench.students.student import Student

Engine = Literal["harness", "fast"]
ENGINES: tuple[Engine, ...] = ("harness", "fast")
BATCH_SIZES = (8, 16, 32)
PREFERRED = ("csqa", "svamp")
Rows = Sequence[Mapping[str, Any]]
_WEIGHTS = "bench"


class EngineResult(Strict):
    """One engine on one task, at the batch size at which it was fastest.

    Attributes:
        trial_seconds: batch size -> time of the one evaluation that chose it.
        samples_seconds: in the order of the rounds.
        seconds: of an evaluation; rates are over its median.
        generated_tokens: of all items, as the tokenizer counts the texts; 0 where options are scored.
        value: the task's score.
        reason: why the harness evaluated instead of the fast engine, or "".
    """

    engine: Engine
    trial_seconds: dict[int, float]
    batch_size: int
    samples_seconds: tuple[float, ...]
    seconds: Spread
    items_per_second: float
    generated_tokens: int
    generated_tokens_per_second: float
    value: float
    reason: str


class Differences(Strict):
    """What the fast engine gave otherwise than the harness.

    Attributes:
        texts: items with another generation.
        predictions: items with another answer or choice.
        scores: items with another score.
        largest_nats: largest difference of a log-likelihood; 0 where nothing is scored.
    """

    texts: int
    predictions: int
    scores: int
    largest_nats: float


class TaskComparison(Strict):
    """One task by both engines.

    Attributes:
        kind: "generation", or "choice" between given options.
        items: how many were evaluated.
        speed: how many times as fast the fast engine is: the median over rounds of the ratio within a round.
    """

    task: str
    kind: Literal["generation", "choice"]
    items: int
    harness: EngineResult
    fast: EngineResult
    speed: Spread
    differences: Differences


class EvalResult(BenchResult):
    """The result of `bench eval`; its rounds are those after the batch sizes were chosen."""

    student: str
    max_new_tokens: int
    tasks: tuple[TaskComparison, ...]


@dataclass
class _Contender:
    """An engine while it is measured on one task."""

    student: Student
    task: str
    rows: Rows
    engine: Engine
    max_new_tokens: int
    trials: dict[int, float] = field(default_factory=dict)
    samples: list[float] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    value: float = 0.0
    reason: str = ""

    @property
    def batch_size(self) -> int:
        """The size at which it was fastest."""
        return min(self.trials, key=lambda size: self.trials[size])

    def run(self, batch_size: int, rows: Rows) -> float:
        """Evaluate, with nothing cached."""
        settings = EvalSettings(max_new_tokens=self.max_new_tokens, batch_size=batch_size, engine=self.engine)
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder)
            result = evaluate(
                self.student, {self.task: rows}, settings, weights_hash=_WEIGHTS, cache_dir=cache
            )[self.task]
            self.items = read_items(cache, _WEIGHTS, result.cache_key)
        self.value, self.reason = result.value, result.engine_reason
        return result.seconds

    def take(self) -> None:
        """Measure at the best batch size."""
        self.samples.append(self.run(self.batch_size, self.rows))


def bench_eval(
    student: Student,
    benchmarks: Mapping[str, Rows],
    display: Display,
    *,
    max_new_tokens: int = 160,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    repeats: int = 3,
) -> EvalResult:
    """Measure both engines on every task.

    Args:
        student: without adapters, or with them merged.
        benchmarks: task name -> the items that are evaluated.
        batch_sizes: each engine is tried at all of them once and measured at its best.

    Raises:
        ConfigError: no task, no item, no batch size or fewer than one repeat.
        UnknownNameError: there is no such task.
    """
    if repeats < 1 or not batch_sizes or min(batch_sizes) < 1 or not benchmarks:
        raise ConfigError(
            "bench eval: expected at least one task, one repeat and batch sizes of at least 1, got "
            f"{len(benchmarks)}, {repeats} and {list(batch_sizes)}."
        )
    empty = [task for task, rows in benchmarks.items() if not rows]
    if empty:
        raise ConfigError(f"bench eval: expected items of every task, got none of {', '.join(empty)}.")
    count = len(benchmarks) * len(ENGINES) * (len(batch_sizes) + repeats)
    clock = Clock(display, float(count), count)
    compared = [
        _compare(student, task, rows, clock, max_new_tokens, batch_sizes, repeats)
        for task, rows in benchmarks.items()
    ]
    return EvalResult(
        student=student.name,
        repeats=repeats,
        max_new_tokens=max_new_tokens,
        tasks=tuple(compared),
        provenance=provenance_of(student),
    )


def _compare(
    student: Student,
    task: str,
    rows: Rows,
    clock: Clock,
    max_new_tokens: int,
    batch_sizes: Sequence[int],
    repeats: int,
) -> TaskComparison:
    pair = [_Contender(student, task, rows, engine, max_new_tokens) for engine in ENGINES]
    for one in pair:
        # What is imported and built once must not count for the first batch size.
        one.run(batch_sizes[0], rows[:1])
    for size in batch_sizes:
        for one in pair:
            clock.begin(f"{task}, {one.engine} at batch size {size}")
            one.trials[size] = one.run(size, rows)
            clock.end(1.0)
    acts: dict[str, Callable[[], None]] = {
        f"{task}, {one.engine} at batch size {one.batch_size}": partial(one.take) for one in pair
    }
    in_turn(acts, repeats, clock, dict.fromkeys(acts, 1.0))
    harness, fast = pair
    each = [a / b for a, b in zip(harness.samples, fast.samples, strict=True)]
    return TaskComparison(
        task=task,
        kind="generation" if is_generation(task) else "choice",
        items=len(rows),
        harness=_engine_result(harness),
        fast=_engine_result(fast),
        speed=spread(each),
        differences=differences(harness.items, fast.items),
    )


def _engine_result(one: _Contender) -> EngineResult:
    times = spread(one.samples)
    tokenizer = one.student.tokenizer
    texts = [str(item["generation"]) for item in one.items if "generation" in item]
    tokens = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    return EngineResult(
        engine=one.engine,
        trial_seconds=one.trials,
        batch_size=one.batch_size,
        samples_seconds=tuple(one.samples),
        seconds=times,
        items_per_second=len(one.rows) / times.median,
        generated_tokens=tokens,
        generated_tokens_per_second=tokens / times.median,
        value=one.value,
        reason=one.reason,
    )


def differences(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> Differences:
    """Count the items on which two evaluations of the same items, in the same order, differ."""
    pairs = list(zip(first, second, strict=True))
    nats = [
        abs(x - y)
        for a, b in pairs
        for x, y in zip(a.get("loglikelihoods_nats", ()), b.get("loglikelihoods_nats", ()), strict=True)
    ]
    return Differences(
        texts=sum(a.get("generation") != b.get("generation") for a, b in pairs),
        predictions=sum(a["prediction"] != b["prediction"] for a, b in pairs),
        scores=sum(a["score"] != b["score"] for a, b in pairs),
        largest_nats=max(nats, default=0.0),
    )


def choose_tasks(benchmarks: Mapping[str, Rows], names: Sequence[str], items: int) -> dict[str, Rows]:
    """The first items of some tasks of a suite.

    Args:
        names: tasks; empty for its first one of each kind, csqa and svamp where it has them.
        items: how many of each.

    Raises:
        UnknownNameError: the suite has no such task; near matches are named.
    """
    if not names:
        choice = [task for task in benchmarks if not is_generation(task)]
        generation = [task for task in benchmarks if is_generation(task)]
        preferred = [[t for t in PREFERRED if t in kind] or kind for kind in (choice, generation)]
        names = [kind[0] for kind in preferred if kind]
    for name in names:
        if name not in benchmarks:
            raise UnknownNameError("task of the suite", name, benchmarks)
    return {name: benchmarks[name][:items] for name in names}
