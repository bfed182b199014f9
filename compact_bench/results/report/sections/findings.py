"""What a table's comparisons and controls support, in words: the part of a report that is read first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from compact_bench.results.report.markdown import escaped, grid, uncompared_sentences
from compact_bench.results.report.words import (
    LARGEST,
    NONE_ON_THIS_SCALE,
    cannot_be_equivalent,
    control_sentence,
    detectable_sentence,
    equivalence,
    listed,
    percent,
    points,
    sentence,
    uncorrected_only,
    without_spread,
)
from compact_bench.results.statistics.power import ALPHA, POWER
from compact_bench.results.statistics.verdicts import Verdict
from compact_bench.results.tables.build import Table
from compact_bench.results.tables.changes import Movement
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.notes import SMOKE_NOTE

SIDES: tuple[tuple[str, tuple[Verdict, ...]], ...] = (
    ("Against it", ("below",)),
    ("For it", ("above",)),
    ("Neither", ("equivalent", "inconclusive", "cannot show", "no verdict", "not compared")),
)
EXPLORATORY_WORDS: dict[Verdict, str] = {
    "above": "above",
    "below": "below",
    "equivalent": "equivalent to",
    "inconclusive": "inconclusive against",
    "cannot show": "cannot show a difference to",
    "no verdict": "no verdict (these trained students) against",
}


def primary_title(table: Table) -> str:
    """Heading of what the table was made for: "For and against COMPACT (paper)"."""
    title = next((c.row_title for c in table.comparisons if c.is_primary), "")
    return f"For and against {title}"


def primary_markdown(table: Table) -> list[str]:
    """The primary verdicts: what goes against the row, what for it, and what says neither.

    Returns:
        Lines below the section's heading; none for a table without primary comparisons.
    """
    primary = [c for c in table.comparisons if c.is_primary]
    if not primary:
        return []
    lines = [SMOKE_NOTE, ""] if table.profile == "smoke" else []
    for title, verdicts in SIDES:
        bullets = [
            _bullet(verdict, group, same)
            for verdict in verdicts
            for group in dict.fromkeys(c.group for c in primary)
            if (same := [c for c in primary if (c.verdict, c.group) == (verdict, group)])
        ]
        if bullets:
            lines += [f"{title}:", "", *bullets, ""]
        elif title != "Neither":
            lines += [f"{title}: no primary comparison.", ""]
    hidden = [m for m in table.hidden if m.mean.is_primary]
    if hidden:
        lines += ["Hidden by these means:", "", *(f"- {escaped(_hidden_sentence(m))}" for m in hidden), ""]
    return [*lines, _family_sentence(table, primary)]


def _bullet(verdict: Verdict, group: str, same: Sequence[Comparison]) -> str:
    """ "- **below** on OOD: Right-answer filter (-5.2 pp [-8.1, -2.3]).", and why no equivalence is said."""
    few = cannot_be_equivalent(same) if len(same) > 1 else ""
    if verdict == "not compared":
        named = [f"{c.against_title} ({c.reason})" for c in same]
    else:
        named = [
            _named(c, [uncorrected_only(c), without_spread(c), "" if few else equivalence(c)]) for c in same
        ]
    rest = f" {few[0].upper()}{few[1:]}." if few else ""
    return f"- **{verdict}** on {escaped(f'{group}: {listed(named)}.{rest}')}"


def _named(c: Comparison, reasons: Sequence[str]) -> str:
    return f"{c.against_title} ({'; '.join(text for text in (_size(c), *reasons) if text)})"


def _size(c: Comparison) -> str:
    ends = "" if c.low is None or c.high is None else f" [{points(c.low)}, {points(c.high)}]"
    return "no effect" if c.effect is None else f"{points(c.effect)} pp{ends}"


def _family_sentence(table: Table, primary: Sequence[Comparison]) -> str:
    measured = [c for c in primary if c.effect is not None]
    counts = sorted({c.seeds for c in measured})
    seeds = f", {' or '.join(map(str, counts))} seeds each" if counts and counts != [1] else ", one seed each"
    parts = [
        f"These comparisons are fixed in the table's file: {len(measured)} of {len(primary)} measured"
        f"{seeds if measured else ''}; {primary[0].row_title} minus the named row, in percentage points "
        "[95 % interval]"
    ]
    if family := next((c.family for c in measured if c.correction), 0):
        parts.append(f"Holm's correction counts {family}")
    if table.margin is not None:
        parts.append(f"a difference under {points(table.margin, '')} pp counts as none")
    return f"{escaped('; '.join(parts))}."


def _hidden_sentence(m: Movement) -> str:
    mean, task = m.mean, m.task
    return (
        f"{mean.group}: {mean.row_title} minus {mean.against_title} is {_size(mean)} in the mean, but "
        f"{_size(task)} on {task.group}."
    )


def hidden_markdown(table: Table) -> list[str]:
    """Tasks that move the other way than their group's mean, a sentence per group and task."""
    places = dict.fromkeys((m.mean.group, m.task.group, m.mean.against) for m in table.hidden)
    lines = []
    for group, task, against in places:
        same = [
            m for m in table.hidden if (m.mean.group, m.task.group, m.mean.against) == (group, task, against)
        ]
        named = [f"{m.mean.row_title} ({_size(m.task)}; mean {_size(m.mean)})" for m in same]
        over = same[0].mean.against_title
        lines.append(f"- {escaped(f'{group}, {task}: the other way over {over}: {listed(named)}.')}")
    return lines


