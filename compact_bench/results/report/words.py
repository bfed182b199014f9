"""What a comparison says in words: every sentence with its verdict, and what stands behind the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from compact_bench.results.statistics.power import ALPHA, POWER
from compact_bench.results.statistics.verdicts import RULE, Verdict
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.controls import Control

NAMES_IN_A_SENTENCE = 12
RULE_SENTENCE = f"Verdicts by rule {RULE}."
LARGEST = 1.0
"""No true difference of accuracies is larger."""
NONE_ON_THIS_SCALE = "none on this scale"
"""Said where only a difference beyond `LARGEST` would be detected."""
MEANINGS: dict[Verdict, str] = {
    "above": "the first row is better: the corrected test finds a difference",
    "below": "the first row is worse: the corrected test finds a difference",
    "equivalent": "two one-sided tests at 5 % both put the difference within the margin",
    "inconclusive": "neither a difference nor equivalence is shown: nothing is known",
    "cannot show": "the rows that bound the group lie within the margin of one another (ceiling, floor, or "
    "no spread), so that no difference between methods can show in it",
    "no verdict": "one seed, or one item: the difference is one of these trained students, not of the "
    "methods",
    "not compared": "a row has no results, or both rows are the same students",
}


def percent(share: float) -> str:
    """A share as a level of a test: "5 %"."""
    return f"{share * 100:.0f} %"


def points(value: float, sign: str = "+") -> str:
    """A difference of accuracies in percentage points, with its sign: "+2.1"."""
    # What rounds to -0.0 would print as "-0.0".
    return f"{round(value * 100, 1) + 0.0:{sign}.1f}"


def listed(names: Sequence[str], most: int = NAMES_IN_A_SENTENCE) -> str:
    """Names in a sentence: "A, B and C"; beyond `most` they are counted."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    # A title may itself hold a comma ("Equal weights, with consistency").
    comma = "; " if any("," in name for name in names) else ", "
    return f"{comma.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def why(c: Comparison) -> str:
    """What stands behind a verdict beside effect and interval, as the end of a sentence; "" where nothing."""
    reasons = [uncorrected_only(c), without_spread(c), equivalence(c)]
    return "; ".join(reason for reason in reasons if reason)


def uncorrected_only(c: Comparison) -> str:
    """That an interval leaves out 0 and the corrected test does not confirm it; else ""."""
    if c.verdict in ("above", "below") or c.p_corrected is None or c.p_value is None or c.p_value >= ALPHA:
        return ""
    return "the interval leaves out 0, but the corrected test does not agree"


def without_spread(c: Comparison) -> str:
    """That a measured difference is the same on every item under every seed; else ""."""
    if c.contrast is None or c.contrast.varies:
        return ""
    alike = "both rows are alike" if c.effect == 0 else "the difference is the same"
    return (
        f"{alike} on every item under every seed, which does not say how unlike they could be on others: "
        "no interval, no equivalence"
    )


def equivalence(c: Comparison) -> str:
    """Why two rows are called equivalent, or why these seeds and items cannot say so; "" elsewhere."""
    found, margin = c.contrast, c.margin
    if found is None or margin is None:
        return ""
    if c.verdict == "equivalent":
        ends = f"[{points(found.low_90)}, {points(found.high_90)}]"
        return f"90 % interval {ends} within ±{points(margin, '')} pp"
    return cannot_be_equivalent([c])


def cannot_be_equivalent(comparisons: Sequence[Comparison]) -> str:
    """That these seeds or items are too few for equivalence, and by how much; "" where they are not."""
    blind = [
        (c.items, found.unseen, c.margin)
        for c in comparisons
        if (found := c.contrast) is not None
        and found.varies
        and c.margin is not None
        and c.verdict == "inconclusive"
        and found.unseen >= c.margin
    ]
    if blind:
        items, unseen, margin = min(blind)
        return (
            f"equivalence cannot be shown with these items ({items:,} can all miss a difference of "
            f"{points(unseen, '')} pp, the margin is {points(margin, '')} pp)"
        )
    few = [
        (found, c.margin)
        for c in comparisons
        if (found := c.contrast) is not None
        and found.varies
        and c.margin is not None
        and c.verdict == "inconclusive"
        and not found.can_show_equivalence(c.margin)
    ]
    if not few:
        return ""
    halves = sorted((found.high_90 - found.low_90) / 2 * 100 for found, _ in few)
    low, high = f"{halves[0]:.2f}", f"{halves[-1]:.2f}"
    sizes = low if low == high else f"{low} to {high}"
    widths = f"{sizes} pp > {few[0][1] * 100:.2f} pp"
    return f"equivalence cannot be shown with these seeds (90 % half-width {widths})"


