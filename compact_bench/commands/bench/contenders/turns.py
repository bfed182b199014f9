"""Measurements taken in turn: every round measures each contender once, begun one place further each time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from compact_bench.core.progress import Display, duration


class Clock:
    """Shows how much of the measuring is done, and about how long the rest takes.

    Args:
        total: how much there is to do, in any unit.
        count: how many measurements that is.
    """

    def __init__(self, display: Display, total: float, count: int) -> None:
        self._display, self._total, self._count = display, total, count
        self._done, self._place = 0.0, 0
        self._started = time.monotonic()

    def begin(self, text: str) -> None:
        """The measurement that `text` names begins."""
        passed = time.monotonic() - self._started
        left = duration(passed * (self._total / self._done - 1.0)) if self._done else "not yet known"
        self._display.step(0, self._place, self._count, text, left)

    def end(self, amount: float) -> None:
        """A measurement ended, which was `amount` of the total."""
        self._done += amount
        self._place += 1
        if self._place == self._count:
            self._display.drop(0)


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """The order of one round: the same circle, begun one place further every round (`turn`, from 0)."""
    start = turn % len(names)
    return [*names[start:], *names[:start]]


def in_turn(
    acts: Mapping[str, Callable[[], None]], repeats: int, clock: Clock, amounts: Mapping[str, float]
) -> None:
    """Rounds in which every measurement (name -> act) is made once.

    Args:
        amounts: name -> how much of the clock's total one measurement is.
    """
    for turn in range(repeats):
        for name in rotated(list(acts), turn):
            clock.begin(f"{name}, round {turn + 1} of {repeats}")
            acts[name]()
            clock.end(amounts[name])
