"""Processes that die, and processes that share a store, through the real command."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.processes import World, ended

pytestmark = pytest.mark.slow


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
