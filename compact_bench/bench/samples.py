"""Samples taken in turn, and what is read from them: medians, spreads, and ratios of the same round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from compact_bench.settings import Strict

__all__ = ["Ratio", "Spread", "ratio", "ratios", "spread"]


class Spread(Strict):
    """Several measurements of one thing.

    Attributes:
        median, low, high: of the samples; low and high are the extremes.
    """

    median: float
    low: float
    high: float


class Ratio(Strict):
    """One contender against another.

    Attributes:
        time: how many times as long the first takes: the median over rounds of the ratio within a round,
            which a machine whose speed drifts between rounds does not move.
        time_low, time_high: extremes over rounds.
        memory: how many times as much memory at its peak; None where it was not measured.
        step_memory: the same, of what a step takes on top of libraries and student.
    """

    time: float
    time_low: float
    time_high: float
    memory: float | None = None
    step_memory: float | None = None


def spread(samples: Sequence[float]) -> Spread:
    """Median and extremes.

    Args:
        samples: at least one.
    """
    return Spread(median=statistics.median(samples), low=min(samples), high=max(samples))


def ratio(
    first: Sequence[float],
    second: Sequence[float],
    memory: tuple[int, int] | None = None,
    step_memory: tuple[int, int] | None = None,
) -> Ratio:
    """Ratio of the first to the second.

    Args:
        first, second: seconds, one sample a round each, in the order of the rounds.
        memory: their peaks.
        step_memory: what their steps took.
    """
    each = spread([a / b for a, b in zip(first, second, strict=True)])
    return Ratio(
        time=each.median,
        time_low=each.low,
        time_high=each.high,
        memory=_quotient(memory),
        step_memory=_quotient(step_memory),
    )


def _quotient(pair: tuple[int, int] | None) -> float | None:
    return pair[0] / pair[1] if pair is not None and pair[1] > 0 else None


def ratios(
    seconds: Mapping[str, Sequence[float]],
    peaks: Mapping[str, int],
    steps: Mapping[str, int],
) -> dict[str, dict[str, Ratio]]:
    """Every contender against every other: first name over second name.

    Args:
        seconds: name -> samples.
        peaks: name -> peak memory, of those where it was measured.
        steps: name -> memory of the step alone, of the same.
    """
    found: dict[str, dict[str, Ratio]] = {}
    for first, mine in seconds.items():
        for second, theirs in seconds.items():
            if first != second:
                both = first in peaks and second in peaks
                found.setdefault(first, {})[second] = ratio(
                    mine,
                    theirs,
                    (peaks[first], peaks[second]) if both else None,
                    (steps[first], steps[second]) if both else None,
                )
    return found
