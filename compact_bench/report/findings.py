"""What a table's comparisons and controls support, in words: the part of a report that is read first."""

from __future__ import annotations

from compact_bench.report.markdown import escaped, uncompared_sentences
from compact_bench.tables import PROFILE_NOTES, Table

__all__ = ["findings_markdown"]


def findings_markdown(table: Table) -> list[str]:
    """Sentences for the planned comparisons, what they could have detected, and the controls.

    Args:
        table: what to put into words; one that compares nothing has no findings.

    Returns:
        Lines below the section's heading; pair by pair, so that the first pair's groups stand together.
    """
    told = [c for c in table.comparisons if c.in_words]
    if not told:
        return []
    lines = [PROFILE_NOTES[table.profile], ""] if table.profile in PROFILE_NOTES else []
    pairs = list(dict.fromkeys((c.row, c.against) for c in told))
    measured = sorted(
        (c for c in told if c.effect is not None), key=lambda c: pairs.index((c.row, c.against))
    )
    if measured:
        lines += [
            "Differences of mean accuracy in percentage points (pp), with 95 % intervals in brackets. A row "
            "is called above or below another only where the interval leaves out 0 and a paired permutation "
            f"test agrees after Holm's correction over all {measured[0].family} comparisons of the table.",
            "",
        ]
    sentences = [c.sentence for c in measured] + uncompared_sentences(told)
    lines += [f"- {escaped(text)}" for text in sentences]
    precise = [c.detectable_sentence for c in measured if c.tells_detectable]
    if precise:
        lines += ["", "What the table could have detected:", "", *(f"- {escaped(text)}" for text in precise)]
    if table.controls:
        lines += [
            "",
            "Controls: pairs whose difference is known beforehand, planned as a check of the table itself. "
            "They are no part of the family of Holm's correction.",
            "",
            *(f"- {escaped(control.sentence)}" for control in table.controls),
        ]
    return lines
