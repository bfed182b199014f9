"""Progress: what is shown, how often, and how the time left is corrected."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from compact_bench.core.progress import PlainDisplay, Ticker, duration, open_display


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
    display.step(0, 1, 9, "[1/2] compact: training", "9 s")
    display.note("a note")
    clock.now += 14
    display.step(0, 2, 9, "[1/2] compact: training", "8 s")
    clock.now += 2
    display.step(0, 3, 9, "[1/2] compact: training loss 1.5", "7 s")
    display.step(0, 4, 9, "[1/2] compact: training", "6 s")
    assert lines == ["a note", "  left: 7 s | [1/2] compact: training loss 1.5 3/9"]


def test_a_plain_line_tells_of_every_lane_that_is_at_work() -> None:
    lines: list[str] = []
    display = PlainDisplay(lines.append, interval_seconds=0)
    display.step(1, 1, 9, "[2/3] uniform: training", "5 s")
    display.step(0, 2, 9, "[1/3] compact: training", "4 s")
    display.drop(1)
    display.step(0, 3, 9, "[1/3] compact: training", "3 s")
    assert lines[1:] == [
        "  left: 4 s | [1/3] compact: training 2/9 | [2/3] uniform: training 1/9",
        "  left: 3 s | [1/3] compact: training 3/9",
    ]


def test_quiet_writes_nothing() -> None:
    lines: list[str] = []
    display = PlainDisplay(lines.append, quiet=True, interval_seconds=0)
    display.note("a note")
    display.step(0, 1, 2, "training", "")
    assert lines == []


def test_time_left_counts_down_and_follows_new_estimates() -> None:
    clock = Clock()
    ticker = Ticker(PlainDisplay(lambda line: None, clock=clock), dict.fromkeys("abc", 10.0), clock)
    ticker.begin("a", "a", 1, 3)
    assert ticker.left_seconds() == pytest.approx(30.0)
    clock.now += 4
    assert ticker.left_seconds() == pytest.approx(26.0)
    clock.now += 16
    ticker.end("done")
    assert ticker.left_seconds() == pytest.approx(20.0)
    ticker.expect({"b": 20.0, "c": 20.0})
    ticker.begin("b", "b", 2, 3)
    clock.now += 1
    assert ticker.left_seconds() == pytest.approx(39.0)
    ticker.skip("c")
    assert ticker.left_seconds() == pytest.approx(19.0)
    clock.now += 100
    assert ticker.left_seconds() == 0.0


def test_lanes_share_what_is_left_but_nobody_helps_with_a_run_that_executes() -> None:
    clock = Clock()
    first = Ticker(PlainDisplay(lambda line: None, clock=clock), dict.fromkeys("abcd", 10.0), clock)
    second = first.another_lane()
    first.begin("a", "a", 1, 4)
    second.begin("b", "b", 2, 4)
    assert first.left_seconds() == second.left_seconds() == pytest.approx(20.0)
    first.skip("c")
    first.skip("d")
    clock.now += 4
    second.end("done")
    assert first.left_seconds() == pytest.approx(6.0)
    first.expect({"a": 10.0, "b": 50.0})
    second.close()
    assert first.left_seconds() == pytest.approx(56.0), "its run was not done, and one lane is left"


def test_a_run_that_is_slow_corrects_what_is_left_before_it_ends() -> None:
    clock = Clock()
    ticker = Ticker(PlainDisplay(lambda line: None, clock=clock), dict.fromkeys("ab", 10.0), clock)
    ticker.begin("a", "a", 1, 2)
    ticker.progress(0, 20, "training")
    clock.now += 10
    ticker.progress(5, 20, "training loss 1")
    # 15 more at 2 s each; the other run will take four times its estimate too.
    assert ticker.left_seconds() == pytest.approx(30.0 + 40.0)
    clock.now += 4
    assert ticker.left_seconds() == pytest.approx(26.0 + 40.0)
    clock.now += 26
    ticker.progress(20, 20, "training loss 1")
    ticker.progress(0, 2, "evaluating ring")
    assert ticker.left_seconds() == pytest.approx(40.0), "nothing is known of the evaluation yet"
    clock.now += 6
    ticker.progress(1, 2, "evaluating order")
    assert ticker.left_seconds() == pytest.approx(6.0 + 52.0)


def test_a_continued_run_is_not_thought_quick() -> None:
    clock = Clock()
    ticker = Ticker(PlainDisplay(lambda line: None, clock=clock), {"a": 1.0}, clock)
    ticker.begin("a", "a", 1, 1)
    ticker.progress(90, 100, "training")
    clock.now += 5
    ticker.progress(91, 100, "training")
    assert ticker.left_seconds() == pytest.approx(45.0)


@pytest.mark.parametrize("terminal", [True, False])
def test_both_displays_show_notes(terminal: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    with open_display(console) as display:
        ticker = Ticker(display, {"x": 5.0})
        ticker.begin("x", "compact seed 1", 1, 1)
        ticker.phase("training")(1, 2, "loss 1.0")
        ticker.another_lane().progress(1, 2, "elsewhere")
        ticker.end("done")
    assert "[1/1] compact seed 1: done" in stream.getvalue()
