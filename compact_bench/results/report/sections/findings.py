"""What a table's comparisons and controls support, in words: the part of a report that is read first."""

from __future__ import annotations

from collections.abc import Sequence

from compact_bench.results.report.markdown import (
    VERDICT_LEGEND,
    escaped,
    folded,
    uncompared_sentences,
    verdict_grid,
)
from compact_bench.results.tables.build import Table
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.notes import SMOKE_NOTE

PAIRS_IN_A_SENTENCE = 6
SENTENCES_SHOWN = 24


def findings_markdown(table: Table) -> list[str]:
    """Sentences for the planned comparisons, what they could have detected, and the controls.

    Returns:
        Lines below the section's heading, pair by pair, so that the first pair's groups stand together;
        none of a table that compares nothing.
    """
    planned = [c for c in table.comparisons if c.in_words]
    if not planned:
        return []
    lines = [SMOKE_NOTE, ""] if table.profile == "smoke" else []
    uncompared = [f"- {escaped(text)}" for text in uncompared_sentences(planned)]
    pairs = list(dict.fromkeys((c.row, c.against) for c in planned))
    measured = sorted(
        (c for c in planned if c.effect is not None), key=lambda c: pairs.index((c.row, c.against))
    )
    for row in dict.fromkeys(c.row for c in measured):
        own = [c for c in measured if c.row == row]
        many = len({c.against for c in own}) > PAIRS_IN_A_SENTENCE
        lines += [*(_as_grid(own) if many else [_in_short(own)]), ""]
    if measured:
        lines += [
            "In full, with differences of mean accuracy in percentage points (pp) and 95 % intervals in "
            "brackets; above or below is said only where the interval leaves out 0 and a paired permutation "
            f"test agrees after Holm's correction over all {measured[0].family} comparisons of the table:",
            "",
        ]
    sentences = [f"- {escaped(c.sentence)}" for c in measured]
    fold = len(sentences) > SENTENCES_SHOWN
    lines += folded(f"{len(sentences)} comparisons in words", sentences) if fold else sentences
    lines += ["", *uncompared] if fold and uncompared else uncompared
    precise = [c.detectable_sentence for c in measured if c.tells_detectable]
    if precise:
        lines += [
            "",
            "What the table could have detected. This, like every p value here, is conditional on the seeds "
            "that were run; how much the seeds themselves differ is said apart.",
            "",
            *(f"- {escaped(text)}" for text in precise),
        ]
    if table.controls:
        lines += [
            "",
            "Controls: pairs whose difference is known beforehand, planned as a check of the table itself. "
            "They are no part of the family of Holm's correction.",
            "",
            *(f"- {escaped(control.sentence)}" for control in table.controls),
        ]
    return lines


def _as_grid(comparisons: Sequence[Comparison]) -> list[str]:
    """One row's verdicts against many others."""
    title = escaped(comparisons[0].row_title)
    return [f"**{title}** minus the row. {VERDICT_LEGEND}", "", *verdict_grid(comparisons)]


def _in_short(comparisons: Sequence[Comparison]) -> str:
    """One row's verdicts: "**A**: against B above (ID) and no difference shown (OOD); against C ..."."""
    parts = []
    for against in dict.fromkeys(c.against_title for c in comparisons):
        own = [c for c in comparisons if c.against_title == against]
        verdicts = [
            f"{verdict} ({', '.join(c.group for c in own if c.verdict == verdict)})"
            for verdict in dict.fromkeys(c.verdict for c in own)
        ]
        parts.append(f"against {against} {' and '.join(verdicts)}")
    return f"**{escaped(comparisons[0].row_title)}**: {escaped('; '.join(parts))}."
