"""Several workers on one queue: who gets what, what a lost worker means, the same numbers as one worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

from compact_bench.core.errors import StoreError
from compact_bench.core.progress import PlainDisplay
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.estimate import Estimator, Workload
from compact_bench.runs.execution import Staff, choose_staff
from compact_bench.runs.workers import launch
from compact_bench.runs.workers.attempt import Attempt
from compact_bench.runs.workers.process import WorkerLost, WorkerProcess
from compact_bench.runs.workers.queue import Job, JobQueue
from tests.unit.processes import World, ended

KEY = RunKey(
    "uniform", "", "tiny", "r", "tiny", "f", "smoke", 1, {"train": {"epochs": 1}, "eval": {}, "method": {}}, 1
)


def jobs(count: int, shares: str = "", session: Any = None) -> list[Job]:
    return [Job(session, replace(KEY, seed=seed), shares) for seed in range(1, count + 1)]


def record(job: Job, status: Any = "done") -> RunRecord:
    return RunRecord(key=job.key, status=status, provenance={"seed": job.key.seed})


# ------------------------------------------------------------------------------------------------ the queue


def test_jobs_go_out_in_order_and_records_come_back_in_order() -> None:
    first, second = jobs(2)
    queue = JobQueue([first, second])
    assert queue.take() is first and queue.take() is second
    queue.finish(second, record(second))
    assert queue.open_keys == [first.key]
    queue.finish(first, record(first))
    assert [r.provenance["seed"] for r in queue.records] == [1, 2]
    assert queue.take() is None and queue.open_keys == []


def test_jobs_that_share_an_evaluation_never_run_at_the_same_time() -> None:
    shared = jobs(2, shares="the base student")
    own = Job(shared[0].session, replace(KEY, seed=9))
    queue = JobQueue([*shared, own])
    assert queue.take() is shared[0]
    assert queue.take() is own, "the second of the two would only wait"
    queue.finish(shared[0], record(shared[0]))
    assert queue.take() is shared[1]


def test_a_job_given_back_comes_last_and_is_waited_for() -> None:
    first, second = jobs(2)
    queue = JobQueue([first, second])
    assert queue.take() is first
    taken: list[Job | None] = []
    waiter = threading.Thread(target=lambda: taken.extend([queue.take(), queue.take()]))
    waiter.start()
    queue.give_back(first)
    waiter.join(timeout=10)
    assert taken == [second, first]


def test_a_job_put_off_is_tried_again_later() -> None:
    now = [0.0]
    first, second = jobs(2)
    queue = JobQueue([first, second], clock=lambda: now[0])
    assert queue.take() is first
    assert not queue.put_off(first), "the second is left to do meanwhile"
    assert queue.take() is second
    assert queue.put_off(second)
    now[0] += 5.0
    assert queue.take() is first


def test_a_closed_queue_ends_all_waiting() -> None:
    queue = JobQueue(jobs(1))
    assert queue.take() is not None
    waiter = threading.Thread(target=queue.take)
    waiter.start()
    queue.close()
    waiter.join(timeout=10)
    assert not waiter.is_alive()


# --------------------------------------------------------------------------------------------- who executes


@pytest.mark.parametrize(
    ("workers", "threads", "small", "cores", "gpu", "staff"),
    [
        (0, 0, True, 2, False, Staff(2, 1)),
        (1, 0, True, 2, False, Staff(1, 1)),
        (0, 0, True, 64, False, Staff(4, 1)),
        (0, 0, True, 1, False, Staff(1, 1)),
        (0, 2, True, 2, False, Staff(1, 2)),
        (0, 0, False, 2, False, Staff(1, 0)),
        (2, 0, False, 8, False, Staff(2, 4)),
        (8, 0, False, 2, False, Staff(8, 1)),
        (0, 0, True, 16, True, Staff(1, 0)),
    ],
)
def test_staff(workers: int, threads: int, small: bool, cores: int, gpu: bool, staff: Staff) -> None:
    assert choose_staff(workers, threads, small=small, cores=cores, gpu=gpu) == staff


class FakeSession:
    """What the worker pool needs of a session; its store says what was recorded."""

    def __init__(self, folder: Path) -> None:
        self.store = self
        self.root = folder
        self.recorded: dict[str, RunRecord] = {}

    def load_shared(self) -> None:
        """Nothing to load."""

    def check_room(self) -> None:
        """No prompts."""

    def load(self, key: RunKey) -> RunRecord | None:
        return self.recorded.get(key.hash)


class Remote:
    """A worker process that executes at once, or dies at its second run."""

    dies = False
    made: ClassVar[list[Remote]] = []

    def __init__(self, folder: Path, number: int, threads: int) -> None:
        self.number, self.threads, self.runs, self.stopped = number, threads, 0, False
        self.made.append(self)

    def events(self, job: Job, began: float) -> Iterator[dict[str, Any]]:
        yield {"event": "started"}
        self.runs += 1
        if Remote.dies and self.runs > 1:
            raise WorkerLost("Worker 2 (process 7) was ended by SIGKILL.")
        yield {"event": "step", "done": 1, "total": 2, "text": "training"}
        made: Any = job.session
        made.recorded[job.key.hash] = record(job)
        time.sleep(0.02)
        yield {"event": "ended", "executed": True, "failed": False}

    def hang_up(self) -> None:
        self.stopped = True

    def stop(self) -> None:
        assert self.stopped


def work(
    monkeypatch: pytest.MonkeyPatch, folder: Path, count: int, fails: bool = False
) -> tuple[list[RunRecord], list[str]]:
    """Execute `count` runs with two workers; returns the records and what was shown."""

    def attempt(
        session: FakeSession,
        key: RunKey,
        began: float,
        ticker: Any,
        on_start: Callable[[], None],
        again: bool = False,
    ) -> Attempt:
        on_start()
        time.sleep(0.02)
        if fails:
            raise StoreError("no space")
        session.recorded[key.hash] = made = RunRecord(key, "done", provenance={"seed": key.seed})
        return Attempt(made, executed=True)

    Remote.made.clear()
    monkeypatch.setattr(launch, "WorkerProcess", Remote)
    monkeypatch.setattr(launch, "attempt", attempt)
    lines: list[str] = []
    display = PlainDisplay(lines.append, interval_seconds=0)
    estimator = Estimator([], Workload(4, 2, [], None))
    made = launch.execute(jobs(count, session=FakeSession(folder)), display, estimator, workers=2, threads=1)
    return made, lines


def test_two_workers_do_every_run_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Remote, "dies", False)
    made, lines = work(monkeypatch, tmp_path, 8)
    assert [r.provenance["seed"] for r in made] == list(range(1, 9))
    assert sum(": started" in line for line in lines) == 8
    (remote,) = Remote.made
    assert 0 < remote.runs < 8 and remote.stopped and remote.threads == 1
    assert any("left: " in line and "training 1/2" in line for line in lines)


def test_a_lost_worker_is_named_and_its_run_is_taken_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Remote, "dies", True)
    made, lines = work(monkeypatch, tmp_path, 6)
    assert [r.provenance["seed"] for r in made] == list(range(1, 7))
    (said,) = [line for line in lines if "goes to another worker" in line]
    assert "Worker 2 (process 7) was ended by SIGKILL" in said and "uniform seed" in said


def test_an_error_that_every_run_would_meet_ends_all_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Remote, "dies", False)
    with pytest.raises(StoreError, match="no space"):
        work(monkeypatch, tmp_path, 6, fails=True)
    assert all(remote.stopped for remote in Remote.made)


# ------------------------------------------------------------------------------------------ real processes


def test_a_worker_process_ends_with_its_input_and_says_how_it_died(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = WorkerProcess(tmp_path, 2, threads=1)
    began = time.monotonic()
    worker.stop()
    assert time.monotonic() - began < 10 and not list(tmp_path.iterdir()), (
        "it ended by itself; no log is left"
    )
    dead = WorkerProcess(tmp_path, 3, threads=1)
    os.kill(dead.pid, signal.SIGKILL)
    session: Any = type("FakeSession", (), {"request": request(tmp_path)})()
    with pytest.raises(WorkerLost, match=r"Worker 3 \(process \d+\) was ended by SIGKILL.*worker-\d+-3.log"):
        list(dead.events(Job(session, KEY), 0.0))
    dead.stop()


def request(folder: Path) -> Any:
    from compact_bench.runs.session import Request

    return Request(suite="none", profile="smoke", cache=folder, store=folder)


@pytest.fixture
def world(student_folder: Callable[..., Path], tmp_path: Path) -> World:
    return World(tmp_path, student_folder())


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_number_of_workers(world: World) -> None:
    ended(world.start("one", "--seeds", "1,2"))
    output = ended(world.start("two", "--seeds", "1,2", workers=2))
    assert world.numbers("one") == world.numbers("two")
    lines = [line for line in output.splitlines() if line.startswith("[")]
    assert sum(": started" in line for line in lines) == 12
    assert any(": started" in a and ": started" in b for a, b in pairwise(lines)), "two runs at the same time"
    assert not list((world.folder / "two" / "logs").iterdir())


LONG = ("--methods", "uniform,compact", "--set", "epochs=60", "--set", "checkpoint_seconds=1")


def second_worker(world: World, process: subprocess.Popen[str]) -> int:
    """Process id of the worker beside the command, once it executes a run."""
    for _ in range(600):
        for holder in (world.folder / "store" / "locks").glob("*.holder"):
            try:
                pid = int(json.loads(holder.read_bytes())["pid"])
            except (OSError, ValueError):
                continue
            if pid != process.pid:
                return pid
        time.sleep(0.1)
    raise AssertionError("no second worker took a run within a minute")


def gone(pid: int) -> bool:
    """Whether a process ends within some seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_a_killed_worker_process_loses_nothing(world: World) -> None:
    process = world.start("store", *LONG, workers=2)
    os.kill(second_worker(world, process), signal.SIGKILL)
    output = ended(process)
    assert "was ended by SIGKILL" in output and "goes to another worker" in output
    assert {label[0] for label in world.numbers("store")} == {"uniform", "compact"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_the_command_and_a_rerun_completes(world: World, number: signal.Signals) -> None:
    process = world.start("store", *LONG, workers=2)
    other = second_worker(world, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number), output
    assert "Traceback" not in output
    assert gone(other)
    ended(world.start("store", *LONG, workers=2))
    assert len(world.numbers("store")) == 2
