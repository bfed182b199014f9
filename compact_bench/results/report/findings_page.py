"""The page of findings over several sweeps: words, a picture, all comparisons; from records alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from compact_bench.core.files import write_atomic
from compact_bench.core.written.values import number_text
from compact_bench.results.figures import Drawing
from compact_bench.results.report.csv_file import COMPARISON_FIELDS, comparison_values, csv_field
from compact_bench.results.report.markdown import code, code_block, document, escaped, folded, grid, inline
from compact_bench.results.report.sections.provenance import provenance_markdown
from compact_bench.results.report.sweep_page import (
    families_sentence,
    margin_sentence,
    missing_markdown,
    run_states,
    statements_markdown,
    write_sweep,
)
from compact_bench.results.report.words import listed, points, uncorrected_only
from compact_bench.results.report.writer import unwrapped
from compact_bench.results.statistics.verdicts import SIGNS, Verdict
from compact_bench.results.sweeps.findings import Findings, Setting
from compact_bench.results.tables.comparisons import Comparison, few_seeds_note
from compact_bench.results.tables.notes import SMOKE_NOTE
from compact_bench.results.verdict_figure import Block, Square, draw_verdicts

SIDES: tuple[tuple[str, tuple[Verdict, ...]], ...] = (
    ("Against it", ("below",)),
    ("For it", ("above",)),
    ("Neither", ("equivalent", "inconclusive", "cannot show", "no verdict", "not compared")),
)
PAGE, PICTURE, COMPARISONS = "FINDINGS.md", "findings.png", "findings.csv"
OTHER_SETTINGS = 40
"""A sentence names no more settings than this; the tables below it name all."""
Found = tuple[Setting, Comparison]


def write_findings(findings: Findings, folder: Path) -> tuple[Path, ...]:
    """Write FINDINGS.md, findings.png, .svg and .csv, and every sweep's own files in a folder of its name.

    Returns:
        The files of the page, in this order; the same records give the same bytes.

    Raises:
        StoreError: a file cannot be written.
    """
    for sweep in findings.sweeps:
        write_sweep(sweep, folder / sweep.spec.name)
    drawing = draw_findings(findings)
    files = {
        PAGE: findings_markdown(findings).encode(),
        PICTURE: drawing.png,
        "findings.svg": drawing.svg,
        COMPARISONS: findings_csv(findings).encode(),
    }
    for name, content in files.items():
        write_atomic(folder / name, content)
    return tuple(folder / name for name in files)


def draw_findings(findings: Findings) -> Drawing:
    """The picture: a line per setting of the world, a column per row that the reference is compared with."""
    titles = {**findings.titles(rivals=True), **findings.titles(rivals=False)}

    def squares(setting: Setting) -> tuple[Square | None, ...]:
        found = (findings.comparison(setting, row) for row in titles)
        return tuple(None if c is None else Square(c.verdict, c.effect) for c in found)

    own = [(findings.label(s), squares(s)) for s in findings.settings if s.is_own]
    blocks = [Block("", tuple(own))] if own else []
    for number, sweep in enumerate(findings.sweeps):
        lines = [(number_text(s.value), squares(s)) for s in _of_sweep(findings, number)]
        if len(lines) == 1:
            lines = [(f"{sweep.spec.axis.short_title} {lines[0][0]}", lines[0][1])]
        if lines:
            blocks.append(Block(sweep.spec.axis.short_title, tuple(lines)))
    note = f"{_reference(findings)} minus the column, pp of {_measure(findings).lower()}, rounded"
    return draw_verdicts(
        f"Where {_reference(findings)} wins and where it loses", list(titles.values()), blocks, note
    )


def _of_sweep(findings: Findings, number: int) -> list[Setting]:
    return [s for s in findings.settings if s.sweep == number and not s.is_own]


def findings_csv(findings: Findings) -> str:
    """All comparisons of all sweeps and panels, and their statements, with what the verdicts rest on."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["sweep", "panel", "setting", "value", "is_own", *COMPARISON_FIELDS[1:]])
    for sweep in findings.sweeps:
        axis = csv_field(sweep.spec.axis.setting)
        for (panel, row, value), c in sweep.comparisons.items():
            place = [
                sweep.spec.name,
                panel,
                axis,
                number_text(value),
                "yes" if value == sweep.own_value else "no",
            ]
            values = comparison_values("", c)[1:]
            writer.writerow([*place, csv_field(sweep.spec.reference), csv_field(row), *values[2:]])
        for statement in sweep.statements:
            at = "" if statement.spec.at is None else number_text(statement.spec.at)
            values = comparison_values("", statement.comparison)[1:]
            rows = [csv_field(statement.spec.row), csv_field(statement.spec.against)]
            writer.writerow([sweep.spec.name, "statement", axis, at, "no", *rows, *values[2:]])
    return stream.getvalue()


