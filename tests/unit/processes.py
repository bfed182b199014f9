"""The real command in processes of its own, on a tiny suite; for tests of processes that die or share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from compact_bench.runs.store.store import Store
from tests.tiny_suite import write_tiny_suite

__all__ = ["World", "ended"]

ROOT = Path(__file__).parents[2]
CHANGES = ("epochs=4", "accumulation=1", "checkpoint_seconds=0", "lora.dropout=0.2", "learning_rate=0.01")

METHODS = "zero_shot,single_teacher,uniform,compact,compact_released"


class World:
    """A tiny suite, and processes that reproduce it into stores of this folder."""

    def __init__(self, folder: Path, student: Path) -> None:
        self.folder = folder
        self.suite = write_tiny_suite(folder / "suite", str(student))

    def start(self, store: str, *more: str, workers: int = 1) -> subprocess.Popen[str]:
        place = str(self.folder / store)
        words = ["reproduce", "--suite", str(self.suite), "--profile", "smoke", "--threads", "1", "--offline"]
        words += ["--store", place, "--output", place, "--workers", str(workers)]
        words += ["--methods", METHODS, *more]
        for change in CHANGES:
            words += ["--set", change]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "COMPACT_BENCH_CACHE": str(self.folder / "cache"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "compact_bench", *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def numbers(self, store: str) -> dict[tuple[str, str, int], Any]:
        """What two stores of one plan must agree on."""
        found = {}
        for record in Store(self.folder / store).records():
            assert record.status == "done", record.reason
            key = record.key
            training = {k: v for k, v in record.training.items() if k not in ("seconds", "peak_memory_bytes")}
            items = {task: (e["items"], e["item_ids"]) for task, e in record.evaluations.items()}
            label = (key.method, key.variant, key.seed)
            found[label] = (record.weights, training, items, record.probes)
        return found


def ended(process: subprocess.Popen[str]) -> str:
    """Output of a process that must end well."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output
