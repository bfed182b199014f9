"""A table as Markdown: summary, verdicts, column groups and comparisons, none too wide to read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from compact_bench.core.written.names import shown
from compact_bench.results.report.formatting import (
    COUNTED,
    Reasons,
    cell_text,
    column_items,
    row_seeds,
    shown_rows,
)
from compact_bench.results.report.words import LARGEST, MEANINGS, NONE_ON_THIS_SCALE, RULE_SENTENCE, percent
from compact_bench.results.statistics.power import ALPHA, POWER
from compact_bench.results.statistics.verdicts import SIGNS
from compact_bench.results.tables.build import STEPS, Column, Row, Table
from compact_bench.results.tables.comparisons import Comparison

LONG_ROWS = 20
"""A section with more rows folds its tables."""
VERDICT_LEGEND = (
    f"{', '.join(f'{sign} {verdict}' for verdict, sign in SIGNS.items())}. Differences are the column's row "
    "minus the line's, in percentage points (pp), with 95 % intervals."
)
COMPARISON_HEAD = (
    "Difference",
    "Effect, pp",
    "Seed SD, pp",
    "p",
    "p, corrected",
    "Detectable, pp",
    "Seeds x items",
    "First row is",
)
LEGEND = {
    "percent": "Percent: mean ± standard deviation over seeds [95 % interval]; n is the number of items.",
    "accuracy": "Percent: mean ± standard deviation over seeds [95 % interval]; n is the number of items.",
    "change": "Percent of the reference row's mean: change ± standard deviation over seeds [95 % interval].",
    "nats": "Mean ± standard deviation over seeds [95 % interval]; n is the number of items.",
    "steps": "Mean ± standard deviation over seeds.",
}


_INLINE = (
    # What would be read as another sign, a link, an image, bold, struck out; `<` behind `&`, which it makes.
    (re.compile(r"\\"), r"\\\\"),
    (re.compile(r"&(?=#?\w+;)"), "&amp;"),
    (re.compile("<"), "&lt;"),
    (re.compile(r"\|"), r"\|"),
    (re.compile("`"), r"\`"),
    (re.compile(r"\]\("), r"]\("),
    (re.compile(r"\](?=[\[:])"), r"\]"),
    (re.compile(r"(?<=\S)[*~]|[*~](?=\S)"), r"\\\g<0>"),
    (re.compile(r"(?<![A-Za-z0-9])_(?=\S)"), r"\_"),
)
_BLOCK = re.compile(r"(#{1,6}(?=\s|$)|>|[-+](?=\s|$)|=+\s*$|-+\s*$)")
_NUMBERED = re.compile(r"(\d{1,9})([.)])(?=\s|$)")


def inline(text: str) -> str:
    """Text that may stand in a table cell or within a line: it is shown as it is, on one line."""
    text = shown(" ".join(text.split()))
    for found, instead in _INLINE:
        text = found.sub(instead, text)
    return text


def escaped(text: str) -> str:
    """Text that may also begin a line, a list item or a heading."""
    text = inline(text)
    if _BLOCK.match(text):
        return f"\\{text}"
    return _NUMBERED.sub(r"\1\\\2", text, count=1) if _NUMBERED.match(text) else text


def code_block(*lines: str) -> list[str]:
    """Lines of a block of code, whatever they hold."""
    text = [shown(line) for line in lines]
    fence = "`" * max(3, 1 + max((len(run) for line in text for run in re.findall("`+", line)), default=0))
    return [fence, *text, fence]


def code(text: str) -> str:
    """Text as code within a line, whatever it holds."""
    text = shown(" ".join(text.split()))
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def document(lines: Iterable[str]) -> str:
    """The text of a page: every one of `lines` stays one line, in which nothing hides."""
    return "\n".join(map(shown, lines)).rstrip() + "\n"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> list[str]:
    """Lines of a Markdown table; the first `words` columns are left-aligned, the others right-aligned.

    Args:
        head: column titles.
        rows: cells as text; they are escaped here.
        words: how many columns are left-aligned.
    """
    lines = ["| " + " | ".join(map(inline, head)) + " |"]
    lines.append("|" + "|".join(["---"] * words + ["---:"] * (len(head) - words)) + "|")
    lines += ["| " + " | ".join(map(inline, row)) + " |" for row in rows]
    return lines


def folded(title: str, lines: Sequence[str]) -> list[str]:
    """Markdown that a reader opens with a click on its title."""
    return ["<details>", f"<summary>{escaped(title)}</summary>", "", *lines, "", "</details>"]


def summary_columns(table: Table) -> list[Column]:
    """Group means, measures that the table marks, cost in steps and tokens; none where there are no means."""
    means = [column for column in table.columns if column.is_mean]
    first = [table.columns_of(g.name)[0] for g in table.groups if g.summary]
    costs = [next((c for c in table.columns if c.unit == unit), None) for unit in ("steps", "tokens")]
    return [*means, *first, *(c for c in costs if c is not None)] if means else []


def group_markdown(table: Table, name: str) -> list[str]:
    """A compared group at a glance: its mean, what the mean is over the untrained student's, every task.

    Tasks are means alone; their spread and intervals stand on the table's page.
    """
    columns = table.columns_of(name)
    mean = next((column for column in columns if column.is_mean), None)
    tasks = [column for column in columns if column is not mean]
    over = {row: c for (row, group), c in table.over_untrained.items() if group == name}
    base = next((c.against_title for c in over.values()), "")
    reasons = Reasons()

    def cells(row: Row) -> Iterable[str]:
        seeds = row_seeds(table, row.name, columns)
        yield row.title
        yield str(seeds) if seeds else ""
        if mean is not None:
            cell = table.cells[row.name, mean.name]
            yield cell_text(cell, mean.unit, reasons, items=column_items(table, mean), seeds=seeds)
            if base:
                yield _effect_cell(over.get(row.name))
        for column in tasks:
            cell = replace(table.cells[row.name, column.name], low=None, high=None, seed_sd=None)
            yield cell_text(cell, column.unit, reasons, items=column_items(table, column), seeds=seeds)

    head = ["Row", "Seeds"]
    if mean is not None:
        head += [_head(table, mean), *([f"minus {base}, pp"] if base else [])]
    head += [column.title if column.name.endswith(STEPS) else _head(table, column) for column in tasks]
    lines = grid(head, [list(cells(row)) for row in shown_rows(table, columns)])
    for text in reasons.listing:
        lines += ["", escaped(text)]
    return lines


def _effect_cell(c: Comparison | None) -> str:
    if c is None or c.effect is None:
        return ""
    ends = (
        "" if c.low is None or c.high is None else f" [{c.low * 100 + 0.0:+.1f}, {c.high * 100 + 0.0:+.1f}]"
    )
    return f"{c.effect * 100 + 0.0:+.1f}{ends}"


def _head(table: Table, column: Column) -> str:
    """A column's title with the number of its items, where it is over items of one number."""
    items = None if column.unit in COUNTED else column_items(table, column)
    return column.title if items is None else f"{column.title} (n = {items})"


