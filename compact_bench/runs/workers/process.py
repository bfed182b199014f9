"""A worker process as its parent sees it: it is given runs and reports how they go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from compact_bench.core.processes import Child, ChildEnded
from compact_bench.runs.session import Request
from compact_bench.runs.workers.queue import Job


class WorkerLost(Exception):
    """A worker process ended before its run did; the message says how."""


class WorkerProcess:
    """Starts a process that executes runs.

    Args:
        folder: where its log is written; the log stays if the process dies.
        number: the worker's number, for messages.
        threads: CPU threads; 0 leaves it to torch.
    """

    def __init__(self, folder: Path, number: int, threads: int) -> None:
        self.number, self._threads = number, threads
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / f"worker-{os.getpid()}-{number}.log"
        self._child = Child("compact_bench.runs.workers.child", threads, self._log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def events(self, job: Job, began: float) -> Iterator[dict[str, Any]]:
        """Have a run executed.

        Args:
            began: when the command began, in seconds since the epoch.

        Yields:
            What the worker reports, up to "held" or "ended"; see `compact_bench.runs.workers.child`.

        Raises:
            WorkerLost: the process ended before.
        """
        request = replace(job.session.request, threads=self._threads)
        message = {
            "request": TypeAdapter(Request).dump_python(request, mode="json"),
            "key": asdict(job.key),
            "began": began,
            "again": job.again,
        }
        try:
            self._child.send(message)
            event: dict[str, Any] = {"event": ""}
            while event["event"] not in ("held", "ended"):
                event = self._child.receive()
                yield event
        except ChildEnded as error:
            hint = ", perhaps because memory ran out" if error.signal == "SIGKILL" else ""
            raise WorkerLost(
                f"Worker {self.number} (process {self.pid}) {error}{hint}; its log is {self._log}."
            ) from error

    def hang_up(self) -> None:
        """Tell the process to end, in the middle of a run too."""
        self._child.hang_up()

    def stop(self) -> None:
        """End the process and wait until it has ended."""
        if self._child.stop():
            self._log.unlink(missing_ok=True)
