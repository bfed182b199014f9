"""A table as Markdown: one table per column group, so that none is too wide to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compact_bench.results.report.formatting import Reasons, cell_text, column_items, row_seeds, shown_rows
from compact_bench.results.stats import ALPHA, POWER
from compact_bench.results.tables.build import Column, Table
from compact_bench.results.tables.comparisons import Comparison

VERDICT_LEGEND = (
    "Percentage points; bold where the interval leaves out 0 and the corrected test agrees, elsewhere no "
    "difference is shown."
)
LONG_ROWS = 20
"""A table with more rows shows its summary, and the rest on demand."""

COMPARISON_HEAD = (
    "Difference",
    "Effect, pp",
    "Seed SD, pp",
    "p",
    "p (Holm)",
    "Detectable, pp",
    "Seeds x items",
    "First row is",
)

LEGEND = {
    "accuracy": "Percent: mean ± standard deviation over seeds [95 % interval]; n is the number of items.",
    "change": "Percent of the reference row's mean: change ± standard deviation over seeds [95 % interval].",
    "nats": "Mean ± standard deviation over seeds [95 % interval]; n is the number of items.",
    "steps": "Mean ± standard deviation over seeds.",
}


def escaped(text: str) -> str:
    """Text that may stand in a Markdown table cell."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> list[str]:
    """Lines of a Markdown table; the first columns are left-aligned, the others right-aligned.

    Args:
        head: column titles.
        rows: cells as text; they are escaped here.
        words: how many columns are left-aligned.
    """
    lines = ["| " + " | ".join(escaped(text) for text in head) + " |"]
    lines.append("|" + "|".join(["---"] * words + ["---:"] * (len(head) - words)) + "|")
    lines += ["| " + " | ".join(escaped(text) for text in row) + " |" for row in rows]
    return lines


def table_markdown(table: Table, level: int = 2) -> list[str]:
    """Heading, notes, a summary and one table per column group.

    Args:
        table: what to show.
        level: heading level.
    """
    mark = "#" * level
    lines = [f"{mark} Table {table.number}. {table.title}", "", table.numbering, ""]
    lines += [f"- {note}" for note in table.notes]
    summary = _summary_columns(table)
    if summary:
        lines += ["", f"{mark}# Summary", "", *_columns_markdown(table, summary)]
    if is_long(table) and (shorter := _against_reference(table)):
        lines += ["", f"{mark}# Against the reference", "", *shorter]
    for group in table.groups:
        columns = table.columns_of(group.name)
        shown = [*([group.note, ""] if group.note else []), *_columns_markdown(table, columns)]
        title = f"{group.title}, {len(shown_rows(table, columns))} rows"
        fold = is_long(table) and group.kind != "changes"
        lines += ["", f"{mark}# {group.title}", "", *(folded(title, shown) if fold else shown)]
        if table.cost_notes and any(column.unit == "steps" for column in columns):
            lines += ["", *_costs_markdown(table)]
    return lines


def is_long(table: Table) -> bool:
    """Whether a table has so many rows that a reader should see its summary first.

    Args:
        table: the table.
    """
    return sum(row.kind == "runs" for row in table.rows) > LONG_ROWS


def folded(title: str, lines: Sequence[str]) -> list[str]:
    """Lines that a reader opens.

    Args:
        title: what is there to see.
        lines: Markdown.
    """
    return ["<details>", f"<summary>{escaped(title)}</summary>", "", *lines, "", "</details>"]


def _costs_markdown(table: Table) -> list[str]:
    """The rows that cost more or less than the reference."""
    head = "Rows whose budget is not the reference's, in means over seeds:"
    listed = [f"- {escaped(text)}" for text in table.cost_notes]
    if len(listed) > LONG_ROWS:
        return folded(f"{len(listed)} rows whose budget is not the reference's", listed)
    return [head, "", *listed]


def _against_reference(table: Table) -> list[str]:
    """The reference row minus every other, a line a row; the full comparisons stand below."""
    rows = [row.name for row in table.rows if row.kind == "runs"]
    found = [c for c in table.comparisons if c.row == table.reference and c.effect is not None]
    found.sort(key=lambda c: rows.index(c.against))
    if not found:
        return []
    title = escaped(found[0].row_title)
    return [
        f"{title} minus the row. {VERDICT_LEGEND} The rest stands under Comparisons.",
        "",
        *verdict_grid(found),
    ]


def verdict_grid(comparisons: Sequence[Comparison]) -> list[str]:
    """One row against others, a line for each of them: effect and interval of every group, see the legend.

    Args:
        comparisons: of one row.
    """
    groups = list(dict.fromkeys(c.group for c in comparisons))
    lines = []
    for against in dict.fromkeys(c.against for c in comparisons):
        own = {c.group: c for c in comparisons if c.against == against}
        title = next(iter(own.values())).against_title
        lines.append([title, *(_verdict_cell(own.get(group)) for group in groups)])
    return grid(["Against", *groups], lines)