def rest_markdown(table: Table) -> list[str]:
    """The measures that a summary shows beside means: drift, steps, tokens; no lines where there are none."""
    columns = [column for column in summary_columns(table) if not column.is_mean]
    return _columns_markdown(table, columns, spread=False) if columns else []


def table_markdown(table: Table) -> list[str]:
    """Notes and a table for every column group, below the heading of the table's page."""
    lines = [escaped(table.numbering), "", *(f"- {escaped(note)}" for note in table.notes)]
    for group in table.groups:
        columns = table.columns_of(group.name)
        lines += ["", f"## {escaped(group.title)}", ""]
        lines += [*([escaped(group.note), ""] if group.note else []), *_columns_markdown(table, columns)]
        if table.cost_notes and any(column.unit == "steps" for column in columns):
            lines += ["", "Rows whose budget is not the reference's, in means over seeds:", ""]
            lines += [f"- {escaped(text)}" for text in table.cost_notes]
    return lines


def verdict_grid(comparisons: Sequence[Comparison]) -> list[str]:
    """One row's comparisons, a line for each other row: sign (see `VERDICT_LEGEND`), effect and interval."""
    groups = list(dict.fromkeys(c.group for c in comparisons))
    cells = {(c.against, c.group): c for c in comparisons}
    titles = {c.against: c.against_title for c in comparisons}
    head = [f"{comparisons[0].row_title} minus", *groups]
    return grid(
        head,
        ([title, *(_verdict_cell(cells.get((row, g))) for g in groups)] for row, title in titles.items()),
    )


def _verdict_cell(c: Comparison | None) -> str:
    if c is None:
        return ""
    return "not compared" if c.effect is None else f"{SIGNS[c.verdict]} {_effect_cell(c)}"


