"""The result of `bench eval` as a table and sentences."""

from __future__ import annotations

from compact_bench.commands.bench.evaluation import EngineResult, EvalResult, TaskComparison
from compact_bench.commands.bench.reports.tables import FittingTable
from compact_bench.results.report.markdown import grid

HEAD = (
    "task",
    "engine",
    "batch size",
    "evaluation, s",
    "extremes, s",
    "items/s",
    "generated tokens/s",
    "score",
    "speed / harness",
)


def eval_table(result: EvalResult) -> FittingTable:
    """The table for a terminal."""
    return FittingTable(HEAD, _rows(result), words=2, repeated=2)


def eval_markdown(result: EvalResult) -> str:
    """The same table and its notes as Markdown."""
    notes = [f"- {note}" for note in eval_notes(result)]
    return "\n".join(["# Evaluation", "", *notes, "", *grid(HEAD, _rows(result)), ""])


def eval_notes(result: EvalResult) -> list[str]:
    """What a reader must know of the numbers, a line each."""
    machine = result.provenance["hardware"]
    notes = [
        f"Student {result.student}, {result.provenance['dtype']}; {machine['threads']} thread(s) of "
        f"{machine['cpu']}, GPU: {machine['gpu']}; code {result.provenance['code']}.",
        f"Medians of {result.repeats} evaluation(s), taken in turn, each engine at the batch size at which "
        f"it was fastest; generations of at most {result.max_new_tokens} tokens. Speed is the median of the "
        "ratios within a round.",
    ]
    return [*notes, *(_differences(task) for task in result.tasks)]


def _differences(task: TaskComparison) -> str:
    diff = task.differences
    if task.fast.reason:
        return f"{task.task}: the harness evaluated both times, {task.fast.reason}."
    if task.kind == "generation":
        return (
            f"{task.task}, {task.items} items: {diff.texts} texts, {diff.predictions} answers and "
            f"{diff.scores} scores differ."
        )
    return (
        f"{task.task}, {task.items} items: {diff.predictions} choices and {diff.scores} scores differ; "
        f"log-likelihoods by at most {diff.largest_nats:.2g} nats."
    )


def _rows(result: EvalResult) -> list[list[str]]:
    rows = []
    for task in result.tasks:
        rows.append([task.task, *_cells(task.harness), "1"])
        speed = f"{task.speed.median:.2f} x [{task.speed.low:.2f}, {task.speed.high:.2f}]"
        rows.append([task.task, *_cells(task.fast), speed])
    return rows


def _cells(one: EngineResult) -> list[str]:
    seconds = one.seconds
    return [
        one.engine,
        str(one.batch_size),
        f"{seconds.median:.2f}",
        f"{seconds.low:.2f}-{seconds.high:.2f}",
        f"{one.items_per_second:.2f}",
        f"{one.generated_tokens_per_second:,.0f}" if one.generated_tokens else "-",
        f"{one.value * 100:.1f} %",
    ]
