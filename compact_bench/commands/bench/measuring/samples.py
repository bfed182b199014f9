"""Samples taken in turn, and what is read from them: medians, spreads, and ratios of the same round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from compact_bench.core.settings import Strict


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
        memory: how many times as much memory at its peak.
        step_memory: the same, of what steps take on top of libraries and student.
    """

    time: float
    time_low: float
    time_high: float
    memory: float
    step_memory: float


def spread(samples: Sequence[float]) -> Spread:
    """Median and extremes of at least one sample."""
    return Spread(median=statistics.median(samples), low=min(samples), high=max(samples))


def ratio(first: Sequence[float], second: Sequence[float], memory: float, step_memory: float) -> Ratio:
    """Ratio of the first contender's seconds to the second's, a sample a round; memory as in `Ratio`."""
    each = spread([a / b for a, b in zip(first, second, strict=True)])
    return Ratio(
        time=each.median, time_low=each.low, time_high=each.high, memory=memory, step_memory=step_memory
    )


def ratios(
    seconds: Mapping[str, Sequence[float]], peaks: Mapping[str, int], steps: Mapping[str, int]
) -> dict[str, dict[str, Ratio]]:
    """Every contender against every other, first name over second: times, peaks, memory of steps alone."""
    return {
        first: {
            second: ratio(
                mine,
                theirs,
                peaks[first] / peaks[second],
                # Steps so small that they fit into what was loaded have no measurable memory of their own.
                max(steps[first], 1) / max(steps[second], 1),
            )
            for second, theirs in seconds.items()
            if first != second
        }
        for first, mine in seconds.items()
    }
