"""Progress: what is shown, how often, and how the time left is corrected."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from compact_bench.progress import PlainDisplay, Ticker, duration, open_display


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0 s"),
        (0.4, "0 s"),
        (99.0, "99 s"),
        (150.0, "2 min"),
        (3600.0, "1 h 0 min"),
        (4800, "1 h 20 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_are_rare_and_notes_are_not() -> None:
    clock = Clock()
    lines: list[str] = []
    display = PlainDisplay(lines.append, interval_seconds=15, clock=clock)
    display.step(1, 9, "training", "[1/1] compact")
    display.note("a note")
    clock.now += 14
    display.step(2, 9, "training", "[1/1] compact")
    clock.now += 2
    display.step(3, 9, "training loss 1.5", "[1/1] compact")
    display.step(4, 9, "training", "[1/1] compact")
    assert lines == ["a note", "  [1/1] compact | training loss 1.5 3/9"]


def test_quiet_writes_nothing() -> None:
    lines: list[str] = []
    display = PlainDisplay(lines.append, quiet=True, interval_seconds=0)
    display.note("a note")
    display.step(1, 2, "training", "")
    assert lines == []


def test_time_left_follows_what_ended_runs_took() -> None:
    clock = Clock()
    ticker = Ticker(PlainDisplay(lambda line: None, clock=clock), 30.0, clock)
    ticker.begin("a", 1, 3, 10.0)
    assert ticker.left_seconds() == pytest.approx(30.0)
    clock.now += 4
    assert ticker.left_seconds() == pytest.approx(26.0)
    clock.now += 16
    ticker.end("done")
    ticker.begin("b", 2, 3, 10.0)
    assert ticker.left_seconds() == pytest.approx(40.0)
    ticker.skip(10.0)
    assert ticker.left_seconds() == pytest.approx(20.0)


@pytest.mark.parametrize("terminal", [True, False])
def test_both_displays_show_notes(terminal: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    with open_display(console) as display:
        ticker = Ticker(display, 5.0)
        ticker.begin("compact seed 1", 1, 1, 5.0)
        ticker.phase("training")(1, 2, "loss 1.0")
        ticker.end("done")
    assert "[1/1] compact seed 1: done" in stream.getvalue()
