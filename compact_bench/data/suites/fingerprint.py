"""What a suite's data is, as one hash that enters the key of every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compact_bench.core.records import Question, fingerprint
from compact_bench.data.files.formats import FORMATS
from compact_bench.data.files.task_yaml import OWN, task_code, task_rows
from compact_bench.data.suites import BenchmarkSpec, SuiteSpec
from compact_bench.data.suites.generated import generated_benchmark


def data_fingerprint(
    spec: SuiteSpec, training: Sequence[Question], validation: Sequence[Question], drawn: int | None = None
) -> str:
    """Hash of a suite's definition, its questions at a profile, and its benchmark files or items.

    Args:
        drawn: how many of the training questions a seed draws; None where it takes all.
    """
    # Prose may be edited and profiles are in the run's key; neither is part of what the data is.
    definition: dict[str, Any] = {
        "name": spec.key_name,
        "version": spec.version,
        "system_prompt": spec.system_prompt,
    }
    if spec.training.world is not None:
        definition["world"] = spec.training.world.model_dump(mode="json")
    if drawn is not None:
        definition["drawn"] = drawn
    return fingerprint(
        {
            "definition": definition,
            "training": [_contents(question) for question in training],
            "validation": [_contents(question) for question in validation],
            "benchmarks": [_benchmark_contents(spec, benchmark) for benchmark in spec.benchmarks],
        }
    )


def _contents(question: Question) -> list[Any]:
    """All of a question that runs depend on; what most suites do not know is left out there."""
    rationales = [[r.teacher, r.text, *([asdict(r.truth)] if r.truth else [])] for r in question.rationales]
    extras: dict[str, Any] = {
        name: list(map(asdict, values))
        for name in ("pairs", "reviews", "feedback")
        if (values := getattr(question, name))
    }
    if question.mistake:
        extras["mistake"] = question.mistake
    # Parts that are empty are left out, not written as empty: fingerprints of suites that were made before
    # these parts existed stay what they were.
    optional = [part for part in (question.family, extras) if part]
    return [question.id, question.text, question.gold_answer, rationales, *optional]


def _benchmark_contents(spec: SuiteSpec, benchmark: BenchmarkSpec) -> list[Any]:
    if benchmark.task_file is not None:
        return _own_task_contents(benchmark, Path(benchmark.task_file.path))
    if benchmark.file is None:
        return [benchmark.task, fingerprint(list(generated_benchmark(spec, benchmark).rows))]
    excluding = benchmark.excluding and benchmark.excluding.sha256
    # What a format of another package makes of the file is known by the format's code alone.
    code = FORMATS.code_mark(benchmark.layout) if benchmark.layout else ""
    marks = [mark for mark in (code, benchmark.uses) if mark]
    return [benchmark.task, benchmark.layout, benchmark.file.sha256, excluding, *marks]


def own_tasks_mark(spec: SuiteSpec) -> list[list[Any]]:
    """What tells a suite's own tasks from others: their definitions and items, which their YAMLs lead to."""
    return [_own_task_contents(b, Path(b.task_file.path)) for b in spec.benchmarks if b.task_file]


def _own_task_contents(benchmark: BenchmarkSpec, path: Path) -> list[Any]:
    rows = [{**row, OWN: ""} for row in task_rows(path, benchmark.metric)]
    return [benchmark.task, benchmark.metric, task_code(path), fingerprint(rows)]
