"""The store: one folder per run, named by the hash of its key; `done` is written last.

    root/runs/<hash>/key.json        what the run depends on, for people to read
                     record.json     what it left behind
                     done            sha256 of record.json: without it, or with another one, there is no run
                     ...             whatever the run itself writes (log, step table, checkpoints)
    root/evaluations/                cached evaluations, shared by runs
    root/locks/<hash>.lock           held by the process that works on the run

Every file is written beside its place, flushed to the disk and moved over the old one, so a process killed
at any instant leaves the old record or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from compact_bench.core.errors import RunHeldError, StoreError, UnknownNameError
from compact_bench.core.files import encode_json, read_json, usable_place, write_atomic, write_json
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.store.garbage import Leftover, find_leftovers, folder_size, remove_leftovers
from compact_bench.runs.store.record_files import (
    PREVIOUS,
    RECORD_FORMAT,
    DamagedRun,
    committed_bytes,
    decode_record,
)

_HASH = re.compile(r"[0-9a-f]{4,64}")
_note = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scan:
    """What a store holds.

    Attributes:
        records: every whole record, in the order of its readable name and hash.
        damaged: runs that count as missing, with why.
        unfinished: hashes of run folders without `done`.
    """

    records: tuple[RunRecord, ...]
    damaged: tuple[DamagedRun, ...]
    unfinished: tuple[str, ...]


class Store:
    """Runs and evaluations under one folder, which need not exist; several processes may use it at once."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.runs_dir, self.locks_dir = self.root / "runs", self.root / "locks"
        self.evaluations_dir = self.root / "evaluations"
        self._said: set[DamagedRun] = set()

    def run_dir(self, key: RunKey | str) -> Path:
        """Folder of one run, given by its key or hash (not created)."""
        return self.runs_dir / _hash_of(key)

    def load(self, key: RunKey | str) -> RunRecord | None:
        """A run's record, or None when it is missing, unfinished or damaged (which is noted in the log)."""
        run = self._read(_hash_of(key))
        if isinstance(run, DamagedRun):
            self._say(run)
            return None
        return run

    def save(self, key: RunKey, record: RunRecord) -> None:
        """Store a record; replaces an earlier one of the same key.

        Raises:
            StoreError: the record belongs to another key, holds what JSON cannot (NaN, infinity, an
                object), or cannot be written.
        """
        folder = self.run_dir(key)
        if record.key.hash != key.hash:
            raise StoreError(f"the record of run {record.key.hash} cannot be stored as {key.hash}")
        data = encode_json({"format": RECORD_FORMAT, **asdict(record)}, f"record of run {key.hash}")
        write_atomic(folder / "key.json", encode_json(asdict(key), f"key of run {key.hash}"))
        previous = folder / PREVIOUS
        if isinstance(self._read(key.hash), RunRecord):
            # Between the next two moves `done` still names the old record; this copy keeps it readable.
            write_atomic(previous, committed_bytes(folder) or b"")
        write_atomic(folder / "record.json", data)
        write_atomic(folder / "done", hashlib.sha256(data).hexdigest().encode())
        previous.unlink(missing_ok=True)

    def scan(self) -> Scan:
        """Everything the store holds; damaged runs are listed and noted in the log, never an error."""
        records: list[RunRecord] = []
        damaged: list[DamagedRun] = []
        unfinished: list[str] = []
        for name in sorted(path.name for path in _children(self.runs_dir) if path.is_dir()):
            run = self._read(name)
            if run is None:
                unfinished.append(name)
            elif isinstance(run, DamagedRun):
                self._say(run)
                damaged.append(run)
            else:
                records.append(run)
        # The sort is stable: runs of one readable name stay in the order of their hashes.
        records.sort(key=lambda record: record.key.name)
        return Scan(tuple(records), tuple(damaged), tuple(unfinished))

    def records(self) -> list[RunRecord]:
        """Every whole record: done, failed and unsupported ones."""
        return list(self.scan().records)

    def find(self, text: str) -> list[RunRecord]:
        """Records, at least one, by hash (at least 4 digits of it), label, or readable name.

        "3fa9c1", "compact", "compact@1", "single_teacher[gpt-4o]" or "svamp/lite/compact@1"; a method's name
        alone finds all its variants.

        Raises:
            UnknownNameError: nothing matches; near names are suggested.
        """
        records = self.records()
        hits = [r for r in records if _HASH.fullmatch(text) and r.key.hash.startswith(text)]
        for name_of in _NAMINGS:
            hits = hits or [r for r in records if name_of(r.key) == text]
        if not hits:
            known = {name for r in records for name in (r.key.name, r.key.label, r.key.hash)}
            raise UnknownNameError("run", text, known)
        return hits

    def find_one(self, text: str) -> RunRecord:
        """The one record that `text` names; see `find`.

        Raises:
            UnknownNameError: nothing matches.
            StoreError: several match; they are listed.
        """
        hits = self.find(text)
        if len(hits) == 1:
            return hits[0]
        listing = "\n".join(f"  - {r.key.hash}  {r.key.name}  ({r.status})" for r in hits)
        raise StoreError(f"{text!r} names {len(hits)} runs; give one by its hash:\n{listing}")

    @contextlib.contextmanager
    def lock(self, key: RunKey | str) -> Iterator[None]:
        """Hold a run, given by its key or hash. The system frees the lock of a process that dies.

        Raises:
            RunHeldError: another process holds it, which is named ("process 12 on alpha").
            UnusableStoreError: the lock file cannot be written.
        """
        name = _hash_of(key)
        lock, holder = self._lock_files(name)
        handle = filelock.FileLock(lock)
        try:
            with usable_place(lock):
                lock.parent.mkdir(parents=True, exist_ok=True)
                handle.acquire(timeout=0)
        except filelock.Timeout:
            raise RunHeldError(f"run {name} is held by {_holder_text(holder)}.") from None
        try:
            mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
            write_json(holder, mine)
            yield
        finally:
            # Who holds it is only told; that it cannot be removed is no reason to keep the lock.
            with contextlib.suppress(OSError):
                holder.unlink(missing_ok=True)
            handle.release()

    def is_locked(self, key: RunKey | str) -> bool:
        """Whether some process holds the run at this moment."""
        lock, _ = self._lock_files(_hash_of(key))
        if not lock.exists():
            return False
        handle = filelock.FileLock(lock)
        try:
            with usable_place(lock):
                handle.acquire(timeout=0)
        except filelock.Timeout:
            return True
        handle.release()
        return False

    def find_folder(self, text: str) -> str:
        """Hash of the one run that `text` names, also of one that is unfinished or damaged; see `find_one`.

        Raises:
            UnknownNameError: nothing matches.
            StoreError: several match; they are listed.
        """
        names = [
            p.name for p in _children(self.runs_dir) if _HASH.fullmatch(text) and p.name.startswith(text)
        ]
        return names[0] if len(names) == 1 else self.find_one(text).key.hash

    def remove(self, names: Sequence[str], *, dry_run: bool = False) -> tuple[Leftover, ...]:
        """Remove whole runs, all or, while another process is at one of them, none.

        Args:
            names: hashes of runs.
            dry_run: only list what would go.

        Returns:
            What was, or would be, removed.

        Raises:
            RunHeldError: another process is at one of the runs.
            StoreError: a file cannot be removed.
        """
        with contextlib.ExitStack() as stack:
            for name in names:
                stack.enter_context(self.lock(name))
            gone = tuple(
                Leftover(self.run_dir(name), self._title(name), folder_size(self.run_dir(name)))
                for name in names
            )
            if not dry_run:
                for name in names:
                    # First of all: half a folder must not be a run.
                    with usable_place(self.run_dir(name)):
                        (self.run_dir(name) / "done").unlink(missing_ok=True)
                remove_leftovers(gone)
        return gone

    def _title(self, name: str) -> str:
        run = self._read(name)
        return f"{run.key.name} ({run.status})" if isinstance(run, RunRecord) else "unfinished or damaged run"

    def gc(
        self, *, dry_run: bool = False, keep: Collection[str] = (), min_age_seconds: float = 3600.0
    ) -> tuple[Leftover, ...]:
        """Remove what no finished run needs: its checkpoints, unused evaluations, forgotten temporary files.

        Runs that some process holds, and unfinished ones, are never touched. While any run is held, only
        checkpoints of other, finished runs go: its evaluations may not be recorded yet.

        Args:
            dry_run: only list what would go.
            keep: hashes (or their beginnings) of runs whose checkpoints stay.
            min_age_seconds: younger temporary files and evaluations stay.

        Returns:
            What was, or would be, removed.

        Raises:
            StoreError: a file cannot be removed.
        """
        scan = self.scan()
        done = {r.key.hash: r for r in scan.records if r.status != "failed"}
        free = [name for name in done if not self.is_locked(name) and not name.startswith(tuple(keep))]
        used = {
            f"{r.weights.get('final', '')}/{result.get('cache_key', '')}"
            for r in scan.records
            for result in r.evaluations.values()
        }
        busy = any(self.is_locked(path.stem) for path in _children(self.locks_dir) if path.suffix == ".lock")
        leftovers = find_leftovers(
            [self.run_dir(name) for name in sorted(free)],
            None if busy else self.root,
            self.evaluations_dir,
            used,
            min_age_seconds,
        )
        if not dry_run:
            remove_leftovers(leftovers)
        return leftovers

    def _say(self, run: DamagedRun) -> None:
        if run not in self._said:
            self._said.add(run)
            _note.warning("run %s counts as missing and is made again: %s", run.hash, run.problem)

    def _lock_files(self, name: str) -> tuple[Path, Path]:
        return self.locks_dir / f"{name}.lock", self.locks_dir / f"{name}.holder"

    def _read(self, name: str) -> RunRecord | DamagedRun | None:
        folder = self.run_dir(name)
        if not (folder / "done").is_file():
            return None
        data = committed_bytes(folder)
        if data is None:
            return DamagedRun(name, "record.json is missing or is not the one that `done` names")
        return decode_record(name, data)


_NAMINGS: tuple[Callable[[RunKey], str], ...] = (
    lambda key: key.name,
    lambda key: f"{key.label}@{key.seed}",
    lambda key: key.label,
    lambda key: key.method,
)


def _children(folder: Path) -> Sequence[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _hash_of(key: RunKey | str) -> str:
    return key if isinstance(key, str) else key.hash


def _holder_text(holder: Path) -> str:
    value = read_json(holder)
    try:
        return f"process {value['pid']} on {value['host']}"
    except (KeyError, TypeError):
        return "another process"
