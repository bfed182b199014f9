"""Files of a run folder: how they are written, read back and checked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from compact_bench.core.errors import StoreError
from compact_bench.core.records import TRIAL, RunKey, RunRecord, RunStatus

RECORD_FORMAT = 1
TEMPORARY_SUFFIX = ".tmp"
PREVIOUS = "record.previous.json"


@dataclass(frozen=True)
class DamagedRun:
    """A run folder that says it is done and is not readable; it counts as missing."""

    hash: str
    problem: str


def key_hash(key: Mapping[str, Any]) -> str:
    """Hash of a run key given as plain data (a record's `key`).

    Raises:
        StoreError: the data is no run key.
    """
    names = {field.name for field in fields(RunKey)}
    if set(key) != names:
        odd = ", ".join(sorted(names.symmetric_difference(key)))
        raise StoreError(f"expected a run key with the fields of RunKey, got other ones: {odd}")
    return RunKey(**key).hash


def key_label(key: Mapping[str, Any]) -> str:
    """Short readable name of a run's method and variant ("single_teacher[gpt-4o]"); a trial says so."""
    name = f"{key['method']}[{key['variant']}]" if key.get("variant") else str(key["method"])
    return RunKey(**key).label if str(key.get("profile", "")).endswith(TRIAL) else name


def run_name(key: Mapping[str, Any]) -> str:
    """Readable name of a run: "svamp/lite/single_teacher[gpt-4o]@1" (suite, profile, label, seed)."""
    return f"{key['suite']}/{key['profile']}/{key_label(key)}@{key['seed']}"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a process after a kill, sees the old content or the new one.

    Raises:
        StoreError: the file cannot be written (no space, no permission).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the file's own folder: a rename is atomic within one file system only.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY_SUFFIX)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        # The rename itself is on disk only when the folder is.
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}. To mend: free space, or choose another store."
        ) from None


def _sync_folder(folder: Path) -> None:
    # Windows cannot open folders; the rename itself is still atomic there.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write plain data with `write_atomic`, on one line.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot hold.
    """
    write_atomic(path, json.dumps(value, allow_nan=False, ensure_ascii=False).encode())


def read_json(path: Path) -> Any:
    """What `write_json` wrote, or None where nothing can be read: what is remembered can be made again."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def committed_bytes(folder: Path) -> bytes | None:
    """Bytes of the record that `done` names, or None; tries again when a writer was just at work."""
    # A writer replaces record.json before `done`; in between, the record that `done` names is the previous.
    for _ in range(5):
        wanted = read_bytes(folder / "done")
        for name in ("record.json", PREVIOUS):
            data = read_bytes(folder / name)
            if data and wanted and hashlib.sha256(data).hexdigest().encode() == wanted.strip():
                return data
        if wanted == read_bytes(folder / "done"):
            return None
    return None


def read_bytes(path: Path) -> bytes | None:
    """A file's content, or None when there is no such file to read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def decode_record(name: str, data: bytes) -> RunRecord | DamagedRun:
    """The record in `data`, read of the run with the hash `name`, or why it is none."""
    try:
        value = json.loads(data)
        if value.pop("format", None) != RECORD_FORMAT:
            return DamagedRun(name, f"record.json has another format than {RECORD_FORMAT}")
        record = RunRecord(**value)
        if record.status not in get_args(RunStatus):
            return DamagedRun(name, f"record.json has the unknown status {record.status!r}")
        key_digest = key_hash(record.key)
    except (ValueError, TypeError, AttributeError, StoreError) as error:
        return DamagedRun(name, f"record.json is no run record ({error})")
    return record if key_digest == name else DamagedRun(name, f"record.json belongs to run {key_digest}")


def encode_json(value: Any, what: str) -> bytes:
    """Plain data as JSON with sorted keys.

    Raises:
        StoreError: it holds what JSON cannot; every such place is named.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True)
    except (TypeError, ValueError) as error:
        places = "; ".join(_bad_places(value)) or str(error)
        raise StoreError(f"{what} cannot be written as JSON: {places}") from None
    return text.encode()


def _bad_places(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _bad_places(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _bad_places(inner, f"{path}[{index}]")
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        yield f"{path} is {value}"
    elif not isinstance(value, str | int | float | bool | type(None)):
        yield f"{path} is a {type(value).__name__}"
