"""Resolves the plan of a command: which runs its tables need, and which of them are missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from compact_bench.commands.row_selection import TableRequest, row_for_method
from compact_bench.commands.table_plan import Plan, PlannedRow, TablePlan, trials_of
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.records import RunKey
from compact_bench.methods.registry import (
    get_method,
    method_names,
    method_sources,
    method_variants,
    variant_config,
)
from compact_bench.results.tables.spec import RowSpec, load_table_spec, table_names
from compact_bench.results.tuning import MOST_SEEDS, Tuning, check_tunable, learning_rates
from compact_bench.runs.estimate import untrained
from compact_bench.runs.plan import PlannedRun, PlanSection, run_key
from compact_bench.runs.session import Session

USUAL_PROFILES = ("smoke", "lite", "full")
"""A table may name these for suites that have none of that name."""


def plan_tables(
    session: Session, requests: Sequence[TableRequest], *, tune: bool = False, stored: bool = False
) -> Plan:
    """Resolve what a command runs and shows.

    Args:
        requests: the tables and which of their rows are run.
        stored: whether a row is shown for whatever else the store has runs of; without it, what else is in
            the store changes no row, no comparison and no command.
        tune: whether every row that trains first tries the same learning rates. Its runs count as missing
            until its trials are made. The first table only.

    Raises:
        ConfigError: a method that a table lists refuses its settings, or there are too few validation
            questions to tune by.
    """
    if not tune:
        requests = add_unlisted_rows(session, requests, stored=stored)
        return Plan(session, tuple(plan_table(session, request) for request in requests))
    # Methods that were not selected get no rows from the store, as they were not tuned either.
    check_tunable(_answered_questions(session), session.request.profile)
    tables = tuple(plan_table(session, request, tune=True) for request in requests)
    return Plan(session, tables, plan_tuning(session, tables[0])).with_trials(())


def plan_table(session: Session, request: TableRequest, *, tune: bool = False) -> TablePlan:
    """Resolve the rows and runs of one table; arguments and errors as of `plan_tables`."""
    profiles = {*USUAL_PROFILES, *session.spec.profiles}
    for name in (name for row in request.spec.rows for name in row.profiles):
        if name not in profiles:
            raise UnknownNameError(f"profile in a row of table {request.spec.number}", name, profiles)
    rows = [
        _plan_row(session, request, spec, is_listed=number < request.listed, tune=tune)
        for number, spec in enumerate(request.spec.rows)
    ]
    return TablePlan(request, tuple(rows))


def _plan_row(
    session: Session, request: TableRequest, spec: RowSpec, *, is_listed: bool, tune: bool
) -> PlannedRow:
    is_imported = False
    try:
        get_method(spec.method)
        is_imported = True
        keys = [titled for seed in session.seeds for titled in row_keys(session, spec, seed)]
    except ConfigError as error:
        # Wrong settings of a row that the table lists are the table's or the user's fault, and no plugin's.
        if isinstance(error, UnknownNameError) or (is_imported and is_listed):
            raise
        return PlannedRow(spec, problem=f"failed: {_named(spec.method, error)}")
    # Before its rate is chosen nobody knows which runs of the store are the row's.
    known = not tune or not _is_tuned(spec)
    return PlannedRow(
        spec,
        tuple(PlannedRun(key, title, session.store.load(key) if known else None) for title, key in keys),
        executed=spec.selector in request.selected and _is_planned(session, spec),
    )


def _is_tuned(row: RowSpec) -> bool:
    """Whether `--tune` chooses the rate of a row: of what trains, at a rate that is not the row's subject."""
    return not untrained(row.method) and row.learning_rate_times == 1.0


def _is_planned(session: Session, row: RowSpec) -> bool:
    return row.planned_in(session.request.profile, session.suite_info.has_truth)


def _named(method: str, error: ConfigError) -> str:
    """An error on one line, which names the method and the package that brings it."""
    origin = method_sources()[method].origin
    lines = [line.strip().removeprefix("- ") for line in str(error).splitlines() if line.strip()]
    text = f"{lines[0]}: {'; '.join(lines[1:])}" if len(lines) > 1 else lines[0]
    return text if origin in text else f"method {method!r} of {origin}: {text}"


def row_keys(
    session: Session, row: RowSpec, seed: int, teachers: Sequence[str] | None = None
) -> list[tuple[str, RunKey]]:
    """(title, key) of the runs of a row at one seed; none for a best teacher's row, which repeats another.

    Args:
        teachers: of a row per teacher; None for the suite's.

    Raises:
        ConfigError: the method or its variant is unknown, or it refuses its configuration.
    """
    if row.kind == "best_teacher":
        return []
    of_row = (session.teachers if teachers is None else teachers) if row.kind == "each_teacher" else ("",)
    return [
        (
            row.title.replace("{variant}", teacher),
            run_key(
                session,
                row.method,
                teacher + row.suffix,
                seed + row.seeds_plus,
                _changes(session, row, teacher),
                _epochs_factor(session, teacher) if row.epochs_times_teachers else 1,
            ),
        )
        for teacher in of_row
    ]


