"""Which runs a table needs, and which of them are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from compact_bench.core.records import RunRecord
from compact_bench.methods.registry import get_method, split_name, variant_config
from compact_bench.results.tables.spec import RowSpec, TableSpec
from compact_bench.results.tuning import (
    Rates,
    Trial,
    Tuning,
    check_tunable,
    learning_rates,
    trial_key,
    with_rate,
)
from compact_bench.runs.estimate import untrained
from compact_bench.runs.plan import PlannedRun
from compact_bench.runs.session import Session


def plan_table(
    session: Session,
    table: TableSpec,
    rows: Sequence[RowSpec] | None = None,
    rates: Rates | None = None,
) -> list[PlannedRun]:
    """All runs of a table, seed by seed, so that a partial table has whole seeds.

    Args:
        session: suite, profile, seeds and settings.
        table: the table.
        rows: only these of its rows; None for all.
        rates: tuned learning rates, or None for the suite's own. A row that trains and has none yet is
            planned as missing, at its own rate.

    Raises:
        ConfigError: a method is unknown or refuses its configuration.
    """
    wanted = _wanted(session, table, rows)
    return [run for seed in session.seeds for row in wanted for run in row_runs(session, row, seed, rates)]


def _wanted(session: Session, table: TableSpec, rows: Sequence[RowSpec] | None) -> list[RowSpec]:
    profile, truth = session.request.profile, session.suite_info.has_truth
    return [row for row in (table.rows if rows is None else rows) if row.planned_in(profile, truth)]


def plan_tuning(session: Session, table: TableSpec, rows: Sequence[RowSpec] | None = None) -> Tuning:
    """Every trial of every row that trains, with what the store has of it.

    Args:
        session: suite, profile and settings; its first seed is every trial's.
        table: the table.
        rows: only these of its rows; None for all.

    Raises:
        ConfigError: the table does not say what a trial is judged by.
    """
    check_tunable(table)
    own = session.settings_for().train.learning_rate
    rates = learning_rates(own, session.profile.tune.learning_rates if session.profile.tune else None)
    runs = []
    for row in _wanted(session, table, rows):
        if untrained(row.method):
            continue
        for run in row_runs(session, row, session.seeds[0]):
            keys = [trial_key(run.key, rate) for rate in rates]
            trials = [Trial(key, session.store.load(key)) for key in keys]
            runs.append((run.title, float(run.key.settings["train"]["learning_rate"]), trials))
    return Tuning.of(table, rates, session.seeds[0], runs)


def trial_runs(tuning: Tuning) -> list[PlannedRun]:
    """The trials as runs of a plan; that a trial diverged is its outcome, so it is not tried again.

    Args:
        tuning: the trials.
    """
    return [
        PlannedRun(
            trial.key,
            f"{row.title}, learning rate {trial.rate:g}",
            trial.record,
            retried=trial.record is None or not trial.record.training.get("diverged"),
        )
        for row in tuning.rows
        for trial in row.trials
    ]


def row_runs(
    session: Session,
    row: RowSpec,
    seed: int,
    rates: Rates | None = None,
    teachers: Sequence[str] | None = None,
) -> list[PlannedRun]:
    """The runs of one row at one seed; a best teacher's row repeats runs of another row.

    Args:
        session: suite, profile and settings.
        row: of a table.
        seed: the runs' seed.
        rates: see `plan_table`.
        teachers: those of a row per teacher; None for the suite's.

    Raises:
        ConfigError: the method or its variant is unknown, or it refuses its configuration.
    """
    if row.kind == "best_teacher":
        return []
    told = (session.teachers if teachers is None else teachers) if row.kind == "each_teacher" else ("",)
    factor = len(session.teachers) if row.epochs_times_teachers else 1
    found = []
    for teacher in told:
        key = session.key(row.method, teacher + row.suffix, seed, _changes(row, teacher), factor)
        unknown = False
        if rates is not None and not untrained(row.method):
            rate = rates.get((key.method, key.variant))
            unknown = rate is None
            key = key if rate is None else with_rate(key, rate)
        record = None if unknown else session.store.load(key)
        found.append(PlannedRun(key, row.title.replace("{variant}", teacher), record))
    return found


def _changes(row: RowSpec, teacher: str) -> dict[str, dict[str, Any]]:
    """Settings of a row's runs: those of its registered variant, and its own for the teacher."""
    own = _filled(row.settings, teacher)
    chosen = variant_config(row.method, row.variant) if row.variant else {}
    return {**own, "method": {**chosen, **own.get("method", {})}}


def _filled(settings: Mapping[str, Mapping[str, Any]], teacher: str) -> dict[str, dict[str, Any]]:
    """A row's settings with "{variant}" replaced by the teacher's name."""
    return {
        section: {
            name: value.replace("{variant}", teacher) if isinstance(value, str) else value
            for name, value in values.items()
        }
        for section, values in settings.items()
    }


def table_records(
    session: Session,
    table: TableSpec,
    rows: Sequence[RowSpec] | None = None,
    rates: Rates | None = None,
) -> list[RunRecord]:
    """What the store has of a table's rows.

    Args:
        session: suite, profile, seeds and settings.
        table: the table.
        rows: only these of its rows; None for all.
        rates: tuned learning rates, or None for the suite's own. A row that trains and has none yet has no
            runs.
    """
    wanted = table.rows if rows is None else rows
    runs = [run for seed in session.seeds for row in wanted for run in row_runs(session, row, seed, rates)]
    return [run.record for run in runs if run.record is not None]


def asks_for_teacher(method: str) -> bool:
    """Whether a method is told one teacher, so that it runs once for each.

    Args:
        method: registry name.

    Raises:
        ConfigError: the method is unknown or cannot be imported.
    """
    field = get_method(method).config_type.model_fields.get("teacher")
    return field is not None and field.is_required()


def plan_method(session: Session, name: str) -> list[PlannedRun]:
    """The runs of one method: one per seed, and per teacher where the method asks for one.

    Args:
        session: suite, profile, seeds and settings.
        name: of a method or of a registered variant ("compact[no-consensus]").

    Raises:
        ConfigError: the method or variant is unknown, or it refuses its configuration.
    """
    method, variant = split_name(name)
    asks = asks_for_teacher(method)
    row = RowSpec(
        method=method,
        title=name,
        kind="each_teacher" if asks else "method",
        variant=variant,
        settings={"method": {"teacher": "{variant}"}} if asks else {},
    )
    chosen = session.settings_for().method.get("teacher")
    teachers = None if chosen is None else (str(chosen),)
    found = [run for seed in session.seeds for run in row_runs(session, row, seed, None, teachers)]
    return [replace(run, title=run.key.label) for run in found]
