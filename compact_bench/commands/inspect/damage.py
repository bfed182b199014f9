"""Which files that the records of a store name are no longer what was written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from compact_bench.core.errors import DamageError, UnusableStoreError
from compact_bench.core.files import check_file, check_folder
from compact_bench.core.records import RunRecord
from compact_bench.evaluation.cache import CacheEntry
from compact_bench.runs.store.store import Store
from compact_bench.training.final_weights import FINAL


@dataclass(frozen=True)
class StoreCheck:
    """What reading every file that a store's records name found.

    Attributes:
        checked: how many records were read with their files.
        damaged: hash of a run -> what is damaged or missing of it, a line each.
        unchecked: hash of a run -> why its files were not.
    """

    checked: int
    damaged: dict[str, list[str]]
    unchecked: dict[str, str]


def check_store(store: Store) -> StoreCheck:
    """Read every record and every file that one names: final weights, steps tables, evaluations.

    Raises:
        UnusableStoreError: a file is there and cannot be read.
    """
    scan = store.scan()
    damaged = {run.hash: [run.problem] for run in scan.damaged}
    unchecked, checked = {}, len(damaged)
    for record in scan.records:
        if record.status == "done" and not record.files:
            unchecked[record.key.hash] = f"results version {record.key.results_version} kept no sha256"
            continue
        faults = list(_faults(store, record))
        # Whoever makes a run again replaces its record first and its files then.
        if faults and _is_held(store, record.key.hash):
            unchecked[record.key.hash] = "another process is at it"
            continue
        checked += 1
        if faults:
            damaged[record.key.hash] = faults
    return StoreCheck(checked, damaged, unchecked)


def _faults(store: Store, record: RunRecord) -> Iterator[str]:
    folder = store.run_dir(record.key)
    found = False
    for name, wanted in record.files.items():
        try:
            check_file(folder / name, wanted)
        except DamageError as error:
            found = True
            yield str(error)
    # What names the files is one too, and is read before them; it would only say the same of them.
    if record.files and not found:
        try:
            check_folder(folder / FINAL)
        except DamageError as error:
            yield str(error)
    for result in record.evaluations.values():
        entry = CacheEntry(store.evaluations_dir, record.weights["final"], result["cache_key"])
        try:
            if entry.read() is None:
                yield f"{entry.result_file} is missing"
        except DamageError as error:
            yield str(error)


def _is_held(store: Store, name: str) -> bool:
    # Where no lock can be taken nobody is at work.
    with contextlib.suppress(UnusableStoreError):
        return store.is_locked(name)
    return False
