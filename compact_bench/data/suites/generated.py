"""Training questions and benchmark items of a generated world."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from compact_bench.core.records import Question
from compact_bench.data.files.benchmarks import Benchmark, parse_benchmark
from compact_bench.data.files.rows import SourceRow
from compact_bench.data.lab import TEACHERS, benchmark_rows, training_questions
from compact_bench.data.suites import BenchmarkSpec, SuiteSpec


def generated_questions(spec: SuiteSpec, wanted: Sequence[str] = ()) -> tuple[Question, ...]:
    """All questions of a suite's world, training and validation together, with what the chosen teachers say.

    Reviews need two chosen teachers, the author and the reviewer.

    Args:
        spec: a suite with `training.world`.
        wanted: names of teachers, in order; empty for the suite's, or the world's where it names none.

    Raises:
        UnknownNameError, ConfigError: a teacher is not there, or is named twice.
        DataError: the world has not that many questions.
    """
    world = spec.training.world
    assert world is not None
    names = [teacher.name for teacher, _ in spec.choose_teachers(wanted)] or list(TEACHERS)
    return tuple(_said_by(question, names) for question in training_questions(world))


def _said_by(question: Question, names: Sequence[str]) -> Question:
    """A question with these teachers only, in this order."""
    by_name = {rationale.teacher: rationale for rationale in question.rationales}
    return dataclasses.replace(
        question,
        rationales=tuple(by_name[name] for name in names),
        pairs=tuple(pair for name in names for pair in question.pairs if pair.teacher == name),
        reviews=tuple(
            r for name in names for r in question.reviews if r.author == name and r.reviewer in names
        ),
        feedback=tuple(f for name in names for f in question.feedback if f.teacher == name),
    )


def generated_benchmark(spec: SuiteSpec, benchmark: BenchmarkSpec) -> Benchmark:
    """The items that a suite's world generates for a benchmark with `items`, in order of their ids.

    Raises:
        DataError: the world has not that many items.
    """
    world = spec.training.world
    assert world is not None and benchmark.items is not None
    rows = benchmark_rows(world, benchmark.task, benchmark.items)
    named = [SourceRow(f"generated {benchmark.task}, row {n}", row) for n, row in enumerate(rows, 1)]
    return parse_benchmark("rows", named)