def exploratory_markdown(table: Table) -> list[str]:
    """The other planned comparisons: for each row and group, what is said of which rows.

    Returns:
        Lines below the section's heading; none for a table that plans no other.
    """
    planned = [c for c in table.comparisons if c.in_words and not c.is_primary]
    measured = [c for c in planned if c.effect is not None]
    if not planned:
        return []
    lines = [SMOKE_NOTE, ""] if table.profile == "smoke" and table.primary is None else []
    for row in dict.fromkeys(c.row for c in measured):
        of_row = [c for c in measured if c.row == row]
        rows = len({c.against for c in of_row})
        count = f"{rows} rows" if rows > 1 else "1 row"
        lines += [f"**{escaped(of_row[0].row_title)}** compared with {count}:", ""]
        for group in dict.fromkeys(c.group for c in of_row):
            said = _said([c for c in of_row if c.group == group])
            lines.append(f"- {escaped(f'{group}: {said}.')}")
        lines.append("")
    if measured:
        families = sorted({c.family for c in measured if c.correction == "Benjamini-Hochberg"})
        count = f" over {' or '.join(map(str, families))} of them" if families else ""
        lines.append(
            "Exploratory: chosen to look at, not to decide; corrected by Benjamini and Hochberg"
            f"{count}, which holds the share of false findings, not the chance of one."
        )
    missing = [f"- {escaped(text)}" for text in uncompared_sentences(planned)]
    return [*lines, *([""] if measured and missing else []), *missing]


def _said(comparisons: Sequence[Comparison]) -> str:
    """One row on one group: "above A by 2.1 pp and B by 3.0 pp. Inconclusive against C"."""
    parts = []
    for verdict in get_args(Verdict):
        same = [c for c in comparisons if c.verdict == verdict and verdict in EXPLORATORY_WORDS]
        if same:
            sizes = [f"{c.against_title} ({points(c.effect or 0.0)} pp)" for c in same]
            parts.append(f"{EXPLORATORY_WORDS[verdict]} {listed(sizes)}")
    return ". ".join([parts[0], *(part[0].upper() + part[1:] for part in parts[1:])])


def table_detectable_sentence(table: Table) -> str:
    """How small a difference the told pairs can detect, in one sentence; "" where none is to say so."""
    if not (planned := _with_power(table)):
        return ""
    ranges = _detectable_ranges(planned)
    groups = [f"{_sized(plain)} on {escaped(group)} ({strict})" for group, _, _, plain, strict, _ in ranges]
    which = "primary" if all(c.is_primary for c in planned) else "planned"
    return (
        f"With {percent(POWER)} power at a two-sided {percent(ALPHA)} the {which} comparisons detect true "
        f"differences {listed(groups)}; in brackets at {percent(ALPHA)} / {planned[0].family}, the "
        "strictest step of the correction. That is for new seeds and new items alike."
    )


def _sized(detectable: str) -> str:
    """Cell of a detectable difference as part of a sentence."""
    sizes = {"none": "of no known size", NONE_ON_THIS_SCALE: f"of no size ({NONE_ON_THIS_SCALE})"}
    return sizes.get(detectable, f"of {detectable} pp")


