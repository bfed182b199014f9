"""What a table's comparisons and controls support, in words: the part of a report that is read first."""

from __future__ import annotations

from collections.abc import Sequence

from compact_bench.results.report.markdown import escaped, grid, uncompared_sentences
from compact_bench.results.statistics.power import ALPHA, POWER
from compact_bench.results.tables.build import Table
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.notes import SMOKE_NOTE

NAMES_IN_A_SENTENCE = 12


def findings_markdown(table: Table) -> list[str]:
    """The verdict: for each planned row and group, which rows it is above, below or not shown to differ from.

    Returns:
        Lines below the section's heading; none for a table that compares nothing.
    """
    planned = [c for c in table.comparisons if c.in_words]
    measured = [c for c in planned if c.effect is not None]
    if not planned:
        return []
    lines = [SMOKE_NOTE, ""] if table.profile == "smoke" else []
    for row in dict.fromkeys(c.row for c in measured):
        of_row = [c for c in measured if c.row == row]
        rows = len({c.against for c in of_row})
        count = f"{rows} rows" if rows > 1 else "1 row"
        lines += [f"**{escaped(of_row[0].row_title)}** compared with {count}:", ""]
        for group in dict.fromkeys(c.group for c in of_row):
            verdict = _verdict([c for c in of_row if c.group == group])
            lines.append(f"- {escaped(f'{group}: {verdict}.')}")
        lines.append("")
    if measured:
        lines.append(
            "Differences are of mean accuracy, in percentage points (pp). A row is called above or below "
            "another only where the 95 % interval leaves out 0 and a paired permutation test agrees after "
            f"Holm's correction over all {measured[0].family} comparisons of the table."
        )
    missing = [f"- {escaped(text)}" for text in uncompared_sentences(planned)]
    return [*lines, *([""] if measured and missing else []), *missing]


def _verdict(comparisons: Sequence[Comparison]) -> str:
    """One row on one group: "above A by 2.1 pp and B by 3.0 pp. Not shown to differ from C"."""
    parts = []
    for verdict in ("above", "below"):
        sides = [c for c in comparisons if c.verdict == verdict]
        if sides:
            sizes = [f"{c.against_title} by {abs(c.effect or 0.0) * 100:.1f} pp" for c in sides]
            parts.append(f"{verdict} {_listed(sizes)}")
    equal = [c.against_title for c in comparisons if not c.shown]
    if equal:
        parts.append(f"not shown to differ from {_listed(equal)}")
    return ". ".join([parts[0], *(part[0].upper() + part[1:] for part in parts[1:])])


def _listed(names: Sequence[str]) -> str:
    if len(names) > NAMES_IN_A_SENTENCE:
        names = [*names[: NAMES_IN_A_SENTENCE - 1], f"{len(names) - NAMES_IN_A_SENTENCE + 1} more"]
    # A title may itself hold a comma ("Equal weights, with consistency").
    comma = "; " if any("," in name for name in names) else ", "
    return f"{comma.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def detectable_sentence(table: Table) -> str:
    """How small a difference the planned pairs can detect, in one sentence; "" where none is to say so."""
    if not (planned := _with_power(table)):
        return ""
    level = f"{ALPHA * 100:.0f} %"
    ranges = _detectable_ranges(planned)
    groups = [
        f"{'no size' if plain == 'none' else f'{plain} pp'} on {escaped(group)} ({at_holm})"
        for group, _, _, plain, at_holm, _ in ranges
    ]
    return (
        f"With {POWER * 100:.0f} % power at a two-sided {level} the planned comparisons detect differences "
        f"of {_listed(groups)}; in brackets at {level} / {planned[0].family}, the strictest step of Holm's "
        "correction. Like every p value here, this is conditional on the seeds that were run."
    )


def detectable_markdown(table: Table) -> list[str]:
    """What `detectable_sentence` says as a table, with the spread over seeds."""
    if not (planned := _with_power(table)):
        return []
    head = ["Group", "Pairs", "n of a pair", "Detectable, pp", "Detectable, Holm, pp", "Seed SD, pp"]
    return [detectable_sentence(table), "", *grid(head, _detectable_ranges(planned))]


def _with_power(table: Table) -> list[Comparison]:
    return [c for c in table.comparisons if c.tells_detectable and c.effect is not None]


def _detectable_ranges(planned: Sequence[Comparison]) -> list[list[str]]:
    """Cells per group: name, pairs, counts; ranges of the detectable, also at Holm, and of the seed SD."""
    rows = []
    for group in dict.fromkeys(c.group for c in planned):
        pairs = [c for c in planned if c.group == group]
        values = zip(*((c.detectable, c.detectable_corrected, c.seed_sd) for c in pairs), strict=True)
        counts = dict.fromkeys(c.counts.removeprefix("n = ") for c in pairs)
        rows.append([group, str(len(pairs)), " or ".join(counts), *map(_range, values)])
    return rows


def _range(values: Sequence[float | None]) -> str:
    known = sorted(value * 100 for value in values if value is not None)
    if not known:
        return "none"
    low, high = f"{known[0]:.1f}", f"{known[-1]:.1f}"
    text = low if low == high else f"{low} to {high}"
    return text if len(known) == len(values) else f"{text} (none for {len(values) - len(known)})"


def controls_markdown(table: Table) -> list[str]:
    """What the controls showed; none where the table has none."""
    if not table.controls:
        return []
    return [
        "Controls are pairs whose difference is known beforehand: they check the table itself, and Holm's "
        "correction does not count them.",
        "",
        *(f"- {escaped(control.sentence)}" for control in table.controls),
    ]


def sentences_markdown(table: Table) -> list[str]:
    """The planned comparisons, and what each could have detected, a sentence each: pair by pair."""
    planned = [c for c in table.comparisons if c.in_words and c.effect is not None]
    pairs = list(dict.fromkeys((c.row, c.against) for c in planned))
    planned.sort(key=lambda c: pairs.index((c.row, c.against)))
    lines = [f"- {escaped(c.sentence)}" for c in planned]
    precise = [f"- {escaped(c.detectable_sentence)}" for c in planned if c.tells_detectable]
    return [*lines, *(["", "What the table could have detected:", "", *precise] if precise else [])]
