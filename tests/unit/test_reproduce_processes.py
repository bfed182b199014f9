"""Processes that die, and processes that share a store, through the real command."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compact_bench.store import Store
from tests.tiny_suite import write_tiny_suite

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
CHANGES = ("epochs=4", "accumulation=1", "checkpoint_seconds=0", "lora.dropout=0.2", "learning_rate=0.01")


class World:
    """A tiny suite, and processes that reproduce it into stores of this folder."""

    def __init__(self, folder: Path, student: Path) -> None:
        self.folder = folder
        self.suite = write_tiny_suite(folder / "suite", str(student))

    def start(self, store: str, *more: str) -> subprocess.Popen[str]:
        words = [
            "reproduce",
            "--suite",
            str(self.suite),
            "--profile",
            "smoke",
            "--store",
            str(self.folder / store),
        ]
        words += ["--output", str(self.folder / store), "--threads", "1", "--offline", *more]
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
            label = (str(key["method"]), str(key["variant"]), int(key["seed"]))
            found[label] = (record.weights, training, items, record.probes)
        return found


def ended(process: subprocess.Popen[str]) -> str:
    """Output of a process that must end well."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.fixture
def world(student_folder: Callable[..., Path], tmp_path: Path) -> World:
    return World(tmp_path, student_folder())


def test_killed_at_random_moments_it_ends_with_the_same_numbers(world: World) -> None:
    started = time.monotonic()
    ended(world.start("whole"))
    whole_seconds = time.monotonic() - started
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    killed = 0
    for _ in range(4):
        process = world.start("killed")
        time.sleep(dice.uniform(0.3, 1.0) * whole_seconds)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate(timeout=60)
    ended(world.start("killed"))
    assert killed, f"seed {seed}"
    assert world.numbers("killed") == world.numbers("whole"), f"seed {seed}"
    texts = [(world.folder / store / "RESULTS.csv").read_text() for store in ("whole", "killed")]
    measured = [[line for line in text.splitlines() if ",seconds," not in line] for text in texts]
    assert measured[0] == measured[1], f"seed {seed}"


def test_two_processes_share_one_store(world: World) -> None:
    both = [world.start("shared", "--seeds", "1,2", "--output", str(world.folder / name)) for name in "ab"]
    outputs = [ended(process) for process in both]
    ended(world.start("alone", "--seeds", "1,2"))
    assert world.numbers("shared") == world.numbers("alone")
    started = [line for output in outputs for line in output.splitlines() if ": started" in line]
    assert len(started) == 12, "every run was executed once, by one of the two"
    tables = [(world.folder / name / "RESULTS.csv").read_text() for name in "ab"]
    assert tables[0] == tables[1]


def test_an_interruption_says_that_rerunning_continues(world: World) -> None:
    process = world.start("stopped")
    assert process.stdout is not None
    for line in process.stdout:
        if ": started" in line:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "continues where it stopped" in output and "Traceback" not in output
    ended(world.start("stopped"))
    assert len(world.numbers("stopped")) == 6
