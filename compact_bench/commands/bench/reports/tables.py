"""Results of `bench step` as a reader sees them: one table in the terminal, the same as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

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


def terminal_table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> Table:
    """What `grid` is in Markdown: numbers right-aligned, the first columns (`words` of them) left-aligned."""
    table = Table(*head)
    for place, column in enumerate(table.columns):
        column.justify = "left" if place < words else "right"
        # A table too wide for the terminal breaks its numbers at spaces, not its names.
        column.no_wrap = place < words
    for row in rows:
        table.add_row(*row)
    return table


def step_table(result: StepResult) -> Table:
    """The table for a terminal: a column per contender, which fits 80 characters for the usual four."""
    head, rows = _cells(result)
    columns = list(zip(head, *rows, strict=True))
    return terminal_table(columns[0], columns[1:])


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
