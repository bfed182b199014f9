"""compact_bench: a reproducible benchmark suite for multi-teacher chain-of-thought distillation."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

# Telemetry of the libraries underneath is off unless the user has chosen otherwise.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

if TYPE_CHECKING:
    from compact_bench.core.records import Question, Rationale
    from compact_bench.methods.compact.explain import ExplainReport, explain
    from compact_bench.students.student import Student, load_student

__version__ = "0.1.0"

__all__ = ["ExplainReport", "Question", "Rationale", "Student", "__version__", "explain", "load_student"]

_HOMES = {
    "ExplainReport": "compact_bench.methods.compact.explain",
    "explain": "compact_bench.methods.compact.explain",
    "Question": "compact_bench.core.records",
    "Rationale": "compact_bench.core.records",
    "Student": "compact_bench.students.student",
    "load_student": "compact_bench.students.student",
}


def __getattr__(name: str) -> Any:
    # torch and transformers take seconds to import; `--help` must not pay for them.
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
