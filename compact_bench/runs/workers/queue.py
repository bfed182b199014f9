"""The runs that a command still has to execute, handed out to whoever is free."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.session import Session

POLL_SECONDS = 1.0
WAIT_SECONDS = 0.5
"""Longest uninterrupted wait: on some systems Ctrl-C does not end one."""


@dataclass(frozen=True)
class Job:
    """A run to execute.

    Attributes:
        shares: jobs with the same text evaluate the same student, so that a second one would only wait for
            the first; "" where there is no other.
        again: whether the run is made anew although it is done.
    """

    session: Session
    key: RunKey
    shares: str = ""
    again: bool = False


class JobQueue:
    """Jobs in order; several threads take from it. The clock counts monotonic seconds.

    A job whose run requires another's is handed out when that one is finished, however it ended.
    """

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs, self._clock = tuple(jobs), clock
        self._pending = list(jobs)
        self._running: list[Job] = []
        self._not_before: dict[str, float] = {}
        self._records: dict[str, RunRecord] = {}
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        """How many jobs there were at first."""
        return len(self._jobs)

    def position(self, job: Job) -> int:
        """A job's place among all, 1 for the first."""
        return 1 + self._jobs.index(job)

    def take(self) -> Job | None:
        """The next job; waits while others hold what is left. None when there is no more to do."""
        with self._changed:
            while not self._closed and (self._pending or self._running):
                job = next((job for job in self._pending if self._is_free(job)), None)
                if job is not None:
                    self._pending.remove(job)
                    self._running.append(job)
                    return job
                self._changed.wait(WAIT_SECONDS)
            return None

    def finish(self, job: Job, record: RunRecord) -> None:
        """A job that was taken now has its record."""
        with self._changed:
            self._running.remove(job)
            self._records[job.key.hash] = record
            self._changed.notify_all()

    def put_off(self, job: Job) -> bool:
        """Another command holds the run of a job that was taken; it is tried again later.

        Returns:
            Whether nothing else is left to do meanwhile.
        """
        with self._changed:
            self._not_before[job.key.hash] = self._clock() + POLL_SECONDS
            self._return(job)
            able = (other for other in self._pending if not self._lacks(other))
            return all(other.key.hash in self._not_before for other in able)

    def give_back(self, job: Job) -> None:
        """Whoever took the job cannot do it; it comes last, so that it harms the others least."""
        with self._changed:
            if job in self._running:
                self._return(job)

    def close(self) -> None:
        """Hand out no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def open_keys(self) -> list[RunKey]:
        """Runs that have no record yet, in order."""
        with self._changed:
            return [job.key for job in self._jobs if job.key.hash not in self._records]

    @property
    def records(self) -> list[RunRecord]:
        """Records of the finished jobs, in the order of the jobs."""
        with self._changed:
            hashes = [job.key.hash for job in self._jobs]
            return [self._records[key] for key in hashes if key in self._records]

    def _is_free(self, job: Job) -> bool:
        if self._not_before.get(job.key.hash, 0.0) > self._clock() or self._lacks(job):
            return False
        return not job.shares or all(other.shares != job.shares for other in self._running)

    def _lacks(self, job: Job) -> bool:
        """Whether a run that it requires is still to be done here."""
        required = set(job.key.requires.values())
        return any(other.key.hash in required for other in (*self._pending, *self._running))

    def _return(self, job: Job) -> None:
        self._running.remove(job)
        self._pending.append(job)
        self._changed.notify_all()
