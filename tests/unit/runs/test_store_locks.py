"""Locks between processes, and what gc may remove."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import StoreError
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.store.store import Store

ROOT = Path(__file__).resolve().parents[3]

HOLDER = """
import sys, time
from compact_bench.runs.store.store import Store
with Store(sys.argv[1]).lock("0123456789abcdef"):
    print("held", flush=True)
    sys.stdin.readline()
print("free", flush=True)
"""
NAME = "0123456789abcdef"


def start_holder(root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    store, holder = Store(tmp_path), start_holder(tmp_path)
    try:
        assert store.is_locked(NAME)
        with pytest.raises(StoreError, match=f"held by process {holder.pid} on "), store.lock(NAME):
            pytest.fail("the lock was given twice")
    finally:
        holder.communicate("go\n")
    with store.lock(NAME):
        assert store.is_locked(NAME)
    assert not store.is_locked(NAME)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    store, holder = Store(tmp_path), start_holder(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with store.lock(NAME):
        pass


def test_the_lock_is_freed_when_the_work_fails(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError), store.lock(NAME):
        raise ZeroDivisionError
    assert not store.is_locked(NAME)


def key_of(seed: int) -> RunKey:
    return RunKey("compact", "", "tiny", "abc", "svamp", "def", "smoke", seed, {}, 1)


def save(store: Store, seed: int, **changes: Any) -> RunKey:

    key = key_of(seed)
    values: dict[str, Any] = {"key": key, "status": "done"}
    store.save(key, RunRecord(**{**values, **changes}))
    folder = store.run_dir(key) / "checkpoint"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"x" * 100)
    return key


def filled_store(root: Path) -> Store:
    store = Store(root)
    save(store, 1, weights={"final": "w1"}, evaluations={"svamp": {"cache_key": "used"}})
    save(store, 2, status="failed", reason="e")
    unfinished = store.run_dir(key_of(3)) / "checkpoint"
    unfinished.mkdir(parents=True)
    (unfinished / "weights.bin").write_bytes(b"x")
    for name in ("w1/used", "w1/unused", "w2/used"):
        (store.evaluations_dir / name).mkdir(parents=True)
        (store.evaluations_dir / name / "items.jsonl").write_bytes(b"12345")
    (store.run_dir(key_of(1)) / ".record.json.abc.tmp").write_bytes(b"123")
    return store


def test_gc_removes_only_what_no_finished_run_needs(tmp_path: Path) -> None:
    store = filled_store(tmp_path)
    listed = store.gc(dry_run=True, min_age_seconds=0)
    before = sorted(tmp_path.rglob("*"))
    assert {(item.path.name, item.why, item.size_bytes) for item in listed} == {
        ("checkpoint", "checkpoint of a finished run", 100),
        ("unused", "evaluation of no run", 5),
        ("used", "evaluation of no run", 5),
        (".record.json.abc.tmp", "temporary file", 3),
    }
    assert sorted(tmp_path.rglob("*")) == before
    assert store.gc(min_age_seconds=0) == listed
    assert not any(item.path.exists() for item in listed)
    assert (store.evaluations_dir / "w1" / "used").exists()
    assert all((store.run_dir(key_of(seed)) / "checkpoint").exists() for seed in (2, 3))
    assert len(store.records()) == 2
    assert store.gc(min_age_seconds=0) == ()


def test_gc_keeps_named_runs_and_young_files(tmp_path: Path) -> None:
    store = filled_store(tmp_path)
    assert store.gc(keep=[key_of(1).hash[:8]]) == ()
    old = store.evaluations_dir / "w1" / "unused"
    os.utime(old, (1, 1))
    assert [item.path for item in store.gc(keep=[key_of(1).hash])] == [old]


def test_gc_touches_no_held_run_and_no_evaluation_of_one(tmp_path: Path) -> None:
    store = filled_store(tmp_path)
    with store.lock(key_of(1)):
        assert store.gc(min_age_seconds=0) == ()
    with store.lock(key_of(3)):
        assert [item.why for item in store.gc(min_age_seconds=0)] == ["checkpoint of a finished run"]