def findings_markdown(findings: Findings) -> str:
    """The text of FINDINGS.md."""
    reference, sweeps = _reference(findings), findings.sweeps
    lines = [
        "<!-- Generated by compact-bench from run records: do not edit. -->",
        "",
        f"# Where {escaped(reference)} wins, and where it loses",
        "",
        *_opening(findings),
        "",
        *_sides(findings),
        f"![Verdicts at every setting]({PICTURE})",
        "",
        *_how_to_read(findings),
    ]
    stated = [sweep for sweep in sweeps if sweep.statements]
    if stated:
        lines += ["", "## Stated beforehand"]
    for sweep in stated:
        lines += ["", f"{escaped(sweep.spec.title)}:", "", *statements_markdown(sweep.statements)]
    lines += ["", "## Dial by dial"]
    for number in range(len(sweeps)):
        lines += ["", *_dial(findings, number)]
    lines += ["", "## What this world is, and what was known when it was made", "", *_world(findings)]
    if findings.missing:
        lines += ["", "## Missing", "", *missing_markdown(findings.missing)]
    lines += ["", "## How it was made", "", *code_block(findings.command), "", *_made(findings)]
    if findings.records:
        lines += ["", "## Provenance", "", *provenance_markdown(findings.records)]
    return document(lines)


def _reference(findings: Findings) -> str:
    return findings.sweeps[0].spec.reference_title or "the reference, which was left out,"


def _measure(findings: Findings) -> str:
    panel = findings.sweeps[0].spec.main_panel
    return panel.title if panel else "nothing"


def _found(findings: Findings, row: str) -> list[Found]:
    pairs = ((setting, findings.comparison(setting, row)) for setting in findings.settings)
    return [(setting, c) for setting, c in pairs if c is not None]


def _opening(findings: Findings) -> list[str]:
    """How often which verdict fell: a sentence and a small table."""
    rivals = findings.titles(rivals=True)
    if not rivals:
        return [
            "Nothing is compared: the sweeps have no row beside the reference, or the reference was left out."
        ]
    sweeps = findings.sweeps
    lines = []
    if sweeps[0].profile == "smoke":
        lines += [SMOKE_NOTE, ""]
    lines += [
        f"{escaped(_measure(findings))} of {escaped(_reference(findings))} minus that of each other row, at "
        f"{len(findings.settings)} settings of a constructed world "
        f"({escaped(listed([s.spec.axis.short_title for s in sweeps]))}); the number of settings by verdict:",
        "",
    ]
    counted = {title: [c.verdict for _, c in _found(findings, row)] for row, title in rivals.items()}
    order: list[Verdict] = ["below", "above", *SIDES[2][1]]
    shown = [v for v in order if v in ("below", "above") or any(v in some for some in counted.values())]
    rows = [[title, *(str(some.count(verdict)) for verdict in shown)] for title, some in counted.items()]
    return lines + grid(["Against", *(f"{SIGNS.get(v, '')} {v}".strip() for v in shown)], rows)


def _sides(findings: Findings) -> list[str]:
    lines: list[str] = []
    rivals = findings.titles(rivals=True)
    for title, verdicts in SIDES:
        bullets = [
            f"- **{verdict}** {escaped(name)} at {_places(findings, same)}."
            for verdict in verdicts
            for row, name in rivals.items()
            if (same := [pair for pair in _found(findings, row) if pair[1].verdict == verdict])
        ]
        if bullets:
            lines += [f"{title}:", "", *bullets, ""]
        elif title != "Neither":
            lines += [f"{title}: no setting, no row.", ""]
    return lines


def _places(findings: Findings, found: Sequence[Found]) -> str:
    """ "the suite's own (-3.1 pp); too hard 0.2, 0.4 (-9.0 to -5.2 pp)"; settings of one sweep together."""
    own = [pair for pair in found if pair[0].is_own]
    groups = [(findings.label(own[0][0]), own)] if own else []
    for number, sweep in enumerate(findings.sweeps):
        same = [pair for pair in found if pair[0].sweep == number and not pair[0].is_own]
        if same:
            values = listed([number_text(s.value) for s, _ in same], OTHER_SETTINGS)
            groups.append((f"{sweep.spec.axis.short_title} {values}", same))
    return inline("; ".join(f"{label}{_range([c for _, c in same])}" for label, same in groups))