def sentence(c: Comparison) -> str:
    """The comparison in words, its verdict first: "ID: above: A minus B is +2.1 pp [+0.4, +3.9] ..."."""
    head = f"{c.group}: {c.verdict}"
    if c.effect is None:
        return f"{head}: {c.row_title} with {c.against_title} ({c.reason})."
    text = f"{head}: {c.row_title} minus {c.against_title} is {c.measure}"
    if c.verdict == "no verdict":
        few = "one seed" if c.seeds == 1 else "one item"
        return f"{text}; {few}, so this is of these trained students only."
    if c.p_corrected is not None:
        text += f" (p = {c.p_corrected:.3g}{corrected_by(c)})"
    reason = why(c)
    return f"{text}; {reason}." if reason else f"{text}."


def corrected_by(c: Comparison) -> str:
    """How a p value was corrected: " after Holm over 12"; "" where it stands as it is."""
    return f" after {c.correction} over {c.family}" if c.correction else ""


def detectable_sentence(c: Comparison) -> str:
    """How small a difference of this pair the table could have detected, in words; "" if not compared."""
    if c.effect is None:
        return ""
    names = f"{c.row_title} and {c.against_title}"
    terms = f"{percent(POWER)} power, two-sided {percent(ALPHA)}, {c.counts}"
    if c.detectable is None:
        why_not = "one seed" if c.contrast is None and c.seeds == 1 else "too few items, or nothing varied"
        return (
            f"{c.group}: what difference between {names} could be detected is unknown ({terms}): {why_not}."
        )
    strict = detectable_text(c.detectable_corrected)
    spread = (
        "" if c.seed_sd is None else f" Over seeds it has a standard deviation of {points(c.seed_sd, '')} pp."
    )
    return (
        f"{c.group}: the smallest true difference between {names} that such seeds and items detect is "
        f"{detectable_text(c.detectable)} ({terms}); {strict} at the strictest step of the correction "
        f"({percent(ALPHA)} / {c.family}).{spread}"
    )


def detectable_text(size: float | None) -> str:
    """A detectable difference in words: "3.1 pp"; what no accuracies can differ by is none."""
    if size is None:
        return "none"
    return f"{points(size, '')} pp" if size <= LARGEST else NONE_ON_THIS_SCALE


def control_sentence(control: Control) -> str:
    """What was expected of a control, what came, and what that says of the table."""
    c, spec = control.comparison, control.spec
    expected = f"{c.row_title} {spec.expected} {c.against_title}"
    if spec.expected == "no difference":
        expected = f"no difference between {c.row_title} and {c.against_title}"
    reason = f", as {spec.reason}" if spec.reason else ""
    head = f"{c.group}: expected {expected}{reason}"
    if c.contrast is None:
        return f"{head}. Not measured ({c.reason or 'one seed, or one item'})."
    facts = f"{c.measure}, p = {c.contrast.p_value:.2g}, {c.verdict}"
    if control.came_out:
        return f"{head}. It came out as expected: {facts}."
    if spec.expected == "no difference":
        return (
            f"{head}. It did not come out: {facts}. By chance {percent(ALPHA)} of such pairs do not; else a "
            f"difference as large between other rows on {c.group} may be the seeds'."
        )
    return (
        f"{head}. It did not come out: {facts}. On {c.group} this table cannot tell rows apart that are "
        "known to differ: where nothing is shown there, nothing is known."
    )
