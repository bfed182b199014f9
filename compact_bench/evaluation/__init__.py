"""Accuracy through lm-evaluation-harness: task files, the bridge, and the cache of finished evaluations."""

from __future__ import annotations

from compact_bench.evaluation.bridge import Evaluable, evaluate, task_dependencies, task_key
from compact_bench.evaluation.cache import read_items
from compact_bench.evaluation.results import EvalProgress, TaskResult
from compact_bench.evaluation.task_files import (
    asked_with,
    check_rows,
    is_generation,
    lm_eval_command,
    task_names,
    write_task_folder,
)

__all__ = [
    "EvalProgress",
    "Evaluable",
    "TaskResult",
    "asked_with",
    "check_rows",
    "evaluate",
    "is_generation",
    "lm_eval_command",
    "read_items",
    "task_dependencies",
    "task_key",
    "task_names",
    "write_task_folder",
]
