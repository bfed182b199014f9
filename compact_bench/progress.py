"""What a person sees while runs execute: a live bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

__all__ = ["Display", "LiveDisplay", "PlainDisplay", "Ticker", "duration", "open_display"]

PLAIN_INTERVAL_SECONDS = 15.0


def duration(seconds: float | None) -> str:
    """Seconds as a person writes them: "8 s", "3 min", "1 h 20 min"; "unknown" for None."""
    if seconds is None:
        return "unknown"
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
        quiet: whether only nothing but errors is shown.
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
    """Turns a run's callbacks into display lines with loss, speed, teacher weights and time left.

    Args:
        display: where lines go.
        total_seconds: estimate of all runs that are to execute, or None where there is none.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        display: Display,
        total_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.display, self._clock = display, clock
        self._left_after = total_seconds
        self._expected: float | None = None
        self._head, self._metrics_text = "", ""
        self._started = clock()

    def begin(self, label: str, position: int, count: int, expected_seconds: float | None) -> None:
        """A run starts.

        Args:
            label: its short name.
            position: 1 for the first of the runs to execute.
            count: runs to execute.
            expected_seconds: estimate for this run, or None.
        """
        self._head, self._metrics_text = f"[{position}/{count}] {label}", ""
        self._expected, self._started = expected_seconds, self._clock()
        if self._left_after is not None and expected_seconds is not None:
            self._left_after = max(0.0, self._left_after - expected_seconds)
        self.display.note(f"{self._head}: started, about {duration(self.left_seconds())} left in all")

    def end(self, outcome: str) -> None:
        """A run ended; `outcome` says how."""
        self.display.note(f"{self._head}: {outcome} ({duration(self._clock() - self._started)})")

    def left_seconds(self) -> float | None:
        """Estimate of what is left of this run and of those after it, or None."""
        if self._left_after is None or self._expected is None:
            return None
        return self._left_after + max(0.0, self._expected - (self._clock() - self._started))

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Keep the newest training metrics for the next line."""
        self._metrics_text = _metrics_text(metrics)

    def progress(self, done: int, total: int, text: str) -> None:
        """Show where the run is."""
        line = f"{text} {self._metrics_text}".strip()
        self.display.step(done, total, line, f"{self._head}, left: {duration(self.left_seconds())}")

    def phase(self, name: str) -> Callable[[int, int, str], None]:
        """A progress callback whose lines start with `name`; training metrics are no longer shown."""
        self._metrics_text = ""

        def report(done: int, total: int, text: str) -> None:
            self.progress(done, total, f"{name} {text}".strip())

        return report


def _metrics_text(metrics: Mapping[str, Any]) -> str:
    parts = []
    for name, form in (("loss", ".3f"), ("tokens_per_second", ".0f"), ("learning_rate", ".1e")):
        value = metrics.get(name)
        if isinstance(value, int | float):
            parts.append(f"{name.replace('_per_', '/')} {format(value, form)}")
    weights = metrics.get("teacher_weights")
    if isinstance(weights, Mapping):
        parts.append("weights " + " ".join(f"{t}={w:.2f}" for t, w in weights.items()))
    else:
        named = {k.removeprefix("teacher_weight/"): v for k, v in metrics.items() if "teacher_weight/" in k}
        if named:
            parts.append("weights " + " ".join(f"{t}={w:.2f}" for t, w in named.items()))
    return "(" + ", ".join(parts) + ")" if parts else ""
