"""Results of `bench step` as a reader sees them: one table in the terminal, the same as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from compact_bench.commands.bench.measuring.results import ContenderResult, StepResult
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.results.report.markdown import grid

GIB = 1024**3
GIGA = 1e9
HEAD = (
    "contender",
    "step, s",
    "extremes, s",
    "tokens/s",
    "peak, GiB",
    "steps, GiB",
    "GFLOP/s",
    "of square",
    "of shapes",
)
AGAINST = "released"
UNIFORM = "uniform"
_AROUND_CELL = 3
"""A border and two spaces."""


@dataclass(frozen=True)
class FittingTable:
    """What `grid` is in Markdown, as one table in a terminal, or several where one would be too wide.

    Nothing is cut: columns that do not fit beside the others follow in a table below, which repeats the
    first columns.

    Attributes:
        words: how many of the first columns are left-aligned; numbers are right-aligned.
        repeated: how many of the first columns name the row.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    repeated: int = 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        heads = [_broken(name, [row[n] for row in self.rows]) for n, name in enumerate(self.head)]
        widths = [
            max(map(len, (*heads[n].split("\n"), *(row[n] for row in self.rows)))) + _AROUND_CELL
            for n in range(len(heads))
        ]
        names = list(range(self.repeated))
        room = options.max_width - 1 - sum(widths[n] for n in names)
        blocks: list[list[int]] = [[]]
        for n in range(self.repeated, len(heads)):
            if blocks[-1] and sum(widths[m] for m in (*blocks[-1], n)) > room:
                blocks.append([])
            blocks[-1].append(n)
        for block in blocks:
            table = Table()
            for n in (*names, *block):
                table.add_column(Text(heads[n]), justify="left" if n < self.words else "right", no_wrap=True)
            for row in self.rows:
                table.add_row(*(Text(row[n]) for n in (*names, *block)))
            yield table


def _broken(name: str, cells: Sequence[str]) -> str:
    """A heading on as many lines as keep it no wider than its column must be."""
    widest = max(map(len, (*cells, *name.split())))
    return "\n".join(textwrap.wrap(name, widest))


def step_table(result: StepResult) -> FittingTable:
    """The table for a terminal: a column per contender."""
    head, rows = _cells(result)
    columns = list(zip(head, *rows, strict=True))
    return FittingTable(columns[0], columns[1:])


def step_markdown(result: StepResult) -> str:
    """The same table and its notes as Markdown."""
    head, rows = _cells(result)
    notes = [f"- {note}" for note in step_notes(result)]
    return "\n".join(["# Training step", "", *notes, "", *grid(head, rows), ""])


def step_notes(result: StepResult) -> list[str]:
    """What a reader must know of the numbers, a line each."""
    work, ceiling = result.work, result.ceiling
    lengths = [n for rationales in work.rationale_tokens for n in rationales]
    notes = [
        machine_note(result.settings, result.compute, result.provenance),
        f"Work: {work.origin}; K = {work.teachers}, rationales of {min(lengths)} to {max(lengths)} tokens, "
        f"prompts of {min(work.prompt_tokens)} to {max(work.prompt_tokens)}; {work.tokens} tokens a step as "
        f"separate rows without padding, {work.packed_tokens} with shared prompts.",
        f"Medians of {result.repeats} step(s), taken in turn, and their extremes. Each contender runs in a "
        "separate process, which makes an untimed step before each timed one. Ratios are medians of "
        "the ratios within a round. Memory is that process's peak in its first turn, and what steps took on "
        "top of libraries and student.",
        f"Ceiling, in turn with the steps: {ceiling.square.median / GIGA:.1f} GFLOP/s "
        f"[{ceiling.square.low / GIGA:.1f}, {ceiling.square.high / GIGA:.1f}] for a large square product, "
        f"{ceiling.shapes.median / GIGA:.1f} [{ceiling.shapes.low / GIGA:.1f}, "
        f"{ceiling.shapes.high / GIGA:.1f}] for the student's own shapes.",
        "Useful GFLOP of a step: "
        + ", ".join(f"{kind} {flops / GIGA:.1f}" for kind, flops in result.flops.items())
        + " (padded: all that the released algorithm's padded rows compute).",
    ]
    by_path: dict[str, list[str]] = {}
    for contender in result.contenders:
        if contender.path:
            by_path.setdefault(_path_text(contender.path), []).append(contender.name)
    return [*notes, *(f"{', '.join(names)}: {path}." for path, names in by_path.items())]


def _path_text(path: Mapping[str, str]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in path.items() if value)


def machine_note(settings: StepSettings, compute: str, provenance: Mapping[str, Any]) -> str:
    """Student, the type that products were computed in, machine and code, in one line."""
    machine = provenance["hardware"]
    adapters = f"LoRA, dropout {settings.lora.dropout:g}" if settings.lora.enabled else "every weight trained"
    return (
        f"Student {settings.student}, {adapters}, {compute}; {machine['threads']} thread(s) of "
        f"{machine['cpu']}, GPU: {machine['gpu']}; code {provenance['code']}."
    )


def _cells(result: StepResult) -> tuple[list[str], list[list[str]]]:
    names = [c.name for c in result.contenders]
    head = list(HEAD)
    if AGAINST in names and len(names) > 1:
        head += [f"speed / {AGAINST}", f"memory / {AGAINST}"]
    if UNIFORM in names and len(names) > 1:
        head += [f"time / {UNIFORM}"]
    return head, [_row(result, contender, names) for contender in result.contenders]


def _row(result: StepResult, contender: ContenderResult, names: list[str]) -> list[str]:
    seconds, memory = contender.seconds, contender.memory
    cells = [
        contender.name,
        f"{seconds.median:.3f}",
        f"{seconds.low:.3f}-{seconds.high:.3f}",
        f"{contender.tokens_per_second:,.0f}",
        f"{memory.peak_bytes / GIB:.2f}",
        f"{memory.step_bytes / GIB:.2f}",
        f"{contender.flops_per_second / GIGA:,.1f}",
        f"{contender.share_of_square * 100:.0f} %",
        f"{contender.share_of_shapes * 100:.0f} %",
    ]
    if len(names) == 1:
        return cells
    against = result.ratios[contender.name]
    if AGAINST in names:
        ratio = against.get(AGAINST)
        # Speed is the inverse of time; the inverse of a median of ratios is the median of their inverses.
        cells.append("1" if ratio is None else f"{1 / ratio.time:.2f} x")
        cells.append("1" if ratio is None else f"{ratio.memory:.2f} x")
    if UNIFORM in names:
        other = against.get(UNIFORM)
        cells.append("1" if other is None else f"{other.time:.3f} x")
    return cells
