"""Sentences under a table: what the cells are, which seeds lack, and which rows cost another amount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compact_bench.core.records import Cell, RunRecord, number_at, selective_use
from compact_bench.results.tables.cells import seed_cell
from compact_bench.results.tables.comparisons import Comparison, few_seeds_note
from compact_bench.results.tables.families import Groups
from compact_bench.results.tables.rows import RowRuns
from compact_bench.results.tables.spec import TableSpec

SMOKE_NOTE = (
    "Profile smoke only proves that the pipe works: a few questions, a few items. The numbers are "
    "meaningless and must not be quoted."
)
CELL_NOTE = (
    "A cell is the mean over seeds and items with a 95 % percentile interval of a crossed bootstrap: seeds "
    "and items are resampled independently, with the same draws for every row. With one seed the interval is "
    "over items only and says nothing about training again."
)
TOKENS_NOTE = (
    "Under one seed rows see the same questions in the same order for the same number of steps, but for "
    "those that the notes on the cost of training list, so a single teacher with a rationale for every "
    "question sees about 1/K of the tokens of a method that reads all K teachers."
)
TEST_MARK = "Not used to choose (†)"
"""Stands before what the test items would have chosen."""
COSTS = {"training.optimiser_steps": "optimiser steps", "training.tokens": "supervised tokens"}
"""What a budget is counted in: where a record has it -> in words."""


def table_notes(
    spec: TableSpec,
    profile: str,
    rows: Sequence[RowRuns],
    groups: Groups,
    cells: Mapping[tuple[str, str], Cell],
    comparisons: Sequence[Comparison],
    seeds: Sequence[int],
) -> tuple[str, ...]:
    """What a reader must know of a table before its numbers; `seeds` are those that were requested."""
    sentences = [SMOKE_NOTE, CELL_NOTE] if profile == "smoke" else [CELL_NOTE]
    sentences += _draws_note([run for row in rows for run in row.runs.values()])
    if groups:
        sentences.append("A group's mean is the mean of its benchmarks' means.")
    for group, benchmarks in groups.values():
        for task, earlier, count in benchmarks.shared:
            sentences.append(
                f"{group.short or group.title} mean: {count} items of {task} also stand in {earlier} and are "
                f"counted once, under {earlier}."
            )
    sentences += [row.note for row in rows if row.note]
    shares = {row.row.title: selective_use(list(row.runs.values())) for row in rows if not row.same_as}
    few = [f"{title} {share * 100:.0f} %" for title, share in shares.items() if share is not None]
    if few:
        sentences.append(
            f"Rows whose method chose fewer than half of the rationales it was given: {', '.join(few)}."
        )
    sentences += _test_best_note(rows, groups, cells)
    sentences += _missing_seeds(rows, seeds)
    if any(row.row.kind == "each_teacher" and row.runs for row in rows):
        sentences.append(TOKENS_NOTE)
    if few_seeds := few_seeds_note([c.seeds for c in comparisons]):
        sentences.append(few_seeds)
    papers: dict[str, list[str]] = {}
    for paper in spec.paper:
        papers.setdefault(f"{paper.version}, {paper.place}", []).append(paper.title)
    sources = (f"{', '.join(titles)}: {source}" for source, titles in papers.items())
    return (*sentences, *(f"{source}; what is not known here is not available." for source in sources))


def _draws_note(runs: Sequence[RunRecord]) -> list[str]:
    """Whether the spread over seeds holds the choice of training questions; "" where no run was trained."""
    trained = [run.training for run in runs if run.training.get("optimiser_steps")]
    drawn = {(part["questions"], part["drawn_from"]) for part in trained if part.get("drawn_from")}
    if drawn:
        counts = " or ".join(f"{count:,} of {pool:,}" for count, pool in sorted(drawn))
        return [
            f"A seed draws its training questions, {counts}, beside initialisation, order and dropout; the "
            "questions of validation and test are the same for all seeds."
        ]
    if len({part.get("question_ids_sha256") for part in trained}) == 1 and trained[0].get("questions"):
        return [
            f"All seeds train on the same {trained[0]['questions']:,} questions: what another choice of "
            "training questions would change, the spread over seeds does not tell."
        ]
    return []


def _test_best_note(
    rows: Sequence[RowRuns], groups: Groups, cells: Mapping[tuple[str, str], Cell]
) -> list[str]:
    """Which single teacher the test items would have chosen, marked as what no rule may choose by."""
    best = next((row for row in rows if row.row.kind == "best_teacher" and row.same_as), None)
    group = next((group for group, _ in groups.values() if group.compared and group.mean), None)
    if best is None or group is None:
        return []
    titles = {row.row.name: row.row.title for row in rows if row.row.kind == "each_teacher"}
    shown = {name: cells[name, f"{group.name}_mean"].mean for name in titles}
    means = {name: mean for name, mean in shown.items() if mean is not None}
    if best.same_as not in means:
        return []
    top, own = max(means, key=lambda name: means[name]), means[best.same_as]
    measure = f"{group.short or group.title} mean on the test items"
    # Where the chosen one is as high, the test items would not have chosen another.
    if means[top] <= own:
        return [
            f"{TEST_MARK}: the test items would have chosen the same teacher, whose {measure} "
            f"({own * 100:.1f} %) is the highest of all single-teacher rows."
        ]
    return [
        f"{TEST_MARK}: the test items would have chosen {titles[top]}, which has the highest {measure} of "
        f"all single-teacher rows ({means[top] * 100:.1f} %; the chosen one has {own * 100:.1f} %). No rule "
        "may choose by test items, but a method should be held against it too."
    ]


def _missing_seeds(rows: Sequence[RowRuns], seeds: Sequence[int]) -> list[str]:
    sentences = []
    for row in rows:
        recorded = set(row.runs) | {r.key.seed for r in row.others}
        missing = [str(seed) for seed in seeds if seed not in recorded]
        if row.runs and missing and not row.untrained and not row.same_as:
            sentences.append(f"{row.row.title}: seed {', '.join(missing)} not run.")
    return sentences


def cost_notes(reference: str, rows: Sequence[RowRuns], extra_steps: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for every trained row whose steps or supervised tokens are not the reference row's.

    What a method spends beyond the schedule, by its card, is said behind it.
    """
    budget = next((_costs(row) for row in rows if row.row.name == reference), {})
    sentences = []
    for row in rows:
        if row.same_as or not row.runs or row.untrained or row.row.name == reference:
            continue
        differing = [
            f"{value:,.0f} {COSTS[source]} ({value / budget[source]:.2f} times the reference's "
            f"{budget[source]:,.0f})"
            for source, value in _costs(row).items()
            if budget.get(source) and value != budget[source]
        ]
        if differing:
            why = extra_steps.get(row.row.method, "")
            sentences.append(f"{row.row.title}: {' and '.join(differing)}{f'; {why}' if why else ''}.")
    return tuple(sentences)


def _costs(row: RowRuns) -> dict[str, float]:
    """Mean over seeds of what the row's training cost."""
    means = {
        source: seed_cell(row.row.name, source, [number_at(run, source) for run in row.runs.values()]).mean
        for source in COSTS
    }
    return {source: mean for source, mean in means.items() if mean is not None}
