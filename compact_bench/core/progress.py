"""What a person sees while runs execute: live bars in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

PLAIN_INTERVAL_SECONDS = 15.0
WIDE_COLUMNS = 100
"""A narrower terminal shows no bar."""
LEAST_NAME = 12
"""Of a name that is shorter than this nothing could be told."""


def duration(seconds: float) -> str:
    """Seconds as a person writes them: "8 s", "3 min", "1 h 20 min"."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


class _ToStandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # Asked for at every message: a live display replaces it meanwhile.
        print(f"Warning: {record.getMessage()}", file=sys.stderr)


def say_warnings(handler: logging.Handler | None = None) -> None:
    """Have this package's warnings said once, whatever the libraries underneath do to logging.

    Args:
        handler: where they go; None for a line each on standard error.
    """
    log = logging.getLogger("compact_bench")
    log.handlers, log.propagate = [handler or _ToStandardError()], False
    log.setLevel(logging.WARNING)


class Display(Protocol):
    """Where progress goes; several threads may call it, each for a lane of its own."""

    def note(self, text: str) -> None:
        """One line that stays on the screen."""
        ...

    def step(self, lane: int, done: int, total: int, text: str, left: str) -> None:
        """The present state of the run in a lane, and how long all is still to take; called often."""
        ...

    def drop(self, lane: int) -> None:
        """Nothing executes in this lane any more."""
        ...


class PlainDisplay:
    """Lines for logs and pipes, at most one every `interval_seconds`; it tells of every lane.

    Args:
        interval_seconds: least time between two progress lines.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        quiet: bool = False,
        interval_seconds: float = PLAIN_INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._quiet, self._clock = write, quiet, clock
        self._interval_seconds = interval_seconds
        self._last = clock()
        self._lanes: dict[int, str] = {}
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """One line, at once."""
        with self._lock:
            if not self._quiet:
                self._write(text)

    def step(self, lane: int, done: int, total: int, text: str, left: str) -> None:
        """A line, unless one was written a moment ago."""
        with self._lock:
            self._lanes[lane] = f"{text} {done}/{total}"
            now = self._clock()
            if self._quiet or now - self._last < self._interval_seconds:
                return
            self._last = now
            self._write(" | ".join([f"  left: {left}", *(self._lanes[n] for n in sorted(self._lanes))]))

    def drop(self, lane: int) -> None:
        """Leave the lane out of the next lines."""
        with self._lock:
            self._lanes.pop(lane, None)


def fitted(text: str, width: int) -> str:
    """A line of a run ("[1/9] NAME seed 1: training ...") in at most `width` characters.

    What the run is doing is cut at its end, but for its first word; a longer name loses its middle, as its
    beginning says which run it is of how many, and its end which seed.
    """
    if len(text) <= width:
        return text
    name, colon, doing = text.partition(": ")
    phase = f"{colon}{doing.partition(' ')[0]}"
    keep = width - len(phase) - 1
    if keep >= len(name) or keep < LEAST_NAME:
        return f"{text[: max(0, width - 1)]}…"[:width]
    last = keep // 2
    return f"{name[: keep - last]}…{name[-last:]}{phase}"


@dataclass(frozen=True)
class _Fitted:
    """A line that takes the room that is left."""

    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        yield Text(fitted(self.text, options.max_width), no_wrap=True, overflow="crop")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(1, len(self.text)), len(self.text))


class _FittedColumn(ProgressColumn):
    def render(self, task: Task) -> _Fitted:
        """What the task's run is doing."""
        return _Fitted(task.description)


class LiveDisplay:
    """A bar for every lane, redrawn in place, below the lines that stay."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[int, TaskID] = {}
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """One line above the bars."""
        self._progress.console.print(text, highlight=False, markup=False)

    def step(self, lane: int, done: int, total: int, text: str, left: str) -> None:
        """Redraw the lane's bar."""
        with self._lock:
            shown: dict[str, Any] = {
                "completed": done,
                "total": total,
                "description": text,
                "left": f"left: {left}",
            }
            if lane in self._tasks:
                self._progress.update(self._tasks[lane], **shown)
            else:
                self._tasks[lane] = self._progress.add_task(**shown)

    def drop(self, lane: int) -> None:
        """Take the lane's bar away."""
        with self._lock:
            task = self._tasks.pop(lane, None)
            if task is not None:
                self._progress.remove_task(task)


