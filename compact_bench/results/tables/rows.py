"""Which runs fill which row of a table, and which teacher is the best single one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import RunRecord, number_at, row_label
from compact_bench.results.selection import (
    Candidate,
    Choice,
    answers_by_seed,
    choose,
    few_note,
    percent,
    too_few,
)
from compact_bench.results.tables.spec import TableSpec

RowKind = Literal["method", "each_teacher", "best_teacher", "extra"]
BEST = "best"
"""What definitions and claims call the chosen teacher's row ("single_teacher[best]")."""


@dataclass(frozen=True)
class TableRow:
    """One row of a table for a given set of teachers.

    Attributes:
        name: unique name; the label of the row's runs ("single_teacher[gpt-4o]"), or for the best teacher's
            row, which has none of its own, what no label can be ("best single_teacher").
        kind: see `RowSpec`; "extra" is a method that has runs and no row of its own.
        suffix: of a best teacher's row, what its teachers' runs have behind the teacher's name.
        planned: whether the profile runs it; another row is shown only where it has runs.
        seeds_plus: see `RowSpec`.
    """

    name: str
    title: str
    kind: RowKind
    method: str
    variant: str = ""
    suffix: str = ""
    planned: bool = True
    seeds_plus: int = 0

    @property
    def reserved_name(self) -> str:
        """What definitions and claims call the row beside its name; "" for all but a best teacher's."""
        return row_label(self.method, BEST + self.suffix) if self.kind == "best_teacher" else ""


@dataclass(frozen=True)
class RowRuns:
    """A row and its runs.

    Attributes:
        runs: finished runs by seed, less what the row adds to it.
        others: failed and unsupported runs.
        same_as: for the best single teacher, the row it repeats; else "".
        note: one sentence about the row, or "".
        problem: why it is empty, where runs do not say so themselves.
    """

    row: TableRow
    runs: Mapping[int, RunRecord]
    others: tuple[RunRecord, ...] = ()
    same_as: str = ""
    note: str = ""
    problem: str = ""

    @property
    def empty_reason(self) -> str:
        """Why the row has no numbers; "" when it has a finished run."""
        if self.runs:
            return ""
        if self.others:
            return _status_text(self.others[0])
        return self.problem or "not run"

    @property
    def untrained(self) -> bool:
        """Whether no run of the row was trained, so that its numbers do not depend on the seed."""
        return all(run.training.get("optimiser_steps", 0) == 0 for run in self.runs.values())


def _status_text(record: RunRecord) -> str:
    lines = record.reason.strip().splitlines()
    return f"{record.status}: {lines[0] if lines else 'no reason given'}"


def _expanded(
    spec: TableSpec, teachers: Sequence[str], profile: str | None, has_truth: bool
) -> list[TableRow]:
    """The rows of a table, one per teacher where the table says so."""
    rows: list[TableRow] = []
    for row in spec.rows:
        planned = row.planned_in(profile, has_truth)
        if row.kind == "best_teacher":
            name = f"{BEST} {row_label(row.method, row.suffix.removeprefix(':'))}"
            rows.append(TableRow(name, row.title, row.kind, row.method, suffix=row.suffix, planned=planned))
            continue
        for teacher in teachers if row.kind == "each_teacher" else ("",):
            variant = teacher + row.suffix
            title = row.title.replace("{variant}", teacher) if teacher else row.title
            name = row_label(row.method, variant)
            rows.append(
                TableRow(
                    name, title, row.kind, row.method, variant, planned=planned, seeds_plus=row.seeds_plus
                )
            )
    return rows


def choose_teacher(runs: Mapping[str, Sequence[RunRecord]]) -> Choice | None:
    """The choice among teachers by their students' generated answers; ties go to fewer supervised tokens.

    Args:
        runs: teacher -> finished runs. A teacher whose runs have no answers is left out.

    Returns:
        None where no teacher's runs have any.
    """
    return choose(
        [
            Candidate(teacher, answers, _tokens(records))
            for teacher, records in runs.items()
            if (answers := answers_by_seed(records))
        ]
    )


def _tokens(records: Sequence[RunRecord]) -> float:
    """Supervised tokens of a run, mean over runs: what the teacher's rationales cost to write and to read."""
    counts = [number_at(record, "training.tokens") or 0.0 for record in records]
    return sum(counts) / len(counts)


def fill_rows(
    spec: TableSpec,
    records: Sequence[RunRecord],
    teachers: Sequence[str],
    profile: str | None,
    has_truth: bool = False,
    problems: Mapping[str, str] | None = None,
) -> list[RowRuns]:
    """Every row with its runs; rows without any say why, methods without a row get one at the end.

    Args:
        records: runs of one suite and profile, under one set of settings.
        teachers: names, in the suite's order; teachers that only records know follow.
        profile: decides which rows are planned; None plans all.
        has_truth: whether it is known which rationales are right.
        problems: name of a row or method -> why it can have no runs.

    Raises:
        ConfigError: two records claim the same method, variant and seed.
    """
    by_run = _by_run(records)
    rows = _expanded(spec, _all_teachers(spec, records, teachers), profile, has_truth)
    known = {(row.method, row.variant) for row in rows if row.kind != "best_teacher"}
    extra = sorted(set(by_run) - known)
    rows += [TableRow(row_label(m, v), row_label(m, v), "extra", m, v) for m, v in extra]
    why = problems or {}
    filled = [
        _with_runs(
            row, by_run.get((row.method, row.variant), []), why.get(row.name) or why.get(row.method, "")
        )
        for row in rows
        if row.planned or (row.method, row.variant) in by_run
    ]
    return [_best(spec, row, filled, profile) if row.row.kind == "best_teacher" else row for row in filled]


