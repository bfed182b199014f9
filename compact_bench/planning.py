"""Which runs a table needs, and which of them are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compact_bench.errors import ConfigError, UnknownNameError
from compact_bench.records import RunKey, RunRecord
from compact_bench.registry import get_method, method_names
from compact_bench.table_spec import RowSpec, TableSpec
from compact_bench.workbench import Workbench

__all__ = ["PlannedRun", "plan_method", "plan_table"]

State = Literal["done", "unsupported", "missing", "failed"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        key: the run.
        title: what it is, for the plan's display.
        record: what the store has of it, or None.
    """

    key: RunKey
    title: str
    record: RunRecord | None

    @property
    def state(self) -> State:
        """What is known of it."""
        return "missing" if self.record is None else self.record.status

    @property
    def needed(self) -> bool:
        """Whether it must run: it is missing, or it failed the last time."""
        return self.state in ("missing", "failed")


def plan_table(bench: Workbench, table: TableSpec, methods: Sequence[str] = ()) -> list[PlannedRun]:
    """All runs of a table, seed by seed, so that a partial table has whole seeds.

    Args:
        bench: suite, profile, seeds and settings.
        table: the table.
        methods: only rows of these; empty for all.

    Raises:
        ConfigError: a method is unknown or is in no row of the table.
    """
    in_table = tuple(dict.fromkeys(row.method for row in table.rows))
    for name in methods:
        if name not in method_names():
            raise UnknownNameError("method", name, method_names())
        if name not in in_table:
            raise ConfigError(
                f"--methods: table {table.number} has no row of method {name!r}; it has {', '.join(in_table)}. "
                f"`compact-bench run {name}` runs it by itself."
            )
    rows = [
        row
        for row in table.rows
        if row.kind != "best_teacher"
        and row.planned_in(bench.request.profile)
        and (not methods or row.method in methods)
    ]
    return [run for seed in bench.seeds for row in rows for run in _row_runs(bench, row, seed)]


def _row_runs(bench: Workbench, row: RowSpec, seed: int) -> list[PlannedRun]:
    teachers: Sequence[str] = bench.teachers if row.kind == "each_teacher" else ("",)
    factor = max(1, len(bench.teachers)) if row.epochs_times_teachers else 1
    found = []
    for teacher in teachers:
        variant = f"{teacher}{row.variant_suffix}"
        changes = _filled(row.settings, teacher)
        key = bench.key(row.method, variant, seed, changes, factor)
        title = row.title.replace("{variant}", teacher)
        found.append(PlannedRun(key, title, bench.store.load(key)))
    return found


def _filled(value: Any, teacher: str) -> Any:
    """A row's settings with "{variant}" replaced by the teacher's name."""
    if isinstance(value, str):
        return value.replace("{variant}", teacher)
    if isinstance(value, dict):
        return {name: _filled(inner, teacher) for name, inner in value.items()}
    return value


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