def meanings_markdown() -> list[str]:
    """What every verdict means, a list."""
    return [f"- **{verdict}**: {meaning}." for verdict, meaning in MEANINGS.items()]


def _columns_markdown(table: Table, columns: Sequence[Column], *, spread: bool = True) -> list[str]:
    reasons = Reasons()
    items = {column.name: column_items(table, column) for column in columns}
    head = ["Row", "Seeds", *(_head(table, column) for column in columns)]

    def cells(row: Row) -> Iterable[str]:
        seeds = row_seeds(table, row.name, columns)
        yield row.title
        yield str(seeds) if seeds else ""
        for column in columns:
            cell = table.cells[row.name, column.name]
            if column.unit in COUNTED and not spread:
                cell = replace(cell, seed_sd=None)
            yield cell_text(cell, column.unit, reasons, items=items[column.name], seeds=seeds)

    lines = grid(head, [list(cells(row)) for row in shown_rows(table, columns)])
    for text in reasons.listing:
        lines += ["", escaped(text)]
    return [*lines, "", LEGEND.get(columns[0].unit, LEGEND["nats"])]


def comparisons_markdown(comparisons: Sequence[Comparison]) -> list[str]:
    """All comparisons of a table: why pairs are missing, how to read the numbers, a table per group."""
    lines = [escaped(text) for text in uncompared_sentences(comparisons)]
    measured = [c for c in comparisons if c.effect is not None]
    if measured:
        level = percent(ALPHA)
        lines += [
            f"{RULE_SENTENCE} Effect is the first row minus the second, over seeds and items that are both "
            "drawn at random (crossed random effects), with its 95 % interval; p is of the t test with the "
            "seeds' degrees of freedom, and agrees with the interval. Seed SD is the standard "
            "deviation of the paired difference over seeds. Detectable is the smallest true difference found "
            f"with {percent(POWER)} power at a two-sided {level}, and in brackets at the strictest step of "
            "the correction, both from the same model (noncentral t).",
            *meanings_markdown(),
        ]
    lines = [line for text in lines for line in ((text,) if text.startswith("- **") else (text, ""))]
    lines += [""] if measured else []
    for title, is_primary in (("Primary", True), ("Exploratory", False)):
        same = [c for c in measured if c.is_primary is is_primary]
        own = "Holm" if is_primary else "Benjamini-Hochberg"
        families = sorted({c.family for c in same if c.correction == own})
        corrected = f"Corrected by {own} over {' or '.join(map(str, families))}."
        if any(c.correction not in ("", own) for c in same):
            corrected += " A pair of the same students as a primary one has its p from there."
        for group in dict.fromkeys(c.group for c in same):
            rows = [_comparison_cells(c) for c in same if c.group == group]
            lines += [f"## {title}: {escaped(group)}", ""]
            lines += [corrected, ""] if families else []
            lines += [*grid(COMPARISON_HEAD, rows), ""]
    return lines[:-1]


def uncompared_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """Why pairs of one table were not compared: once for a pair that has the same reason in every group."""
    groups_of: dict[str, list[str]] = {}
    for c in comparisons:
        if c.effect is None:
            text = f"{c.row_title} and {c.against_title} are not compared ({c.reason})."
            groups_of.setdefault(text, []).append(c.group)
    every = {c.group for c in comparisons}
    return [
        text if set(groups) == every else f"{', '.join(groups)}: {text}" for text, groups in groups_of.items()
    ]


def _comparison_cells(c: Comparison) -> list[str]:
    interval = "" if c.low is None or c.high is None else f" [{_pp(c.low)}, {_pp(c.high)}]"
    return [
        f"{c.row_title} minus {c.against_title}",
        _pp(c.effect) + interval,
        _pp(c.seed_sd, sign=""),
        "none" if c.p_value is None else f"{c.p_value:.4f}",
        "none" if c.p_corrected is None else f"{c.p_corrected:.4f}",
        f"{_detectable(c.detectable)} ({_detectable(c.detectable_corrected)})",
        f"{c.seeds} x {c.items:,}",
        c.verdict,
    ]


def _detectable(size: float | None) -> str:
    return NONE_ON_THIS_SCALE if size is not None and size > LARGEST else _pp(size, sign="")


def _pp(value: float | None, sign: str = "+") -> str:
    return "none" if value is None else f"{value * 100 + 0.0:{sign}.2f}"