def _range(comparisons: Sequence[Comparison]) -> str:
    effects = sorted(c.effect for c in comparisons if c.effect is not None)
    if not effects:
        return f" ({comparisons[0].reason})" if comparisons[0].reason else ""
    low, high = points(effects[0]), points(effects[-1])
    return f" ({low} pp)" if low == high else f" ({low} to {high} pp)"


def _how_to_read(findings: Findings) -> list[str]:
    sweeps = findings.sweeps
    every = [c for setting in findings.settings for row in findings.titles(rivals=True)
             if (c := findings.comparison(setting, row)) is not None]  # fmt: skip
    lines = [families_sentence(sweeps)]
    own = [f"{s.spec.axis.short_title} {number_text(s.own_value)}" for s in sweeps if s.own_value is not None]
    if own:
        lines.append(f"The suite's own setting is {listed(own)}; each sweep changes one of them.")
    for margin in dict.fromkeys(s.spec.margin for s in sweeps):
        lines.append(margin_sentence(margin, [c for c in every if c.margin == margin or margin is None]))
    if any(uncorrected_only(c) for c in every):
        lines.append("Inconclusive beside an interval that leaves out 0: the corrected test does not agree.")
    if marks := list(findings.titles(rivals=False).values()):
        lines.append(f"{listed(marks)}: no rivals, but what the others lie between.")
    lines.append(few_seeds_note([c.seeds for c in every]))
    return [f"- {escaped(text)}" for text in lines if text]


def _dial(findings: Findings, number: int) -> list[str]:
    """A sweep at a glance: its picture, and every difference with its interval and sign."""
    sweep = findings.sweeps[number]
    spec, panel = sweep.spec, sweep.spec.main_panel
    name = spec.name
    lines = [
        f"### {escaped(spec.title)}",
        "",
        f"![{escaped(spec.title)}]({name}/sweep_{name}.png)",
        "",
        f"{escaped(spec.note)} [All of this sweep]({name}/SWEEP.md).".strip(),
    ]
    if panel is None or not spec.reference_title:
        return lines
    head = [f"{spec.reference_title} minus, pp"]
    head += [f"{number_text(v)}{' (own)' if v == sweep.own_value else ''}" for v in spec.axis.values]
    rows = [
        [row.title, *(_cell(sweep.comparisons[panel.name, row.name, v]) for v in spec.axis.values)]
        for row in spec.rows
        if row.name != spec.reference
    ]
    return [*lines, "", *grid(head, rows)]


def _cell(c: Comparison) -> str:
    if c.effect is None:
        return c.reason
    ends = "" if c.low is None or c.high is None else f" [{points(c.low)}, {points(c.high)}]"
    return f"{SIGNS.get(c.verdict, '')} {points(c.effect)}{ends}"


def _world(findings: Findings) -> list[str]:
    """What the suite's card says of COMPACT and of its choices; all of the card behind it."""
    suite = findings.sweeps[0].suite
    card = unwrapped(suite.card)
    known = [line.removeprefix("- ") for line in card if "COMPACT" in line]
    lines = [
        "The world is constructed: a generator makes questions, teachers and their mistakes. What wins here "
        "shows that a mechanism can work, not that it works on rationales of language models."
        if suite.training.world is not None
        else "",
        "",
        "Of results of COMPACT, and of what was chosen knowing them, the suite's card says:"
        if known
        else "The suite's card does not say which of its choices knew results of COMPACT.",
        "",
        *(line for text in known for line in (f"> {escaped(text)}", "")),
    ]
    return [*lines, *folded("The whole card", card)]


def _made(findings: Findings) -> list[str]:
    first = findings.sweeps[0]
    head = ["Sweep", "Setting", "Values", "Suite's own", "Held fixed", "Seeds"]
    rows = [
        [
            s.spec.name,
            ", ".join(s.spec.axis.settings),
            ", ".join(map(number_text, s.spec.axis.values)),
            "none of them" if s.own_value is None else number_text(s.own_value),
            ", ".join(f"{name} {number_text(value)}" for name, value in s.spec.world.items()) or "nothing",
            ", ".join(map(str, s.spec.seeds)),
        ]
        for s in findings.sweeps
    ]
    return [
        f"- Suite: {escaped(first.suite.title)}",
        f"- Profile: {escaped(first.profile)}",
        f"- Student: {escaped(first.student)}",
        f"- Runs: {run_states(findings.records)}; a run that several sweeps share is made, and counted, once",
        f"- Every comparison: {code(COMPARISONS)}",
        "",
        *grid(head, rows, words=len(head)),
    ]