def detectable_markdown(table: Table) -> list[str]:
    """What `table_detectable_sentence` says as a table, with the spread over seeds."""
    if not (planned := _with_power(table)):
        return []
    head = ["Group", "Pairs", "n of a pair", "Detectable, pp", "Detectable, corrected, pp", "Seed SD, pp"]
    return [table_detectable_sentence(table), "", *grid(head, _detectable_ranges(planned))]


def _with_power(table: Table) -> list[Comparison]:
    told = [c for c in table.comparisons if c.tells_detectable and c.effect is not None]
    primary = [c for c in told if c.is_primary]
    return primary or told


def _detectable_ranges(planned: Sequence[Comparison]) -> list[list[str]]:
    """Cells per group: name, pairs, counts; ranges of the detectable, also corrected, and of the seed SD."""
    rows = []
    for group in dict.fromkeys(c.group for c in planned):
        pairs = [c for c in planned if c.group == group]
        values = zip(*((c.detectable, c.detectable_corrected, c.seed_sd) for c in pairs), strict=True)
        counts = dict.fromkeys(c.counts.removeprefix("n = ") for c in pairs)
        rows.append([group, str(len(pairs)), " or ".join(counts), *map(_range, values)])
    return rows


def _range(values: Sequence[float | None]) -> str:
    known = sorted(value * 100 for value in values if value is not None and value <= LARGEST)
    beyond = any(value is not None and value > LARGEST for value in values)
    none = NONE_ON_THIS_SCALE if beyond else "none"
    if not known:
        return none
    low, high = f"{known[0]:.1f}", f"{known[-1]:.1f}"
    text = low if low == high else f"{low} to {high}"
    return text if len(known) == len(values) else f"{text} ({none} for {len(values) - len(known)})"


def suite_markdown(table: Table) -> list[str]:
    """Whether each compared group can show a difference, by the rows that bound it; none where none do."""
    if table.margin is None or len(table.bounds) < 2:
        return []
    titles = {row.name: row.title for row in table.rows}
    lines = [
        f"By these runs (table {table.number}); a group in which the rows that bound it lie within "
        f"{points(table.margin, '')} pp of one another cannot show a difference between methods:",
        "",
    ]
    for name, (group, _) in table.compared.items():
        means = [
            f"{titles[row]} {mean * 100:.1f} %"
            for row in table.bounds
            if (mean := table.cells[row, f"{name}_mean"].mean) is not None
        ]
        stick = table.yardsticks[name]
        verb = "can show a difference" if stick.can_show else "**cannot** show a difference"
        if stick.unknown:
            measured = f" (measured: {listed(means)})" if means else ""
            said = f"{group.title}: not known whether it can show a difference: {stick.unknown}{measured}."
            lines.append(f"- {escaped(said)}")
        elif means:
            lines.append(f"- {escaped(group.title)} {verb}: {escaped(listed(means))}.")
    return lines


def controls_markdown(table: Table) -> list[str]:
    """What the controls showed; none where the table has none."""
    if not table.controls:
        return []
    return [
        "Controls are pairs whose difference is known beforehand: they check the table itself, each by its "
        f"own test at {percent(ALPHA)}, and belong to no family.",
        "",
        *(f"- {escaped(control_sentence(control))}" for control in table.controls),
    ]


def sentences_markdown(table: Table) -> list[str]:
    """The planned comparisons, and what each could have detected, a sentence each: pair by pair."""
    planned = [c for c in table.comparisons if c.in_words and c.effect is not None]
    pairs = list(dict.fromkeys((c.row, c.against) for c in planned))
    planned.sort(key=lambda c: (not c.is_primary, pairs.index((c.row, c.against))))
    lines: list[str] = []
    for title, is_primary in (("Primary:", True), ("Exploratory:", False)):
        same = [f"- {escaped(sentence(c))}" for c in planned if c.is_primary is is_primary]
        lines += [title, "", *same, ""] if same else []
    precise = [f"- {escaped(detectable_sentence(c))}" for c in planned if c.tells_detectable]
    return [*lines, *(["What such seeds and items detect:", "", *precise] if precise else [])]
