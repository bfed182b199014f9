"""A worker process as its parent sees it: started, given runs, heard, stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from compact_bench.core.paths import package_folder
from compact_bench.runs.session import Request
from compact_bench.runs.workers.queue import Job

STOP_SECONDS = 10.0
"""How long a worker may take to end before it is killed; killing loses no more than the last checkpoint."""


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
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "compact_bench.runs.workers.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=child_environment(threads),
                text=True,
                encoding="utf-8",
            )
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def events(self, job: Job, began: float) -> Iterator[dict[str, Any]]:
        """Have a run executed.

        Args:
            job: the run.
            began: when the command began, in seconds since the epoch.

        Yields:
            What the worker says, up to "held" or "ended"; see `compact_bench.runs.workers.child`.

        Raises:
            WorkerLost: the process ended before.
        """
        request = replace(job.session.request, threads=self._threads)
        asked = {
            "request": TypeAdapter(Request).dump_python(request, mode="json"),
            "key": asdict(job.key),
            "began": began,
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            for line in self._process.stdout:
                event: dict[str, Any] = json.loads(line)
                yield event
                if event["event"] in ("held", "ended"):
                    return
        except (OSError, ValueError) as error:
            # A broken pipe, a pipe that `stop` closed, or half a line of a process that was killed.
            raise WorkerLost(self._how_it_ended()) from error
        raise WorkerLost(self._how_it_ended())

    def hang_up(self) -> None:
        """Tell the process to end, in the middle of a run too."""
        if self._process.stdin is not None:
            # The pipe of a process that died cannot be flushed.
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def stop(self) -> None:
        """End the process and wait until it has ended."""
        self.hang_up()
        with self._lock:
            if self._ended() is None:
                self._process.kill()
                self._process.wait()
            elif self._process.returncode == 0:
                self._log.unlink(missing_ok=True)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ended(self) -> int | None:
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def _how_it_ended(self) -> str:
        name = f"Worker {self.number} (process {self.pid})"
        code = self._ended()
        if code is None:
            return f"{name} closed its output and goes on."
        if code < 0:
            known = {s.value: s.name for s in signal.Signals}
            hint = ", perhaps because memory ran out" if known.get(-code) == "SIGKILL" else ""
            return f"{name} was ended by {known.get(-code, f'signal {-code}')}{hint}; its log is {self._log}."
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = lines[-1] if lines else "no message"
        return f"{name} ended with status {code}: {said}; its log is {self._log}."


def child_environment(threads: int) -> dict[str, str]:
    """This process's environment, with the package where it is and the number of threads.

    Args:
        threads: CPU threads; 0 leaves it to torch.
    """
    environment = dict(os.environ)
    package = package_folder().parent
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if package not in installed:
        # A checkout is found as this process found it; installed packages must not come before Python's own.
        there = os.environ.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(package), there]))
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    return environment
