"""A comparison of two rows, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compact_bench.results.statistics.contrasts import Contrast
from compact_bench.results.statistics.families import Correction
from compact_bench.results.statistics.power import ALPHA
from compact_bench.results.statistics.verdicts import Verdict, verdict

ENOUGH_SEEDS = 5
"""With fewer, pages say beside their comparisons that only large differences can show."""


@dataclass(frozen=True)
class Comparison:
    """One row minus another, on one group's mean or on a measure.

    Attributes:
        group: short title of the group, or title of the measure.
        effect: difference (accuracies: in [-1, 1]); None when nothing was measured.
        contrast: the difference with its interval and test, over seeds and items; None where the runs say
            nothing of the methods (one seed, or one item): the effect is then one of these trained students.
        p_corrected: its p value, corrected within its family; None where there is none, or where the group
            cannot show a difference, which counts in no family.
        correction: how, or "" where p stands as it is.
        family: how many tests the correction counts.
        is_primary: whether it belongs to the comparisons that the table is made for; others are exploratory.
        margin: what counts as no difference, set in the table's file; None where nothing was set.
        can_show: whether the group can show a difference between methods at all.
        seeds, items: how many pairs.
        reason: why there is no comparison, or "".
        measured: names of the rows whose runs are compared: not "best" but the teacher that was chosen.
        students: what names the trained students of both rows, by their weights; "" where that is unknown.
        in_words: whether the report tells it in a sentence.
        tells_detectable: whether it also tells the smallest detectable difference.
        is_ratio: whether effect and interval are natural logarithms of a ratio.
    """

    row: str
    against: str
    row_title: str
    against_title: str
    group: str
    effect: float | None = None
    contrast: Contrast | None = None
    p_corrected: float | None = None
    correction: Correction | Literal[""] = ""
    family: int = 1
    is_primary: bool = False
    margin: float | None = None
    can_show: bool = True
    seeds: int = 0
    items: int = 0
    reason: str = ""
    measured: tuple[str, str] = ("", "")
    students: tuple[str, str] = ("", "")
    in_words: bool = False
    tells_detectable: bool = False
    is_ratio: bool = False

    @property
    def low(self) -> float | None:
        """Lower end of the 95 % interval; None where there is none, as where nothing varied."""
        return self.contrast.low if self.contrast and self.contrast.varies else None

    @property
    def high(self) -> float | None:
        """Upper end of the 95 % interval."""
        return self.contrast.high if self.contrast and self.contrast.varies else None

    @property
    def p_value(self) -> float | None:
        """Two-sided p of no difference, uncorrected."""
        return self.contrast.p_value if self.contrast else None

    @property
    def seed_sd(self) -> float | None:
        """Standard deviation, over seeds, of the paired difference."""
        return self.contrast.seed_sd if self.contrast else None

    @property
    def verdict(self) -> Verdict:
        """The outcome in a word or two."""
        if self.effect is None:
            return "not compared"
        return verdict(self.contrast, self.p_corrected, self.margin, self.can_show)

    @property
    def shown(self) -> bool:
        """Whether a difference is shown."""
        return self.verdict in ("above", "below")

    @property
    def detectable(self) -> float | None:
        """The smallest difference that the uncorrected test detects; None if that is unknown."""
        return self.contrast.detectable() if self.contrast else None

    @property
    def detectable_corrected(self) -> float | None:
        """The same at the strictest step of the family's correction."""
        return self.contrast.detectable(ALPHA / self.family) if self.contrast else None

    @property
    def counts(self) -> str:
        """How much was compared: "n = 3 seeds, 1,200 items"."""
        seeds = "1 seed" if self.seeds == 1 else f"{self.seeds} seeds"
        return f"n = {seeds}, {self.items:,} item{'s' if self.items != 1 else ''}"

    @property
    def measure(self) -> str:
        """Effect, interval and counts: "+2.1 pp [+0.4, +3.9], n = 5 seeds, 1,200 items"."""
        if self.effect is None:
            return "none"
        if self.is_ratio:
            low, high = (f"{math.exp(value or 0.0):.2f}" for value in (self.low, self.high))
            return f"{math.exp(self.effect):.2f} times [{low}, {high}], {self.counts}"
        interval = "" if self.low is None or self.high is None else f" [{_pp(self.low)}, {_pp(self.high)}]"
        return f"{_pp(self.effect)} pp{interval}, {self.counts}"


def _pp(value: float) -> str:
    # -0.0 would print as "-0.0".
    return f"{value * 100 + 0.0:+.1f}"


def few_seeds_note(seeds: Sequence[int]) -> str:
    """What few seeds of comparisons mean for them; "" when there are enough, or no comparison."""
    fewest = min((n for n in seeds if n), default=0)
    if fewest == 0 or fewest >= ENOUGH_SEEDS:
        return ""
    if fewest == 1:
        return (
            "Some rows are compared on one seed only: such a difference is one of these trained students and "
            "says nothing of the methods."
        )
    return (
        f"Some rows are compared on {fewest} seeds only, which measure badly how much a row varies over "
        "seeds: only large differences can show."
    )