@contextmanager
def open_display(console: Console, *, quiet: bool = False) -> Iterator[Display]:
    """The display that suits where the output goes."""
    if quiet or not console.is_terminal:
        yield PlainDisplay(
            lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True), quiet=quiet
        )
        return
    whole = Column(no_wrap=True)
    # In a narrow terminal the room goes to words; the two numbers say what the bar says.
    bar = [BarColumn(bar_width=20, table_column=whole)] if console.width >= WIDE_COLUMNS else []
    columns = (
        TextColumn("{task.fields[left]}", table_column=whole),
        *bar,
        MofNCompleteColumn(table_column=whole),
        _FittedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield LiveDisplay(progress)


@dataclass(frozen=True)
class _Phase:
    """How far a part of a run is.

    Attributes:
        first, total: how much was done when it was first heard of, and how much there is to do.
        since: when it was first heard of, in seconds.
        seen: when that was heard.
    """

    name: str
    first: int
    total: int
    since: float
    done: int = 0
    seen: float = 0.0

    def moved(self, name: str, done: int, total: int, now: float) -> _Phase:
        """The same part further on, or a new one."""
        if (name, total) != (self.name, self.total) or done < self.done:
            return _Phase(name, done, total, now, done, now)
        return self if done == self.done else replace(self, done=done, seen=now)

    def left_seconds(self, now: float) -> float:
        """What is left of it at the speed it has had; 0 while that is not known."""
        if self.done <= self.first:
            return 0.0
        whole = (self.seen - self.since) / (self.done - self.first) * (self.total - self.done)
        return max(0.0, whole - (now - self.seen))


@dataclass
class _Work:
    """What all lanes of a command still have to do.

    Attributes:
        expected_seconds: run -> estimate, of every run that has not ended.
    """

    expected_seconds: dict[str, float]
    lanes: list[Ticker] = field(default_factory=list)
    # Every lane reports from a thread of its own.
    lock: threading.RLock = field(default_factory=threading.RLock)


class Ticker:
    """Turns a command's runs into display lines with the time that is left; one for every lane.

    Args:
        expected: run -> estimate in seconds, of all runs that are to execute.
    """

    def __init__(
        self,
        display: Display,
        expected: Mapping[str, float] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.display, self._clock = display, clock
        self._work = _Work(dict(expected or {}), [self])
        self._lane = 0
        self._run = self._head = ""
        self._started = clock()
        self._phase = _Phase("", 0, 0, self._started)

    def another_lane(self) -> Ticker:
        """A ticker for another lane of the same command, whose runs execute at the same time."""
        other = Ticker(self.display, clock=self._clock)
        with self._work.lock:
            other._work = self._work
            other._lane = 1 + max(lane._lane for lane in self._work.lanes)
            self._work.lanes.append(other)
        return other

    def expect(self, expected: Mapping[str, float]) -> None:
        """Replace the estimates (run -> seconds, of every run that has not ended), now that more is known."""
        with self._work.lock:
            self._work.expected_seconds = dict(expected)

    def begin(self, run: str, label: str, position: int, count: int) -> None:
        """A run starts in this lane, the `position`-th (from 1) of `count` to execute."""
        with self._work.lock:
            self._run, self._head, self._started = run, f"[{position}/{count}] {label}", self._clock()
            self._phase = _Phase("", 0, 0, self._started)
        self.display.note(f"{self._head}: started, about {duration(self.left_seconds())} left in all")

    def end(self, outcome: str) -> None:
        """The lane's run ended; `outcome` says how."""
        took = self._clock() - self._started
        self.leave()
        self.display.note(f"{self._head}: {outcome} ({duration(took)})")

    def leave(self) -> None:
        """Nothing executes in this lane at the moment."""
        with self._work.lock:
            self._work.expected_seconds.pop(self._run, None)
            self._run = ""
        self.display.drop(self._lane)

    def skip(self, run: str) -> None:
        """A run need not execute here: another process made it."""
        with self._work.lock:
            self._work.expected_seconds.pop(run, None)

    def close(self) -> None:
        """No further run will execute in this lane; one that did not end here is still to do."""
        with self._work.lock:
            self._run = ""
            self._work.lanes.remove(self)
        self.display.drop(self._lane)

    def left_seconds(self) -> float:
        """Estimate of what is left of the runs in all lanes and of those after them."""
        with self._work.lock:
            expected = self._work.expected_seconds
            lanes = {lane._run: lane for lane in self._work.lanes if lane._run}
            here = [lane._here_seconds(expected.get(run, 0.0)) for run, lane in lanes.items()]
            after = sum(seconds for run, seconds in expected.items() if run not in lanes)
            # What takes longer than was thought shows before it ends that the others will too.
            after *= max([1.0, *(lane._slowness(expected.get(run, 0.0)) for run, lane in lanes.items())])
            return max([*here, (sum(here) + after) / max(1, len(self._work.lanes))])

    def _here_seconds(self, expected_seconds: float) -> float:
        """What is left of the lane's run: of its estimate, or of its present phase if that is more."""
        now = self._clock()
        return max(0.0, expected_seconds - (now - self._started), self._phase.left_seconds(now))

    def _slowness(self, expected_seconds: float) -> float:
        """How many times its estimate the lane's run takes at least."""
        now = self._clock()
        known = now - self._started + self._phase.left_seconds(now)
        return known / expected_seconds if expected_seconds > 0 else 1.0

    def progress(self, done: int, total: int, text: str) -> None:
        """Show where the run is."""
        with self._work.lock:
            self._phase = self._phase.moved(text.partition(" ")[0], done, total, self._clock())
        line = f"{self._head}: {text}" if self._head else text
        self.display.step(self._lane, done, total, line, duration(self.left_seconds()))

    def phase(self, name: str) -> Callable[[int, int, str], None]:
        """A progress callback whose lines start with `name`."""

        def report(done: int, total: int, text: str) -> None:
            self.progress(done, total, f"{name} {text}".strip())

        return report


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """transformers draws no progress bar inside; its setting is restored afterwards."""
    from transformers.utils import logging

    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
