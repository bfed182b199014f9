"""A run's record as files: which one is committed, and what it says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from compact_bench.core.files import read_bytes
from compact_bench.core.records import RunKey, RunRecord, RunStatus

RECORD_FORMAT = 1
PREVIOUS = "record.previous.json"


@dataclass(frozen=True)
class DamagedRun:
    """A run folder that says it is done and is not readable; it counts as missing."""

    hash: str
    problem: str


def committed_bytes(folder: Path) -> bytes | None:
    """Bytes of the record that `done` names, or None; tries again when a writer was just at work."""
    # A writer replaces record.json before `done`; in between, the record that `done` names is the previous.
    for _ in range(5):
        digest = read_bytes(folder / "done")
        for name in ("record.json", PREVIOUS):
            data = read_bytes(folder / name)
            if data and digest and hashlib.sha256(data).hexdigest().encode() == digest.strip():
                return data
        if digest == read_bytes(folder / "done"):
            return None
    return None


def decode_record(name: str, data: bytes) -> RunRecord | DamagedRun:
    """The record in `data`, read of the run with the hash `name`, or why it is none."""
    try:
        value = json.loads(data)
        if value.pop("format", None) != RECORD_FORMAT:
            return DamagedRun(name, f"record.json has another format than {RECORD_FORMAT}")
        record = RunRecord(**{**value, "key": RunKey(**value["key"])})
        if record.status not in get_args(RunStatus):
            return DamagedRun(name, f"record.json has the unknown status {record.status!r}")
        for part in ("training", "weights", "evaluations", "probes", "provenance", "files"):
            if not isinstance(value.get(part, {}), dict):
                return DamagedRun(name, f"record.json: expected an object as {part}, got {value[part]!r}")
        run_hash = record.key.hash
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return DamagedRun(name, f"record.json is no run record ({error})")
    return record if run_hash == name else DamagedRun(name, f"record.json belongs to run {run_hash}")
