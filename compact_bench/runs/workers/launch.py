"""Where runs execute: in this process, and in worker processes beside it.

Every worker takes the next run from one queue. Workers, and other commands on the same store, are kept apart
by the store's locks: a run that another command holds is put off, and taken over if it is left undone. A
worker process that dies gives its run back; this process executes runs itself, so the command goes on as long
as it lives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from compact_bench.core.errors import StoreError
from compact_bench.core.progress import Display, Ticker
from compact_bench.core.records import RunKey, RunRecord, selective_use
from compact_bench.runs.estimate import Estimator
from compact_bench.runs.workers.attempt import attempt, run_title
from compact_bench.runs.workers.process import WorkerLost, WorkerProcess
from compact_bench.runs.workers.queue import Job, JobQueue


def execute(
    jobs: Sequence[Job],
    display: Display,
    estimator: Estimator,
    *,
    workers: int = 1,
    threads: int = 0,
    later: Sequence[RunKey] = (),
) -> list[RunRecord]:
    """Execute runs, or take what other commands make of them.

    Args:
        jobs: the runs, in order.
        estimator: says how long runs take; learns from those that end.
        workers: how many runs execute at a time, one of them in this process.
        threads: CPU threads of each; 0 leaves it to torch.
        later: runs that the command executes afterwards; they count in the time that is left.

    Returns:
        One record per run, in the order of `jobs`.

    Raises:
        CompactBenchError: what every run needs (data, student, a store that can be written) is not there.
        KeyboardInterrupt: after the workers were stopped.
    """
    if not jobs:
        return []
    workforce = WorkerPool(jobs, display, estimator, threads, later)
    with ExitStack() as stack:
        stack.enter_context(_torch_threads(threads))
        # Data and student are needed by every run; what is wrong with them ends the command here.
        jobs[0].session.load_shared()
        jobs[0].session.check_room()
        pool = stack.enter_context(ThreadPoolExecutor(max(1, workers - 1)))
        stack.callback(workforce.stop)
        beside = range(2, min(workers, len(jobs)) + 1)
        others = [pool.submit(workforce.work_in_process, number) for number in beside]
        workforce.work_here()
        for other in others:
            other.result()
    return workforce.queue.records


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class WorkerPool:
    """This process and its worker processes, at work on one queue."""

    def __init__(
        self,
        jobs: Sequence[Job],
        display: Display,
        estimator: Estimator,
        threads: int,
        later: Sequence[RunKey],
    ) -> None:
        self.queue = JobQueue(jobs)
        self.began = time.time()
        self._estimator, self._threads, self._later = estimator, threads, tuple(later)
        self._ticker = Ticker(display, self._expected())
        self._workers: list[WorkerProcess] = []
        self._announced: set[str] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def work_here(self) -> None:
        """Execute runs in this process until no more are left."""
        ticker = self._ticker
        while (job := self.queue.take()) is not None:

            def begin(job: Job = job) -> None:
                self._begin(job, ticker)

            done = attempt(job.session, job.key, self.began, ticker, begin, again=job.again)
            if done is None:
                self._put_off(job)
            else:
                self._finish(job, done.record, done.executed, ticker)

    def work_in_process(self, number: int) -> None:
        """Have a worker process (2 for the first) execute runs until no more are left, or it dies."""
        job = self.queue.take()
        if job is None:
            return
        ticker = self._ticker.another_lane()
        try:
            worker = self._start(job, number)
            while worker is not None and job is not None:
                self._have_done(worker, job, ticker)
                job = self.queue.take()
        except WorkerLost as error:
            if job is not None and not self._stopped:
                ticker.display.note(f"{error} Its run, {run_title(job.key)}, goes to another worker.")
        finally:
            ticker.close()
            if job is not None:
                self.queue.give_back(job)

    def _start(self, job: Job, number: int) -> WorkerProcess | None:
        """A new worker process; None when the command is being stopped."""
        with self._lock:
            if self._stopped:
                return None
            worker = WorkerProcess(job.session.store.root / "logs", number, self._threads)
            self._workers.append(worker)
            return worker

    def stop(self) -> None:
        """Hand out no more runs and end the worker processes; what they were at is continued next time."""
        with self._lock:
            self._stopped = True
        self.queue.close()
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.stop()

    def _have_done(self, worker: WorkerProcess, job: Job, ticker: Ticker) -> None:
        for event in worker.events(job, self.began):
            if event["event"] == "started":
                self._begin(job, ticker)
            elif event["event"] == "step":
                ticker.progress(event["done"], event["total"], event["text"])
            elif event["event"] == "note":
                ticker.display.note(event["text"])
            elif event["event"] == "held":
                self._put_off(job)
            elif event["event"] == "ended":
                record = job.session.store.load(job.key)
                if record is None:
                    raise StoreError(
                        f"run {job.key.hash}: expected the record that worker {worker.number} wrote, found "
                        "none. Give the same command again."
                    )
                if event["failed"]:
                    # A run that was made anew and failed leaves its old record in the store.
                    record = replace(record, status="failed", reason=event["failed"])
                self._finish(job, record, event["executed"], ticker)

    def _begin(self, job: Job, ticker: Ticker) -> None:
        ticker.begin(job.key.hash, run_title(job.key), self.queue.position(job), len(self.queue))

    def _put_off(self, job: Job) -> None:
        if self.queue.put_off(job) and job.key.hash not in self._announced:
            self._announced.add(job.key.hash)
            self._ticker.display.note(f"{run_title(job.key)}: another command is at it; waiting for it")

    def _finish(self, job: Job, record: RunRecord, executed: bool, ticker: Ticker) -> None:
        outcome = record.status + (f": {record.reason}" if record.reason else "")
        if selective_use([record]) is not None:
            outcome += f": used {record.training['used']:,} of {record.training['offered']:,} rationales"
        if executed:
            ticker.end(outcome)
        else:
            ticker.skip(job.key.hash)
            ticker.display.note(f"{run_title(job.key)}: {outcome}, by another command")
        self._estimator.learn(record)
        self.queue.finish(job, record)
        ticker.expect(self._expected())

    def _expected(self) -> dict[str, float]:
        """Seconds of every run that is still to be executed, now or later."""
        return self._estimator.expected([*self.queue.open_keys, *self._later])
