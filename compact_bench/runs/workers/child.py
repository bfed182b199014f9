"""Executes runs for another process: `python -m compact_bench.runs.workers.child`, started by `launch`.

It reads one JSON object a line from standard input: {"request", "key", "began", "again"}. It answers on
standard output, one object a line: {"event": "ready"} once; then, for every run, "held" (another process has
it), or "started", "step" and "note" now and then, and "ended", with why it failed or "". When standard input
ends, so does this process, in the middle of a run too; what the run has done so far is kept by its own
checkpoints.
"""

from __future__ import annotations

import json
import logging
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from compact_bench.core.processes import claim_output
from compact_bench.core.progress import say_warnings

if TYPE_CHECKING:
    from compact_bench.runs.session import Session

STEP_INTERVAL_SECONDS = 0.25


class _ToParent(logging.Handler):
    """What is to be said, of damaged files for example, is said by the parent."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(logging.WARNING)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send one message."""
        self._send({"event": "note", "text": record.getMessage()})


class _PipeDisplay:
    """Sends progress to the parent, at most a few times a second."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._last = 0.0

    def note(self, text: str) -> None:
        """The parent says by itself what starts and ends."""

    def step(self, lane: int, done: int, total: int, text: str, left: str) -> None:
        """Send how far the run is."""
        now = time.monotonic()
        if now - self._last >= STEP_INTERVAL_SECONDS or done >= total:
            self._last = now
            self._send({"event": "step", "done": done, "total": total, "text": text})

    def drop(self, lane: int) -> None:
        """The parent knows when a run ends."""


def main() -> None:
    """Execute runs until standard input ends."""
    signal.signal(signal.SIGTERM, _interrupt)
    send = claim_output()
    say_warnings(_ToParent(send))
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_read, args=(lines, busy), daemon=True).start()
    try:
        send({"event": "ready"})
        _serve(lines, busy, send)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _read(lines: queue.SimpleQueue[str | None], busy: threading.Event) -> None:
    import _thread

    for line in sys.stdin:
        lines.put(line)
    lines.put(None)
    # The parent is gone or wants no more: a run that executes now is given up.
    if busy.is_set():
        _thread.interrupt_main(signal.SIGTERM)


def _serve(
    lines: queue.SimpleQueue[str | None], busy: threading.Event, send: Callable[[dict[str, Any]], None]
) -> None:
    from pydantic import TypeAdapter

    from compact_bench.core.progress import Ticker
    from compact_bench.core.records import RunKey
    from compact_bench.runs.session import Request, Session
    from compact_bench.runs.workers.attempt import attempt

    ticker = Ticker(_PipeDisplay(send))
    sessions: dict[str, Session] = {}
    while (line := lines.get()) is not None:
        busy.set()
        message = json.loads(line)
        name = json.dumps(message["request"])
        key = RunKey(**message["key"])
        if name not in sessions:
            request = TypeAdapter(Request).validate_python(message["request"])
            sessions[name] = Session(request, [key.method])
        done = attempt(
            sessions[name],
            key,
            message["began"],
            ticker,
            lambda: send({"event": "started"}),
            again=message["again"],
        )
        if done is None:
            send({"event": "held"})
        else:
            failed = done.record.reason if done.record.status == "failed" else ""
            send({"event": "ended", "executed": done.executed, "failed": failed})
        busy.clear()


if __name__ == "__main__":
    main()
