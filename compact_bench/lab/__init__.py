"""The lab: a world of words whose reasoning is known exactly, its four teachers and its small student."""

from __future__ import annotations

from compact_bench.lab.material import LAB_TASKS, benchmark_rows, neutral_passages, training_questions
from compact_bench.lab.settings import WorldSettings
from compact_bench.lab.teachers import TEACHERS

__all__ = [
    "LAB_TASKS",
    "TEACHERS",
    "WorldSettings",
    "benchmark_rows",
    "neutral_passages",
    "training_questions",
]
