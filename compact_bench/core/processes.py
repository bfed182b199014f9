"""A Python process beside this one that reads and writes JSON, one object a line: both ends of the pipe."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compact_bench.core.paths import package_folder

STOP_SECONDS = 10.0
"""How long a child may take to end before it is killed; a run loses no more than its last checkpoint."""


class ChildEnded(Exception):
    """A child process ended before it answered; the message says how ("ended with status 1: last line").

    Attributes:
        signal: name of the signal that ended it, as SIGKILL, or "".
    """

    def __init__(self, message: str, signal_name: str = "") -> None:
        super().__init__(message)
        self.signal = signal_name


class Child:
    """A process that runs `python -m MODULE`, as the parent sees it.

    Args:
        module: reads messages from standard input and answers through `claim_output`.
        threads: CPU threads; 0 leaves it to torch.
        log: file for its standard error; None for a temporary one.
    """

    def __init__(self, module: str, threads: int, log: Path | None = None) -> None:
        self._errors = tempfile.TemporaryFile() if log is None else log.open("w+b")  # noqa: SIM115
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            # -P: a `json.py` in the working folder is none of ours; `child_environment` says where we are.
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=child_environment(threads),
            text=True,
            encoding="utf-8",
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message.

        Raises:
            ChildEnded: the process is gone.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            # A broken pipe, or one that `stop` closed in another thread.
            raise self._ending() from error

    def receive(self) -> dict[str, Any]:
        """Wait for the next message.

        Raises:
            ChildEnded: the process ended before, perhaps in the middle of a line.
        """
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
            if line.endswith("\n"):
                message: dict[str, Any] = json.loads(line)
                return message
        except (OSError, ValueError) as error:
            raise self._ending() from error
        raise self._ending()

    def hang_up(self) -> None:
        """Close its standard input, which tells the process to end."""
        assert self._process.stdin is not None
        # The pipe of a process that died cannot be flushed.
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def stop(self) -> bool:
        """End the process and wait until it has ended.

        Returns:
            Whether it ended in time and without an error.
        """
        self.hang_up()
        with self._lock:
            code = self._wait()
            if code is None:
                self._process.kill()
                self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._errors.close()
        return code == 0

    def _wait(self) -> int | None:
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def _ending(self) -> ChildEnded:
        code = self._wait()
        if code is None:
            return ChildEnded("closed its output but still runs")
        if code < 0:
            names = {s.value: s.name for s in signal.Signals}
            name = names.get(-code, f"signal {-code}")
            return ChildEnded(f"was ended by {name}", name)
        return ChildEnded(f"ended with status {code}: {self._last_line()}")

    def _last_line(self) -> str:
        """The last line on its standard error: of a traceback, the error itself."""
        with self._lock:
            if self._errors.closed:
                return "no message"
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def child_environment(threads: int) -> dict[str, str]:
    """This process's environment, so that a child imports the same package and uses `threads` CPU threads."""
    environment = dict(os.environ)
    package = package_folder().parent
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if package not in installed:
        # A checkout is found as this process found it; installed packages must not come before Python's own.
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(package), *_absolute(os.environ.get("PYTHONPATH", ""))]
        )
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    return environment


def _absolute(python_path: str) -> list[str]:
    """The folders of a PYTHONPATH; an empty entry, which would mean the working folder, is left out."""
    return [str(Path(entry).absolute()) for entry in python_path.split(os.pathsep) if entry]


def claim_output() -> Callable[[Mapping[str, Any]], None]:
    """In the child: a function that sends one message to the parent; Ctrl-C is left to the parent."""
    # Ctrl-C reaches every process of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not land between the messages; it goes to the log.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: Mapping[str, Any]) -> None:
        pipe.write(json.dumps(message) + "\n")
        pipe.flush()

    return send
