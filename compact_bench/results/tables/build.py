"""A table from run records alone: rows, columns, cells with intervals, comparisons, notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import Cell, RunRecord, suite_notes
from compact_bench.data.suites import SuiteSpec
from compact_bench.evaluation.answer_steps import HAS_STEPS
from compact_bench.results.tables.cells import (
    Benchmarks,
    benchmark_sample,
    cell_of,
    empty_cell,
    group_sample,
    has_measure,
    measure_cell,
)
from compact_bench.results.tables.changes import (
    Movement,
    change_cell,
    hidden_by_means,
    over_untrained,
    untrained_row,
)
from compact_bench.results.tables.comparisons import Comparison
from compact_bench.results.tables.controls import Control, measure_controls
from compact_bench.results.tables.families import Groups, compare_rows, yardsticks
from compact_bench.results.tables.measuring import Yardstick
from compact_bench.results.tables.notes import cost_notes, table_notes
from compact_bench.results.tables.planned_pairs import PrimarySpec
from compact_bench.results.tables.rows import RowRuns, fill_rows, rows_by_name
from compact_bench.results.tables.spec import GroupSpec, TableSpec

CHANGE = "_change"
"""End of the name of a column of changes, behind the name of its benchmark group."""
STEPS = ":steps"
"""End of the name of a column that says how many answers have steps, behind the name of its task."""
LEVELS = (("chance", "Chance"), ("majority", "Majority answer"))


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: unique name: the task, "<task>:steps", "<group>_mean", or the measure.
        unit: of its values; "accuracy" and "percent" are in [0, 1], "change" a ratio minus 1.
        is_mean: whether it is a mean over the group's benchmarks.
    """

    name: str
    title: str
    group: str
    unit: str
    is_mean: bool = False


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        name: unique name; the label of its runs for a method's row.
        kind: "runs", "level" (chance, majority) or "paper".
        same_as: row that it repeats, or "".
        groups: names of the column groups that show it; empty for all.
    """

    name: str
    title: str
    kind: Literal["runs", "level", "paper"]
    same_as: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A whole table; every row has a cell in every column.

    Attributes:
        number, title, numbering, reference: see `TableSpec`.
        cells: (row name, column name) -> cell.
        comparisons: the planned pairs, and the reference row against the others.
        controls: pairs whose difference is known beforehand.
        primary: the comparisons that the table is made for; None where all are exploratory.
        margin: accuracies that differ by less are called equivalent; None: no equivalence is said.
        bounds: names of the rows that say whether a group can show anything, as far as they were run.
        over_untrained: (row name, group name) -> the row's mean minus the untrained student's.
        hidden: tasks that move the other way than their group's mean, against the untrained student and
            within the planned pairs.
        notes: sentences a reader needs, in order.
        cost_notes: sentences about rows that cost more or less training than the reference.
        filled: rows of runs with their runs, which everything above was computed from.
        compared: the groups whose means are compared.
        yardsticks: what the comparisons of each of these groups are measured with.
        data_title: what captions call the data; "" for the suite's name.
    """

    number: str
    title: str
    numbering: str
    reference: str
    suite: str
    profile: str
    groups: tuple[GroupSpec, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: Mapping[tuple[str, str], Cell]
    comparisons: tuple[Comparison, ...]
    controls: tuple[Control, ...]
    notes: tuple[str, ...]
    cost_notes: tuple[str, ...]
    filled: tuple[RowRuns, ...]
    compared: Groups
    yardsticks: Mapping[str, Yardstick]
    primary: PrimarySpec | None = None
    margin: float | None = None
    bounds: tuple[str, ...] = ()
    over_untrained: Mapping[tuple[str, str], Comparison] = field(default_factory=dict)
    hidden: tuple[Movement, ...] = ()
    data_title: str = ""

    def columns_of(self, group: str) -> tuple[Column, ...]:
        """Columns of one group."""
        return tuple(column for column in self.columns if column.group == group)


def build_table(
    spec: TableSpec,
    records: Sequence[RunRecord],
    suite: SuiteSpec,
    *,
    teachers: Sequence[str] = (),
    profile: str | None = None,
    seeds: Sequence[int] = (),
    has_truth: bool = False,
    problems: Mapping[str, str] | None = None,
    extra_steps: Mapping[str, str] | None = None,
) -> Table:
    """Build a table from run records.

    Args:
        records: runs under one set of settings; those of other suites, versions and profiles are left out.
        teachers: names, in the suite's order, so that a teacher without runs has a row that says so.
        profile: which profile; None takes the records' own.
        seeds: seeds that were requested; a row that lacks one is named in the notes.
        has_truth: whether the suite knows which rationales are right; rows and groups may require it.
        problems: name of a row or method -> why it can have no runs.
        extra_steps: method -> what it spends beyond the schedule, by its card.

    Raises:
        ConfigError: the records are of several profiles and none was requested, or two of them claim the
            same method, variant and seed.
    """
    mine = _of_suite(records, suite)
    profile = profile or _only_profile(mine)
    mine = [r for r in mine if r.key.profile == profile]
    rows = fill_rows(spec, mine, teachers, profile or None, has_truth, problems)
    groups = _benchmark_groups(spec, suite, rows)
    columns = _columns(spec, suite, has_truth, rows)
    reference = rows_by_name(rows).get(spec.reference or "")
    cells = {(row.row.name, c.name): _cell(spec, row, c, groups, reference) for row in rows for c in columns}
    compared = {name: pair for name, pair in groups.items() if pair[0].compared}
    measured_with = yardsticks(spec, rows, compared)
    comparisons = compare_rows(spec, rows, compared, measured_with)
    table = Table(
        number=spec.number,
        title=spec.title,
        numbering=spec.numbering,
        reference=reference.row.name if reference else spec.reference or "",
        suite=suite.name,
        profile=profile,
        groups=tuple(group for group in spec.groups if any(c.group == group.name for c in columns)),
        columns=columns,
        rows=_rows(spec, rows),
        cells=cells | _level_cells(suite_notes(mine), columns, groups) | _paper_cells(spec, columns),
        comparisons=comparisons,
        controls=measure_controls(spec.controls, rows, compared, measured_with),
        notes=table_notes(spec, profile, rows, groups, cells, comparisons, seeds),
        cost_notes=cost_notes(reference.row.name if reference else "", rows, extra_steps or {}),
        filled=tuple(rows),
        compared=compared,
        yardsticks=measured_with,
        primary=spec.primary,
        margin=spec.margin,
    )
    return replace(_with_tasks(table, rows), bounds=_bounds(spec, rows))


def _of_suite(records: Sequence[RunRecord], suite: SuiteSpec) -> list[RunRecord]:
    """The runs of a suite, in this version; another version has its name in keys, and asks other tasks."""
    tasks = {benchmark.task for benchmark in suite.benchmarks}
    return [r for r in records if r.key.suite == suite.key_name and tasks.issuperset(r.evaluations)]


def _with_tasks(table: Table, rows: Sequence[RowRuns]) -> Table:
    """The table with what its means are over the untrained student, and the tasks that they hide."""
    over_base = over_untrained(rows, table.compared, table.yardsticks)
    pairs = _seen_by_task(rows, table.compared, over_base, table.comparisons)
    titles = {column.name: column.title for column in table.columns}
    return replace(
        table, over_untrained=over_base, hidden=hidden_by_means(pairs, rows, table.compared, titles)
    )


def _bounds(spec: TableSpec, rows: Sequence[RowRuns]) -> tuple[str, ...]:
    by_name = rows_by_name(rows)
    found = (next((n for n in names if n in by_name and by_name[n].runs), "") for names in spec.bounds)
    return tuple(by_name[name].row.name for name in found if name)


def _seen_by_task(
    rows: Sequence[RowRuns],
    groups: Groups,
    over_base: Mapping[tuple[str, str], Comparison],
    comparisons: Sequence[Comparison],
) -> Iterator[tuple[RowRuns, RowRuns, str, Comparison]]:
    """The pairs whose tasks stand beside the mean: with the untrained student, and those told in words."""
    by_name = {row.row.name: row for row in rows}
    base = untrained_row(rows)
    for (name, group), comparison in over_base.items():
        if base is not None and not by_name[name].same_as:
            yield by_name[name], base, group, comparison
    short = {group.short or group.title: name for name, (group, _) in groups.items()}
    for c in comparisons:
        if c.in_words and base is not None and c.against != base.row.name:
            yield by_name[c.row], by_name[c.against], short[c.group], c


def _benchmark_groups(spec: TableSpec, suite: SuiteSpec, rows: Sequence[RowRuns]) -> Groups:
    return {
        group.name: (group, Benchmarks.of(tasks, rows))
        for group in spec.groups
        if group.kind == "benchmarks" and (tasks := _tasks(group, suite))
    }


def _only_profile(records: Sequence[RunRecord]) -> str:
    profiles = sorted({r.key.profile for r in records})
    if len(profiles) > 1:
        raise ConfigError(
            f"expected runs of one profile, got {', '.join(profiles)}; name one with --profile."
        )
    return profiles[0] if profiles else ""


def _tasks(group: GroupSpec, suite: SuiteSpec) -> list[str]:
    return [b.task for b in suite.benchmarks if b.group == group.name]


def _columns(
    spec: TableSpec, suite: SuiteSpec, has_truth: bool, rows: Sequence[RowRuns]
) -> tuple[Column, ...]:
    columns: list[Column] = []
    for group in spec.groups:
        if group.requires and not has_truth:
            continue
        if group.kind == "measures":
            columns += [Column(m.name, m.title, group.name, m.unit) for m in group.columns]
        elif group.kind == "changes":
            columns += [
                Column(
                    other.name + CHANGE, f"{other.short or other.title} mean, change", group.name, "change"
                )
                for other in spec.groups
                if other.compared and _tasks(other, suite)
            ]
        else:
            benchmarks = [b for b in suite.benchmarks if b.group == group.name]
            for b in benchmarks:
                columns.append(Column(b.task, b.title, group.name, "accuracy"))
                if any(has_measure(run, b.task, HAS_STEPS) for row in rows for run in row.runs.values()):
                    columns.append(Column(b.task + STEPS, f"{b.title}: with steps", group.name, "percent"))
            if group.mean and benchmarks:
                title = f"{group.short or group.title} mean"
                columns.append(Column(f"{group.name}_mean", title, group.name, "accuracy", is_mean=True))
    return tuple(columns)


def _rows(spec: TableSpec, rows: Sequence[RowRuns]) -> tuple[Row, ...]:
    levels = [Row(name, title, "level") for name, title in LEVELS]
    runs = [Row(row.row.name, row.row.title, "runs", row.same_as) for row in rows]
    paper = [
        Row(f"paper_{number}", f"{p.title} ({p.version})", "paper", groups=p.groups)
        for number, p in enumerate(spec.paper, 1)
    ]
    own = {row.name for row in (*levels, *paper)}
    if taken := [row.name for row in runs if row.name in own]:
        raise ConfigError(
            f"method {taken[0]!r}: expected a name that no row of the table's own has "
            f"({', '.join(sorted(own))}); call the method otherwise."
        )
    return (*levels, *runs, *paper)


def _cell(spec: TableSpec, row: RowRuns, column: Column, groups: Groups, reference: RowRuns | None) -> Cell:
    name = row.row.name
    if column.unit == "change":
        return change_cell(row, reference, column.name, groups[column.name.removesuffix(CHANGE)][1])
    if row.empty_reason:
        return empty_cell(name, column.name, row.empty_reason)
    runs = list(row.runs.values())
    if column.group not in groups:
        measure = next(m for g in spec.groups for m in g.columns if m.name == column.name)
        return measure_cell(row, measure)
    if column.is_mean:
        return cell_of(name, column.name, group_sample(runs, groups[column.group][1]))
    task = column.name.removesuffix(STEPS)
    of_items = HAS_STEPS if task != column.name else ""
    return cell_of(name, column.name, benchmark_sample(runs, task, measure=of_items) or "not measured")


def _level(notes: Mapping[str, Any], task: str, level: str) -> float | None:
    """Chance or majority of a task, from {task: {level: x}} or {level: {task: x}}."""
    for outer, inner in ((task, level), (level, task)):
        outer_notes = notes.get(outer)
        value = outer_notes.get(inner) if isinstance(outer_notes, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _level_cells(
    notes: Mapping[str, Any], columns: Sequence[Column], groups: Groups
) -> dict[tuple[str, str], Cell]:
    cells: dict[tuple[str, str], Cell] = {}
    for level, _ in LEVELS:
        for column in columns:
            tasks: Sequence[str] = ()
            if column.unit == "accuracy":
                tasks = groups[column.group][1].tasks if column.is_mean else (column.name,)
            values = [_level(notes, task, level) for task in tasks]
            known = [value for value in values if value is not None]
            if known and len(known) == len(values):
                cells[level, column.name] = Cell(level, column.name, sum(known) / len(known))
            else:
                reason = "no fixed options" if tasks else "does not apply"
                cells[level, column.name] = empty_cell(level, column.name, reason)
    return cells


def _paper_cells(spec: TableSpec, columns: Sequence[Column]) -> dict[tuple[str, str], Cell]:
    cells: dict[tuple[str, str], Cell] = {}
    for number, paper in enumerate(spec.paper, 1):
        for column in columns:
            value, name = paper.values.get(column.name), f"paper_{number}"
            reason = "" if value is not None else "not available"
            cells[name, column.name] = Cell(name, column.name, value, reason=reason)
    return cells
