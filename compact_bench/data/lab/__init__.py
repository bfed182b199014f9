"""The lab: a generated world whose reasoning is known exactly, its four teachers and its small student.

`world` makes questions, `student` pretrains and ships the student. Every draw is seeded: a changed order of
draws is another data set, and the fingerprint of the suite says so.
"""

from __future__ import annotations

from compact_bench.data.lab.world.questions import (
    LAB_TASKS,
    benchmark_rows,
    neutral_passages,
    training_questions,
)
from compact_bench.data.lab.world.settings import WorldSettings
from compact_bench.data.lab.world.teachers import TEACHERS

__all__ = [
    "LAB_TASKS",
    "TEACHERS",
    "WorldSettings",
    "benchmark_rows",
    "neutral_passages",
    "training_questions",
]
