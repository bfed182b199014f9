"""What a person sees while runs execute: a live bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

__all__ = ["Display", "LiveDisplay", "PlainDisplay", "Ticker", "duration", "open_display"]

PLAIN_INTERVAL_SECONDS = 15.0


def duration(seconds: float) -> str:
    """Seconds as a person writes them: "8 s", "3 min", "1 h 20 min"."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


class Display(Protocol):
    """Where progress goes."""

    def note(self, text: str) -> None:
        """One line that stays on the screen."""
        ...

    def step(self, done: int, total: int, text: str, overall: str) -> None:
        """The present state of the run that executes; called often."""
        ...


class PlainDisplay:
    """Lines for logs and pipes, at most one every `interval_seconds`.

    Args:
        write: called with every line.
        quiet: whether nothing is shown.
        interval_seconds: least time between two progress lines.
        clock: seconds, monotonic.
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

    def note(self, text: str) -> None:
        """One line, at once."""
        if not self._quiet:
            self._write(text)

    def step(self, done: int, total: int, text: str, overall: str) -> None:
        """A line, unless one was written a moment ago."""
        now = self._clock()
        if self._quiet or now - self._last < self._interval_seconds:
            return
        self._last = now
        self._write(f"  {overall} | {text} {done}/{total}")


class LiveDisplay:
    """A bar for the run that executes, redrawn in place, below the lines that stay.

    Args:
        progress: a started rich progress.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task("starting", total=None, overall="")

    def note(self, text: str) -> None:
        """One line above the bar."""
        self._progress.console.print(text, highlight=False, markup=False)

    def step(self, done: int, total: int, text: str, overall: str) -> None:
        """Redraw the bar."""
        self._progress.update(self._task, completed=done, total=total, description=text, overall=overall)


@contextmanager
def open_display(console: Console, *, quiet: bool = False) -> Iterator[Display]:
    """The display that suits where the output goes.

    Args:
        console: the console that progress is written to.
        quiet: whether to show nothing.
    """
    if quiet or not console.is_terminal:
        yield PlainDisplay(
            lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True), quiet=quiet
        )
        return
    columns = (
        TextColumn("{task.fields[overall]}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield LiveDisplay(progress)


class Ticker:
    """Turns a command's runs into display lines with the time that is left.

    Estimates are corrected while runs end: when the first run took twice its estimate, the others will too.

    Args:
        display: where lines go.
        total_seconds: estimate of all runs that are to execute.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        display: Display,
        total_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.display, self._clock = display, clock
        self._after_seconds = total_seconds
        self._expected_seconds = 0.0
        self._ended_expected_seconds = self._ended_seconds = 0.0
        self._head = ""
        self._started = clock()

    def begin(self, label: str, position: int, count: int, expected_seconds: float) -> None:
        """A run starts.

        Args:
            label: its short name.
            position: 1 for the first of the runs to execute.
            count: runs to execute.
            expected_seconds: estimate for this run.
        """
        self._head = f"[{position}/{count}] {label}"
        self._expected_seconds, self._started = expected_seconds, self._clock()
        self._after_seconds = max(0.0, self._after_seconds - expected_seconds)
        self.display.note(f"{self._head}: started, about {duration(self.left_seconds())} left in all")

    def end(self, outcome: str) -> None:
        """A run ended; `outcome` says how."""
        took = self._clock() - self._started
        self._ended_seconds += took
        self._ended_expected_seconds += self._expected_seconds
        self.display.note(f"{self._head}: {outcome} ({duration(took)})")

    def skip(self, expected_seconds: float) -> None:
        """A run need not execute here: another process made it."""
        self._after_seconds = max(0.0, self._after_seconds - expected_seconds)

    def left_seconds(self) -> float:
        """Estimate of what is left of this run and of those after it."""
        measured = self._ended_expected_seconds > 0
        scale = self._ended_seconds / self._ended_expected_seconds if measured else 1.0
        here = max(0.0, self._expected_seconds * scale - (self._clock() - self._started))
        return self._after_seconds * scale + here

    def progress(self, done: int, total: int, text: str) -> None:
        """Show where the run is."""
        self.display.step(done, total, text, f"{self._head}, left: {duration(self.left_seconds())}")

    def phase(self, name: str) -> Callable[[int, int, str], None]:
        """A progress callback whose lines start with `name`."""

        def report(done: int, total: int, text: str) -> None:
            self.progress(done, total, f"{name} {text}".strip())

        return report