def rows_by_name(rows: Sequence[RowRuns]) -> dict[str, RowRuns]:
    """Rows by what definitions and claims call them: by name, the chosen teacher's also as "method[best]".

    These words never mean the row of a teacher who is called so.
    """
    named = {row.row.name: row for row in rows}
    return named | {row.row.reserved_name: row for row in rows if row.row.reserved_name}


def _by_run(records: Sequence[RunRecord]) -> dict[tuple[str, str], list[RunRecord]]:
    by_seed: dict[tuple[str, str], dict[int, RunRecord]] = {}
    problems: list[str] = []
    for record in sorted(records, key=lambda r: (r.key.seed, r.key.hash)):
        key = record.key
        first = by_seed.setdefault((key.method, key.variant), {}).setdefault(key.seed, record).key
        if first.hash != key.hash:
            problems.append(f"{key.label}@{key.seed}: {first.hash} and {key.hash}")
    if problems:
        raise ConfigError(
            "expected one run per method, variant and seed, got runs of several settings or students: "
            + "; ".join(problems)
            + ". Give the table only runs that differ in method and seed."
        )
    return {row: list(runs.values()) for row, runs in by_seed.items()}


def _all_teachers(spec: TableSpec, records: Sequence[RunRecord], teachers: Sequence[str]) -> list[str]:
    methods = {row.method for row in spec.rows if row.kind == "each_teacher"}
    # A store may hold runs of teachers that the suite has no longer; their rows are shown all the same.
    variants = (record.key.variant for record in records if record.key.method in methods)
    recorded = (variant.removesuffix(_suffix_of(spec, variant)) for variant in variants if variant)
    return list(dict.fromkeys([*teachers, *recorded]))


def _with_runs(row: TableRow, records: Sequence[RunRecord], problem: str) -> RowRuns:
    runs = {r.key.seed - row.seeds_plus: r for r in records if r.status == "done"}
    others = tuple(r for r in records if r.status != "done")
    missing = "; ".join(f"seed {r.key.seed} {_status_text(r)}" for r in others)
    note = f"{row.title}: {missing}." if runs and others else ""
    return RowRuns(row, runs, others, note=note, problem=problem)


def _best(spec: TableSpec, best: RowRuns, rows: Sequence[RowRuns], profile: str | None) -> RowRuns:
    candidates = {
        row.row.variant: row
        for row in rows
        if row.row.kind == "each_teacher"
        and row.row.method == best.row.method
        and _suffix_of(spec, row.row.variant) == best.row.suffix
    }
    runs = {name: list(row.runs.values()) for name, row in candidates.items()}
    choice = choose_teacher(runs)
    if choice is None:
        return replace(best, problem="no validation answers" if any(runs.values()) else "no teacher run yet")
    if few := too_few(choice.questions, profile):
        return replace(best, problem=f"not chosen: {few}")
    finished = sum(map(bool, runs.values()))
    among = "" if finished == len(candidates) else f" among the {finished} of {len(candidates)} that were run"
    source = candidates[choice.chosen.name]
    title = f"{best.row.title} ({choice.chosen.name})"
    note = _choice_note(best.row.title, choice, among)
    return RowRuns(replace(best.row, title=title), source.runs, source.others, source.row.name, note)


def _choice_note(title: str, choice: Choice, among: str) -> str:
    chosen, highest = choice.chosen, choice.highest
    seeds = f", mean over {choice.seeds} seeds" if choice.seeds > 1 else ", one seed"
    judged = "; ".join(f"{j.name} {percent(j.accuracy, j.error)}" for j in choice.judged)
    sentences = [
        f"{title} is {chosen.name}{among}, chosen by the accuracy of generated answers to "
        f"{choice.questions:,} validation questions{seeds} (± standard error): {judged}."
    ]
    if chosen != highest:
        sentences.append(
            f"{highest.name} is {chosen.behind * 100:.1f} pp ± {chosen.behind_error * 100:.1f} higher: a tie "
            f"within one standard error, which goes to the cheaper, {chosen.name} ({chosen.cost:,.0f} "
            f"supervised tokens a run against {highest.cost:,.0f})."
        )
    return " ".join([*sentences, *filter(None, [few_note(choice.questions)])])


def _suffix_of(spec: TableSpec, variant: str) -> str:
    """What a run of a named teacher has behind the teacher's name, or ""."""
    suffixes = (row.suffix for row in spec.rows if row.suffix and row.kind != "method")
    return next((suffix for suffix in suffixes if variant.endswith(suffix)), "")