def _verdict_cell(c: Comparison | None) -> str:
    if c is None or c.effect is None:
        return "not compared"
    interval = "" if c.low is None or c.high is None else f" [{c.low * 100:+.1f}, {c.high * 100:+.1f}]"
    effect = f"{c.effect * 100 + 0.0:+.1f}"
    return f"**{effect}**{interval}" if c.shown else f"{effect}{interval}"


def _summary_columns(table: Table) -> list[Column]:
    means = [column for column in table.columns if column.is_mean]
    first = [table.columns_of(g.name)[0] for g in table.groups if g.summary]
    return means + first if means else []


def _columns_markdown(table: Table, columns: Sequence[Column]) -> list[str]:
    reasons = Reasons()
    items = {column.name: column_items(table, column) for column in columns}
    head = ["Row", "Seeds"]
    for column in columns:
        count = items[column.name] if column.unit not in ("steps", "tokens", "seconds") else None
        head.append(f"{column.title} (n = {count})" if count else column.title)
    rows = []
    for row in shown_rows(table, columns):
        cells = [(column, table.cells[row.name, column.name]) for column in columns]
        seeds = row_seeds(table, row.name, columns)
        texts = [
            cell_text(cell, column.unit, reasons, items=items[column.name], seeds=seeds)
            for column, cell in cells
        ]
        rows.append([row.title, str(seeds) if seeds else "", *texts])
    lines = grid(head, rows)
    lines += ["", LEGEND.get(columns[0].unit, LEGEND["nats"])]
    for text in reasons.listing:
        lines += ["", escaped(text)]
    return lines


def comparisons_markdown(comparisons: Sequence[Comparison], *, fold: bool = False) -> list[str]:
    """What the numbers of a table's comparisons mean, and one table per group.

    Args:
        comparisons: of one table.
        fold: whether the reader opens the groups' tables.
    """
    lines = [escaped(text) for text in uncompared_sentences(comparisons)]
    measured = [c for c in comparisons if c.effect is not None]
    if not measured:
        return [line for text in lines for line in (text, "")][:-1]
    family, level = measured[0].family, f"{ALPHA * 100:.0f} %"
    lines += [
        "Effect is the first row minus the second, with its 95 % interval. p is of a paired permutation test "
        "over items on differences averaged over seeds; Holm's correction is over all comparisons of the "
        f"table ({family}). Detectable is the smallest true difference that this test finds with "
        f"{POWER * 100:.0f} % power at a two-sided {level}, and in brackets at the strictest step of the "
        f"correction ({level} / {family}): from the standard error over items, which are drawn within their "
        "benchmark, by the normal approximation.",
        "p and the detectable difference are conditional on the seeds that were run; the interval resamples "
        "them too. How much they differ stands apart: seed SD is the standard deviation, over seeds, of the "
        "paired difference.",
    ]
    lines = [line for text in lines for line in (text, "")]
    for group in dict.fromkeys(c.group for c in measured):
        rows = [_comparison_cells(c) for c in measured if c.group == group]
        shown = grid(COMPARISON_HEAD, rows)
        shown = folded(f"{group}, {len(rows)} comparisons", shown) if fold else shown
        lines += [f"#### {escaped(group)}", "", *shown, ""]
    return lines[:-1]


def uncompared_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """Why pairs were not compared: once for a pair that has the same reason in every group.

    Args:
        comparisons: of one table; those that have numbers are passed over.
    """
    found: dict[str, list[Comparison]] = {}
    for c in comparisons:
        if c.effect is None:
            text = f"{c.row_title} and {c.against_title} are not compared ({c.reason})."
            found.setdefault(text, []).append(c)
    groups = {c.group for c in comparisons}
    return [
        text if {c.group for c in same} == groups else f"{', '.join(c.group for c in same)}: {text}"
        for text, same in found.items()
    ]


def _comparison_cells(c: Comparison) -> list[str]:
    interval = "" if c.low is None or c.high is None else f" [{_pp(c.low)}, {_pp(c.high)}]"
    return [
        f"{c.row_title} minus {c.against_title}",
        _pp(c.effect) + interval,
        _pp(c.seed_sd, sign=""),
        "none" if c.p_value is None else f"{c.p_value:.4f}",
        "none" if c.p_holm is None else f"{c.p_holm:.4f}",
        f"{_pp(c.detectable, sign='')} ({_pp(c.detectable_holm, sign='')})",
        f"{c.seeds} x {c.items:,}",
        c.verdict,
    ]


def _pp(value: float | None, sign: str = "+") -> str:
    return "none" if value is None else f"{value * 100 + 0.0:{sign}.2f}"
