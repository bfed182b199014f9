"""What may be said of two methods on a group of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from compact_bench.results.statistics.contrasts import Contrast
from compact_bench.results.statistics.power import ALPHA
from compact_bench.results.statistics.samples import Sample

RULE = "3: crossed random effects of seeds and items, on the seeds' degrees of freedom"
"""Number and name of the rule behind every verdict; reports say it. Rule 1 held the seeds fixed, rule 2 took
Satterthwaite's degrees of freedom and moderated the variances of few seeds."""
Verdict = Literal["above", "below", "equivalent", "inconclusive", "cannot show", "no verdict", "not compared"]
"""One row against another. "cannot show": the group cannot tell any rows apart. "no verdict": one seed (or
one item) says something of these trained students only. "not compared": nothing was measured."""
SIGNS: dict[Verdict, str] = {
    "above": "▲",
    "below": "▼",
    "equivalent": "=",
    "inconclusive": "~",
    "cannot show": "?",
    "no verdict": "·",
}
"""One sign a verdict, on pages and in pictures."""


def verdict(
    found: Contrast | None, p_corrected: float | None, margin: float | None = None, can_show: bool = True
) -> Verdict:
    """The outcome of a measured difference.

    Args:
        found: None where the seeds or items are too few for anything but the difference itself.
        p_corrected: of the family that the comparison belongs to.
        margin: a difference smaller than it counts as none; None where no margin was set beforehand.
        can_show: whether the group can show a difference at all; see `can_show`.
    """
    if found is None:
        return "no verdict"
    if not can_show:
        return "cannot show"
    if p_corrected is not None and p_corrected < ALPHA:
        return "above" if found.estimate > 0 else "below"
    return "equivalent" if margin is not None and found.is_equivalent(margin) else "inconclusive"


def can_show(bounds: Sequence[Sample], margin: float) -> bool:
    """Whether a group of tasks can show a difference between methods.

    It cannot where the rows that bound it (no training, equal weights, right rationales only) all lie
    within the margin of one another: everything is at the ceiling or the floor, or nothing matters.

    Args:
        bounds: those rows, as far as they were run; with fewer than two nothing is known, so that it can.
    """
    means = [float(sample.seed_means.mean()) for sample in bounds]
    return len(means) < 2 or max(means) - min(means) > margin