def _epochs_factor(session: Session, teacher: str) -> int:
    """How many epochs on one teacher's rationales read as many as one on all: K where none is missing."""
    branches = session.suite_info.branches
    own = branches.get(teacher, 0)
    return max(1, round(sum(branches.values()) / own)) if own else len(session.teachers)


def _changes(session: Session, row: RowSpec, teacher: str) -> dict[str, dict[str, Any]]:
    """Settings of a row's runs: those of its registered variant, and the row's for this teacher."""
    filled: dict[str, dict[str, Any]] = {
        section: {
            name: value.replace("{variant}", teacher) if isinstance(value, str) else value
            for name, value in values.items()
        }
        for section, values in row.settings.items()
    }
    if row.learning_rate_times != 1.0:
        train = filled.get("train", {})
        own = float(train.get("learning_rate", session.settings.train.learning_rate))
        filled["train"] = {**train, "learning_rate": own * row.learning_rate_times}
    of_variant = variant_config(row.method, row.variant) if row.variant else {}
    changes = {**filled, "method": {**of_variant, **filled.get("method", {})}}
    if row.kind == "each_teacher":
        # Among these one is chosen, whichever table or command asks for them.
        changes["eval"] = {**changes.get("eval", {}), "validation_accuracy": True}
    return changes


def _answered_questions(session: Session) -> int:
    """How many validation questions a choice is made by."""
    there = int(session.data_notes["validation_questions"])
    limit = session.settings.eval.answered_questions
    return there if limit is None else min(there, limit)


def plan_tuning(session: Session, table: TablePlan) -> Tuning:
    """Every trial, at the first seeds, of every row that trains, with what the store has of it."""
    grid = session.profile.tune.learning_rates if session.profile.tune else None
    rates = learning_rates(session.settings.train.learning_rate, grid)
    seeds = tuple(session.seeds[:MOST_SEEDS])
    keys: dict[tuple[str, str], tuple[str, list[RunKey]]] = {}
    for row in table.rows:
        if row.problem or not _is_tuned(row.spec) or not _is_planned(session, row.spec):
            continue
        for run in row.runs:
            if run.key.seed in seeds:
                keys.setdefault((run.key.method, run.key.variant), (run.title, []))[1].append(run.key)
    return Tuning.of(rates, seeds, keys.values(), trials_of(session))


def add_unlisted_rows(
    session: Session, requests: Sequence[TableRequest], *, stored: bool
) -> list[TableRequest]:
    """Tables in which a method that one of them gets by name has a row in the others too.

    What a packaged table lists is left to that table; tables that show only selected methods get none.

    Args:
        stored: whether every method and variant that the store has runs of under these settings gets a row.
    """
    records = session.store.records() if stored else []
    hashes = {record.key.hash for record in records}
    selected = {row.selector for request in requests for row in request.unlisted_rows}
    names = selected.union(*(_selectors_of(session, record.key) for record in records))
    names -= {row.selector for table in table_names() for row in load_table_spec(table).rows}
    extended = []
    for request in requests:
        rows = []
        missing = names - {row.selector for row in request.spec.rows}
        for row in map(row_for_method, sorted(missing) if request.spec.unlisted_rows == "stored" else ()):
            with suppress(ConfigError):
                keys = [key for seed in session.seeds for _, key in row_keys(session, row, seed)]
                if row.selector in selected or any(key.hash in hashes for key in keys):
                    rows.append(row)
        extended.append(request.with_rows(rows, selected=False))
    return extended


def _selectors_of(session: Session, key: RunKey) -> list[str]:
    """Rows that a run may be of under these settings: its method's, or those of a registered variant."""
    names = (session.spec.key_name, session.request.profile, session.student_key_name)
    if (key.suite, key.profile, key.student) != names or key.method not in method_names():
        return []
    variants: Iterable[str] = ()
    with suppress(ConfigError):
        variants = method_variants(key.method)
    ends = [v for v in variants if key.variant == v or key.variant.endswith(f":{v}")]
    return [key.method, *(f"{key.method}[{v}]" for v in ends)]


def plan_method(session: Session, name: str) -> PlanSection:
    """The runs of one method: one per seed, and per teacher where the method trains on one teacher.

    `--set teacher=NAME` leaves only that teacher; the name may be of a variant ("compact[no-consensus]").

    Raises:
        ConfigError: the method or variant is unknown, or it refuses its configuration.
    """
    row, teacher = row_for_method(name), session.settings.method.get("teacher")
    teachers = None if teacher is None else (str(teacher),)
    keys = [key for seed in session.seeds for _, key in row_keys(session, row, seed, teachers)]
    return PlanSection(session, [PlannedRun(key, key.label, session.store.load(key)) for key in keys])
