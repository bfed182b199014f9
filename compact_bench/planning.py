"""Which runs a table needs, and which of them are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compact_bench.errors import ConfigError, UnknownNameError
from compact_bench.estimate import untrained
from compact_bench.records import RunKey, RunRecord
from compact_bench.registry import get_method, method_names
from compact_bench.store_files import key_hash
from compact_bench.table_spec import RowSpec, TableSpec
from compact_bench.tuning import (
    Rates,
    Trial,
    Tuning,
    check_tunable,
    learning_rates,
    trial_key,
    with_rate,
)
from compact_bench.workbench import Workbench

__all__ = [
    "PlannedRun",
    "check_methods",
    "plan_method",
    "plan_table",
    "plan_tuning",
    "table_records",
    "trial_runs",
]

State = Literal["done", "unsupported", "missing", "failed"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        key: the run.
        title: what it is, for the plan's display.
        record: what the store has of it, or None.
        retried: whether it runs again when it failed the last time.
    """

    key: RunKey
    title: str
    record: RunRecord | None
    retried: bool = True

    @property
    def state(self) -> State:
        """What is known of it."""
        return "missing" if self.record is None else self.record.status

    @property
    def needed(self) -> bool:
        """Whether it must run: it is missing, or it failed the last time and is tried again."""
        return self.state == "missing" or (self.state == "failed" and self.retried)


def check_methods(table: TableSpec, methods: Sequence[str]) -> None:
    """Refuse methods that a table has no row of, before anything is fetched or planned.

    Args:
        table: the table.
        methods: registry names.

    Raises:
        ConfigError: a method is unknown or is in no row of the table.
    """
    in_table = tuple(dict.fromkeys(row.method for row in table.rows))
    for name in methods:
        if name not in method_names():
            raise UnknownNameError("method", name, method_names())
        if name not in in_table:
            raise ConfigError(
                f"--methods: table {table.number} has no row of method {name!r}, only of "
                f"{', '.join(in_table)}. `compact-bench run {name}` runs it by itself."
            )


def plan_table(
    bench: Workbench, table: TableSpec, methods: Sequence[str] = (), rates: Rates | None = None
) -> list[PlannedRun]:
    """All runs of a table, seed by seed, so that a partial table has whole seeds.

    Args:
        bench: suite, profile, seeds and settings.
        table: the table.
        methods: only rows of these; empty for all.
        rates: tuned learning rates, or None for the suite's own. A row that trains and has none yet is
            planned as missing, at its own rate.

    Raises:
        ConfigError: a method is unknown or is in no row of the table.
    """
    check_methods(table, methods)
    wanted = _wanted(bench, table, methods)
    return [run for seed in bench.seeds for row in wanted for run in _row_runs(bench, row, seed, rates)]


def _wanted(bench: Workbench, table: TableSpec, methods: Sequence[str]) -> list[RowSpec]:
    profile = bench.request.profile
    truth = bench.suite_info.has_truth
    return [
        row for row in table.rows if row.planned_in(profile, truth) and (not methods or row.method in methods)
    ]


def plan_tuning(bench: Workbench, table: TableSpec, methods: Sequence[str] = ()) -> Tuning:
    """Every trial of every row that trains, with what the store has of it.

    Args:
        bench: suite, profile and settings; its first seed is every trial's.
        table: the table.
        methods: only rows of these; empty for all.

    Raises:
        ConfigError: the table does not say what a trial is judged by.
    """
    check_tunable(table)
    own = bench.settings_for().train.learning_rate
    rates = learning_rates(own, bench.profile.tune.learning_rates if bench.profile.tune else None)
    runs = []
    for row in _wanted(bench, table, methods):
        if untrained(row.method):
            continue
        for run in _row_runs(bench, row, bench.seeds[0]):
            keys = [trial_key(run.key, rate) for rate in rates]
            trials = [Trial(key, bench.store.load(key)) for key in keys]
            runs.append((run.title, float(run.key.settings["train"]["learning_rate"]), trials))
    return Tuning.of(table, rates, bench.seeds[0], runs)


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


def _row_runs(bench: Workbench, row: RowSpec, seed: int, rates: Rates | None = None) -> list[PlannedRun]:
    """The runs of one row at one seed; a best teacher's row repeats runs of another row."""
    if row.kind == "best_teacher":
        return []
    teachers: Sequence[str] = bench.teachers if row.kind == "each_teacher" else ("",)
    factor = len(bench.teachers) if row.epochs_times_teachers else 1
    found = []
    for teacher in teachers:
        key = bench.key(
            row.method, teacher + row.variant_suffix, seed, _filled(row.settings, teacher), factor
        )
        unknown = False
        if rates is not None and not untrained(row.method):
            rate = rates.get((key.method, key.variant))
            unknown = rate is None
            key = key if rate is None else with_rate(key, rate)
        record = None if unknown else bench.store.load(key)
        found.append(PlannedRun(key, row.title.replace("{variant}", teacher), record))
    return found


def _filled(settings: Mapping[str, Mapping[str, Any]], teacher: str) -> dict[str, dict[str, Any]]:
    """A row's settings with "{variant}" replaced by the teacher's name."""
    return {
        section: {
            name: value.replace("{variant}", teacher) if isinstance(value, str) else value
            for name, value in values.items()
        }
        for section, values in settings.items()
    }


def table_records(bench: Workbench, table: TableSpec, rates: Rates | None = None) -> list[RunRecord]:
    """What the store has for a table: runs of its rows, and runs of other methods under the same settings.

    Args:
        bench: suite, profile, seeds and settings.
        table: the table.
        rates: tuned learning rates, or None for the suite's own. A row that trains and has none yet has no
            runs, and methods without a row, which were not tuned, are left out.
    """
    runs = [run for seed in bench.seeds for row in table.rows for run in _row_runs(bench, row, seed, rates)]
    found = [run.record for run in runs]
    if rates is not None:
        return [record for record in found if record is not None]
    listed = {row.method for row in table.rows}
    for record in bench.store.records():
        name = str(record.key["method"])
        if name not in listed and name in method_names() and _is_plain(bench, record):
            found.append(record)
    return [record for record in found if record is not None]


def _is_plain(bench: Workbench, record: RunRecord) -> bool:
    """Whether a run of a method without a row is the one that `run` makes under the bench's settings."""
    name, variant, seed = record.key["method"], record.key["variant"], int(record.key["seed"])
    if seed not in bench.seeds:
        return False
    try:
        key = bench.key(name, variant, seed, {"method": {"teacher": variant}} if variant else None)
    except ConfigError:
        return False
    return key.hash == key_hash(record.key)


def plan_method(bench: Workbench, method: str) -> list[PlannedRun]:
    """The runs of one method: one per seed, and per teacher where the method asks for one.

    Args:
        bench: suite, profile, seeds and settings.
        method: registry name.

    Raises:
        ConfigError: the method is unknown or refuses its configuration.
    """
    field = get_method(method).config_type.model_fields.get("teacher")
    asks = field is not None and field.is_required()
    chosen = bench.settings_for().method.get("teacher")
    teachers: Sequence[str] = ("",)
    if asks:
        teachers = bench.teachers if chosen is None else (str(chosen),)
    found = []
    for seed in bench.seeds:
        for teacher in teachers:
            changes = {"method": {"teacher": teacher}} if teacher else None
            key = bench.key(method, teacher, seed, changes)
            found.append(PlannedRun(key, key.label, bench.store.load(key)))
    return found
