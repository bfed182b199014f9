"""What selection and tuning choose by: accuracy of generated answers to the validation questions.

The questions go the way of the benchmarks: the student's own chat template, greedy decoding, the same
batches, engine and longest generation, the same reader of answers.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compact_bench.core.errors import DataError
from compact_bench.core.records import Question
from compact_bench.core.settings import EvalSettings
from compact_bench.evaluation.probes.registry import Measure, Probe

if TYPE_CHECKING:
    from compact_bench.evaluation.task_results import TaskResult
    from compact_bench.students.student import Student
    from compact_bench.training.protocol import RunContext

TASK = "validation_answers"
ENTRY = "validation_accuracy"
"""Where a record has it, under its probes: a `TaskResult` as plain data."""


def answered(
    student: Student,
    questions: Sequence[Question],
    settings: EvalSettings,
    *,
    weights_hash: str,
    cache_dir: Path,
    since: float = 0.0,
) -> TaskResult:
    """Ask a student validation questions as it is asked those of a benchmark, and score what it writes.

    Args:
        student: with merged weights.
        questions: all of which are asked; the limit on items of benchmarks is not theirs.
        settings: longest generation (tokens), batch size (rows), engine.
        weights_hash, cache_dir, since: as in `evaluation.bridge.evaluate`.

    Raises:
        DataError: there is no question, or an answer that no generation could give.
        ConfigError: a question and the longest generation do not fit into the student's context.
    """
    from compact_bench.evaluation.bridge import evaluate

    if not questions:
        raise DataError("validation answers: expected at least one validation question, got none")
    rows = [{"id": q.id, "question": q.text, "answer": q.gold_answer} for q in questions]
    unlimited = settings.model_copy(update={"items_per_task": None})
    return evaluate(
        student, {TASK: rows}, unlimited, weights_hash=weights_hash, cache_dir=cache_dir, since=since
    )[TASK]


def generated_answers(student: Student, questions: Sequence[Question], context: RunContext) -> TaskResult:
    """The same for a method that chooses by it while it trains; kept in the run's folder, by the weights.

    Args:
        student: as it stands in training; it is left as it is, and adapters are merged in a copy of it.
        questions: validation questions, of `context.validation`.
        context: gives the settings and the folder.

    Returns:
        `value` in [0, 1], with `items` and `item_ids`.

    Raises:
        DataError, ConfigError: see `answered`.
    """
    from compact_bench.students.student import merge_adapters, weights_hash

    # A tokenizer keeps how its last call padded, and training goes on with this one.
    student = replace(student, tokenizer=copy.deepcopy(student.tokenizer))
    if hasattr(student.model, "merge_and_unload"):
        student = replace(student, model=copy.deepcopy(student.model))
        merge_adapters(student)
    return answered(
        student,
        questions,
        context.settings.eval,
        weights_hash=weights_hash(student.model),
        cache_dir=context.directory / "validation",
    )


VALIDATION_ACCURACY = Probe(
    lambda given: given.answers().plain(),
    (
        Measure(
            "validation_accuracy",
            "Generated answers right",
            f"{ENTRY}.value",
            f"{ENTRY}.items",
            unit="share",
            ids_source=f"{ENTRY}.item_ids",
        ),
    ),
    needs=("answers",),
    in_trials=True,
)
