"""A run that was interrupted ends with the same bits as one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from compact_bench.students.student import weights_hash
from tests import tiny
from tests.invariant.support import Trained, settings, train_tiny

Folders = Callable[..., Path]
ROOT = Path(__file__).parents[2]


class Interruption(Exception):
    """Raised by the test in the middle of a training."""


@pytest.mark.parametrize("method", ["compact", "compact_released"])
def test_killed_at_random_instants(student_folder: Folders, tmp_path: Path, method: str) -> None:
    seed = random.SystemRandom().randrange(10**6)
    command = [sys.executable, "-m", "tests.invariant.die_and_resume"]
    done = subprocess.run(
        [*command, str(student_folder("llama", "chatml")), str(tmp_path), method, str(seed)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr[-3000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    killed = [death for death in found["deaths"] if death == signal.SIGKILL]
    assert len(killed) == 3, f"seed {seed}: {found}"
    assert found["resumed"] == found["whole"], f"seed {seed}: {found}"


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_stopped_by_an_error(student_folder: Folders, tmp_path: Path, lora: bool) -> None:
    folder = student_folder("llama", "chatml")

    def run(directory: Path, stop_at: int = 0) -> Trained:
        def log(metrics: Mapping[str, Any]) -> None:
            if stop_at and int(metrics["step"]) == stop_at:
                raise Interruption

        # Checkpoints after every step; adapters' dropout is on.
        return train_tiny(
            folder,
            directory,
            tiny.questions(9, teachers=2),
            settings(lora=lora, dropout=0.2, learning_rate=1e-3, accumulation=2, checkpoint_seconds=0.0),
            "compact",
            log=log,
        )

    whole = run(tmp_path / "whole")
    for stop_at in (1, 4, 5, 10):
        with pytest.raises(Interruption):
            run(tmp_path / "parts", stop_at)
    parts = run(tmp_path / "parts")
    assert weights_hash(parts.student.model) == weights_hash(whole.student.model)
    assert parts.steps.equals(whole.steps)
    assert parts.report.optimiser_steps == whole.report.optimiser_steps == 10
    assert parts.report.total_tokens == whole.report.total_tokens
    assert parts.report.final_loss == whole.report.final_loss


def test_a_finished_run_trains_nothing_again(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=2)
    first = train_tiny(folder, tmp_path, questions, settings(epochs=1))
    again = train_tiny(folder, tmp_path, questions, settings(epochs=1))
    assert again.logs == []
    assert again.report.optimiser_steps == first.report.optimiser_steps
    assert weights_hash(again.student.model) == weights_hash(first.student.model)


def test_same_seed_same_bits_other_seed_other_order(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(8, teachers=2)
    runs = [train_tiny(folder, tmp_path / str(n), questions, settings(dropout=0.2)) for n in range(2)]
    assert weights_hash(runs[0].student.model) == weights_hash(runs[1].student.model)
    still = train_tiny(folder, tmp_path / "dropout-0", questions, settings(dropout=0.0))
    assert weights_hash(still.student.model) != weights_hash(runs[0].student.model)
