"""Runs that other runs need first: what they left, and why a run cannot do without one.

A field of type `RequiredMethod` in a method's configuration names a method, and means that method's run of
the same seed, student, data, profile and settings, but for the method's own (`plan.required_keys`). Its hash
stands in the key (`RunKey.requires`), so that another required run makes another run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from compact_bench.core.errors import DamageError, RunHeldError, StoreError
from compact_bench.core.files import check_file
from compact_bench.core.records import RunKey, RunRecord, RunStatus, value_at
from compact_bench.runs.store.again import FOLDER, settle
from compact_bench.runs.store.store import Store
from compact_bench.training.final_weights import STEPS_FILE
from compact_bench.training.required import RequiredRun

MADE_FROM = "required"
"""Name in a run's report of what it was made from: field -> run (its hash), steps (sha256 of its table)."""
_ENDED: Mapping[RunStatus, str] = {
    "failed": "failed",
    "unsupported": "cannot run here",
    "untrained": "was not trained",
}


def required_records(store: Store, key: RunKey) -> dict[str, RunRecord]:
    """Field -> record of the run that it names.

    Raises:
        StoreError: there is none.
    """
    found = {}
    for field, name in key.requires.items():
        if (store.run_dir(name) / FOLDER).is_dir():
            # Who was killed while making the run anew may have left the old files beside the new record.
            with contextlib.suppress(RunHeldError), store.lock(name):
                settle(store.run_dir(name))
        record = store.load(name)
        if record is None:
            raise StoreError(
                f"run {key.name}: expected the run {name} that its setting {field} needs, found none in the "
                "store. Give the same command again: it makes that run first."
            )
        found[field] = record
    return found


def unmet(records: Mapping[str, RunRecord]) -> tuple[RunRecord, str] | None:
    """The first required run that is not done, and so why none can be made from it; None where all are."""
    for record in records.values():
        if record.status != "done":
            ended = f"it needs the run of {record.key.label}, which {_ENDED[record.status]}"
            return record, f"{ended}: {record.reason}" if record.reason else ended
    return None


def as_required(store: Store, records: Mapping[str, RunRecord]) -> dict[str, RequiredRun]:
    """Field -> finished run, as a method sees it."""
    return {
        field: RequiredRun(
            record.key.label, store.run_dir(record.key), record.key.settings["method"], _seal(record)
        )
        for field, record in records.items()
    }


def made_from(records: Mapping[str, RunRecord]) -> dict[str, dict[str, str]]:
    """What a run's report keeps of the runs that it was made from."""
    return {field: {"run": r.key.hash, "steps": _seal(r)} for field, r in records.items()}


def of_another(record: RunRecord, store: Store) -> str:
    """Why a finished run is not made from what the store has of its required runs; "" where it is.

    A required run that is not in the store says nothing: what was made from it stays what it is.
    """
    kept = value_at(record, f"training.extra.{MADE_FROM}") or {}
    for field, name in record.key.requires.items():
        required = store.load(name) if record.status == "done" else None
        if required is None or required.status != "done":
            continue
        if kept.get(field, {}).get("steps") != _seal(required):
            return f"{required.key.label} was run again since"
    return ""


def unreadable(record: RunRecord, store: Store) -> DamageError | None:
    """Why a finished run cannot serve one that requires it; None where it can."""
    if record.status != "done" or not _seal(record):
        return None
    try:
        check_file(store.run_dir(record.key) / STEPS_FILE, _seal(record))
    except DamageError as error:
        return error
    return None


def _seal(record: RunRecord) -> str:
    return record.files.get(STEPS_FILE, "")
