"""The store: one folder per run, named by the hash of its key; `done` is written last.

    root/runs/<hash>/key.json        what the run depends on
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

from compact_bench.core.errors import StoreError, UnknownNameError
from compact_bench.core.files import encode_json, read_json, write_atomic, write_json
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.store.garbage import Leftover, find_leftovers, remove_leftovers
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
        unfinished: hashes of run folders that have no `done` yet.
    """

    records: tuple[RunRecord, ...]
    damaged: tuple[DamagedRun, ...]
    unfinished: tuple[str, ...]


class Store:
    """Runs and evaluations under one folder; several processes may use it at once.

    Args:
        root: the store's folder; it need not exist.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def runs_dir(self) -> Path:
        """Folder of all run folders."""
        return self.root / "runs"

    @property
    def evaluations_dir(self) -> Path:
        """Folder of cached evaluations."""
        return self.root / "evaluations"

    @property
    def locks_dir(self) -> Path:
        """Folder of lock files."""
        return self.root / "locks"

    def run_dir(self, key: RunKey | str) -> Path:
        """Folder of one run (not created).

        Args:
            key: the run's key, or its hash.
        """
        return self.runs_dir / (key if isinstance(key, str) else key.hash)

    def load(self, key: RunKey | str) -> RunRecord | None:
        """A run's record, or None when it is missing, unfinished or damaged (which is noted in the log)."""
        found = self._read(key if isinstance(key, str) else key.hash)
        if isinstance(found, DamagedRun):
            _note.warning("run %s counts as missing: %s", found.hash, found.problem)
            return None
        return found

    def needs_run(self, key: RunKey | str) -> bool:
        """Whether a run must be done: it is missing, damaged, or it failed."""
        record = self.load(key)
        return record is None or record.status == "failed"

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
        records: list[tuple[str, str, RunRecord]] = []
        damaged: list[DamagedRun] = []
        unfinished: list[str] = []
        folders = sorted(p for p in _children(self.runs_dir) if p.is_dir())
        for folder in folders:
            found = self._read(folder.name)
            if isinstance(found, DamagedRun):
                _note.warning("run %s counts as missing: %s", found.hash, found.problem)
                damaged.append(found)
            elif found is None:
                unfinished.append(folder.name)
            else:
                records.append((found.key.name, folder.name, found))
        records.sort(key=lambda entry: entry[:2])
        return Scan(tuple(r for _, _, r in records), tuple(damaged), tuple(unfinished))

    def records(self) -> list[RunRecord]:
        """Every whole record: done, failed and unsupported ones."""
        return list(self.scan().records)

    def find(self, text: str) -> list[RunRecord]:
        """Records by hash (at least 4 digits of it), label, or readable name.

        Args:
            text: "3fa9c1", "compact", "compact@1", "single_teacher[gpt-4o]" or
                "svamp/lite/compact@1"; a method's name alone finds all its variants.

        Returns:
            At least one record, in the order of `records`.

        Raises:
            UnknownNameError: nothing matches; near names are suggested.
        """
        records = self.records()
        hashes = {id(r): r.key.hash for r in records}
        if _HASH.fullmatch(text):
            hits = [r for r in records if hashes[id(r)].startswith(text)]
            if hits:
                return hits
        for names in _NAMINGS:
            hits = [r for r in records if names(r.key) == text]
            if hits:
                return hits
        known = {r.key.name for r in records} | {r.key.label for r in records}
        raise UnknownNameError("run", text, known | set(hashes.values()))

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
    def lock(
        self,
        key: RunKey | str,
        timeout_seconds: float = -1.0,
        on_wait: Callable[[str], None] | None = None,
    ) -> Iterator[None]:
        """Hold a run; a second process waits. The system frees the lock of a process that dies.

        Args:
            key: the run's key, or its hash.
            timeout_seconds: longest wait; 0 does not wait, below 0 waits for ever.
            on_wait: called once with who holds the lock ("process 12 on alpha"), if there is a wait.

        Raises:
            StoreError: still held by another process after the wait.
        """
        name = key if isinstance(key, str) else key.hash
        lock, holder = self._lock_files(name)
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = filelock.FileLock(lock)
        try:
            handle.acquire(timeout=0)
        except filelock.Timeout:
            who = _holder_text(holder)
            _note.info("run %s is held by %s", name, who)
            if on_wait is not None and timeout_seconds != 0:
                on_wait(who)
            _acquire(handle, timeout_seconds, name, holder)
        try:
            mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
            write_json(holder, mine)
            yield
        finally:
            holder.unlink(missing_ok=True)
            handle.release()

    def is_locked(self, key: RunKey | str) -> bool:
        """Whether some process holds the run at this moment."""
        lock, _ = self._lock_files(key if isinstance(key, str) else key.hash)
        if not lock.exists():
            return False
        handle = filelock.FileLock(lock)
        try:
            handle.acquire(timeout=0)
        except filelock.Timeout:
            return True
        handle.release()
        return False

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
            What was, or would be, removed: path, why, bytes.

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
        found = find_leftovers(
            [self.run_dir(name) for name in sorted(free)],
            None if busy else self.root,
            self.evaluations_dir,
            used,
            min_age_seconds,
        )
        if not dry_run:
            remove_leftovers(found)
        return found

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


def _acquire(handle: filelock.BaseFileLock, timeout_seconds: float, name: str, holder: Path) -> None:
    try:
        handle.acquire(timeout=timeout_seconds, poll_interval=0.2)
    except filelock.Timeout:
        raise StoreError(
            f"run {name} is held by {_holder_text(holder)}; waited {max(timeout_seconds, 0):g} s. To mend: "
            "wait for that process or end it; the lock is freed when it ends."
        ) from None


def _holder_text(holder: Path) -> str:
    value = read_json(holder)
    try:
        return f"process {value['pid']} on {value['host']}"
    except (KeyError, TypeError):
        return "another process"
