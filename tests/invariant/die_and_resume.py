"""Run as a program: train in child processes that are killed at random instants, until one of them ends.

Arguments: student folder, empty work folder, method, random seed. Prints one JSON object: the hash of the
weights and of the steps table of an uninterrupted run and of the run that was killed, and how often it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compact_bench.students.student import merge_adapters, weights_hash
from tests import tiny
from tests.invariant.support import Trained, settings, train_tiny

QUESTIONS = tiny.questions(10, teachers=3)
# Dropout is on: a resumed run must also continue the random numbers.
SETTINGS = settings(dropout=0.2, accumulation=2, epochs=3, checkpoint_seconds=0.0)


def run(folder: Path, directory: Path, method: str, log: Any = None) -> Trained:
    """One (perhaps not the first) attempt at the run in `directory`."""
    return train_tiny(folder, directory, QUESTIONS, SETTINGS, method, log=log)


def summary(trained: Trained) -> dict[str, Any]:
    """Hash of weights and table, and the counts."""
    trained_hash = hashlib.sha256(trained.steps.to_csv().encode()).hexdigest()[:16]
    report = trained.report
    merge_adapters(trained.student)
    return {
        "weights": weights_hash(trained.student.model),
        "table": trained_hash,
        "steps": report.optimiser_steps,
        "tokens": report.total_tokens,
        "final_loss": report.final_loss,
    }


def child(work: Callable[[], None]) -> int:
    """Run `work` in a child process.

    Returns:
        0 when it ended, or the number of the signal that killed it.
    """
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        raise SystemExit(f"the child failed with exit status {code}")
    return 0


def main() -> None:
    """See the module docstring."""
    folder, work, method, seed = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    dice = random.Random(seed)
    started = time.monotonic()
    whole = summary(run(folder, work / "whole", method))
    seconds = time.monotonic() - started

    def attempt(kill_at: int, alarm: float) -> None:
        def log(metrics: Mapping[str, Any]) -> None:
            if int(metrics["step"]) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if alarm:
            # The default action ends the process wherever it is, in the middle of a write too.
            signal.setitimer(signal.ITIMER_REAL, alarm)
        result = summary(run(folder, work / "killed", method, log))
        (work / "result.json").write_text(json.dumps(result))

    deaths = []
    steps = sorted(dice.sample(range(2, whole["steps"]), 3))
    for kill_at in steps:
        deaths.append(child(lambda at=kill_at: attempt(at, 0.0)))  # type: ignore[misc]
    for _ in range(4):
        deaths.append(child(lambda: attempt(0, dice.uniform(0.1, 0.7) * seconds)))
    child(lambda: attempt(0, 0.0))
    resumed = json.loads((work / "result.json").read_text())
    print(json.dumps({"whole": whole, "resumed": resumed, "deaths": deaths, "killed_at": steps}))


if __name__ == "__main__":
    main()
