"""Where runs execute: in this process, one after the other, sharing a store with any other process.

Before it executes a run, a process takes the run's lock. A run that another process holds is put off; at
the end this process waits for the put-off ones and takes over any that the other left undone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from compact_bench.errors import StoreError
from compact_bench.progress import Ticker
from compact_bench.records import RunKey, RunRecord
from compact_bench.runner import execute_run
from compact_bench.store import Store
from compact_bench.workbench import Workbench

__all__ = ["Job", "execute_here"]

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """A run to execute, and how long it is thought to take."""

    key: RunKey
    seconds: float = 0.0


def execute_here(
    bench: Workbench,
    jobs: Sequence[Job],
    ticker: Ticker,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> list[RunRecord]:
    """Execute runs, or take what other processes make of them.

    Args:
        bench: what the runs share.
        jobs: the runs, in order.
        ticker: shows progress.
        pause: waits for some seconds, while another process has all that is left.

    Returns:
        One record per run, in the order of `jobs`.

    Raises:
        CompactBenchError: what every run needs (data, student, a store that can be written) is not there.
    """
    began = time.time()
    records: dict[str, RunRecord] = {}
    waiting: list[tuple[int, Job]] = list(enumerate(jobs, 1))
    told: set[str] = set()
    while waiting:
        put_off: list[tuple[int, Job]] = []
        for position, job in waiting:
            record = _try(bench, job, position, len(jobs), ticker, began)
            if record is None:
                put_off.append((position, job))
            else:
                records[job.key.hash] = record
        if put_off and len(put_off) == len(waiting):
            for _, job in put_off:
                if job.key.hash not in told:
                    told.add(job.key.hash)
                    ticker.display.note(f"{_name(job.key)}: another process is at it; waiting for it")
            pause(POLL_SECONDS)
        waiting = put_off
    return [records[job.key.hash] for job in jobs]


def _try(
    bench: Workbench, job: Job, position: int, count: int, ticker: Ticker, began: float
) -> RunRecord | None:
    """The run's record; None while another process holds the run."""
    with ExitStack() as stack:
        try:
            stack.enter_context(bench.store.lock(job.key, timeout_seconds=0))
        except StoreError:
            return None
        made = _made_meanwhile(bench.store, job.key, began)
        if made is not None:
            ticker.skip(job.seconds)
            ticker.display.note(f"{_name(job.key)}: {made.status}, by another process")
            return made
        ticker.begin(_name(job.key), position, count, job.seconds)
        record = execute_run(bench, job.key, ticker)
        ticker.end(record.status + (f": {record.reason}" if record.reason else ""))
        return record


def _made_meanwhile(store: Store, key: RunKey, began: float) -> RunRecord | None:
    """A record that needs no further work; a failure counts only if it is younger than this command."""
    record = store.load(key)
    if record is None:
        return None
    fresh = float(record.provenance.get("finished", 0.0)) >= began
    return record if record.status == "done" or fresh else None


def _name(key: RunKey) -> str:
    return f"{key.label} seed {key.seed}"
