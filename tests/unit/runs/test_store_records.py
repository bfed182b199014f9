"""The store keeps whole records, whatever happens while they are written."""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import StoreError, UnknownNameError
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.plan import PlannedRun
from compact_bench.runs.store.store import Store

ROOT = Path(__file__).resolve().parents[3]


def make_key(**changes: Any) -> RunKey:
    values: dict[str, Any] = {
        "method": "compact",
        "variant": "",
        "student": "tiny",
        "student_revision": "abc",
        "suite": "svamp",
        "suite_fingerprint": "def",
        "profile": "smoke",
        "seed": 1,
        "settings": {"train": {"epochs": 1}},
        "results_version": 1,
    }
    return RunKey(**{**values, **changes})


def make_record(key: RunKey, **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "key": key,
        "status": "done",
        "training": {"optimiser_steps": 3, "final_loss": 0.1 + 0.2},
    }
    return RunRecord(**{**values, **changes})


def test_a_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store, key = Store(tmp_path), make_key()
    record = make_record(key, evaluations={"svamp": {"value": 1 / 3, "items": [0.0, 1.0], "n": 2}})
    assert store.load(key) is None
    store.save(key, record)
    assert store.load(key) == record
    assert store.load(key.hash) == record
    assert sorted(p.name for p in store.run_dir(key).iterdir()) == ["done", "key.json", "record.json"]
    assert json.loads((store.run_dir(key) / "key.json").read_text()) == dataclasses.asdict(key)


@pytest.mark.parametrize(("status", "again"), [("done", False), ("failed", True), ("unsupported", False)])
def test_only_failed_runs_are_run_again(tmp_path: Path, status: Any, again: bool) -> None:
    store, key = Store(tmp_path), make_key()
    assert PlannedRun(key, "", store.load(key)).needed
    store.save(key, make_record(key, status=status, reason="because"))
    assert PlannedRun(key, "", store.load(key)).needed is again
    assert [r.status for r in store.records()] == [status]


def damage_truncate(folder: Path) -> None:
    data = (folder / "record.json").read_bytes()
    (folder / "record.json").write_bytes(data[: len(data) // 2])


def damage_remove(folder: Path) -> None:
    (folder / "record.json").unlink()


def damage_done(folder: Path) -> None:
    (folder / "done").write_bytes(b"")


def damage_flip(folder: Path) -> None:
    data = (folder / "record.json").read_text()
    (folder / "record.json").write_text(data.replace('"seed": 1', '"seed": 2'))


@pytest.mark.parametrize("damage", [damage_truncate, damage_remove, damage_done, damage_flip])
def test_a_damaged_run_counts_as_missing_and_is_noted(
    tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store, good, bad = Store(tmp_path), make_key(seed=2), make_key()
    for key in (good, bad):
        store.save(key, make_record(key))
    damage(store.run_dir(bad))
    with caplog.at_level(logging.WARNING):
        assert store.load(bad) is None
        scan = store.scan()
    assert [r.key.hash for r in scan.records] == [good.hash]
    assert [d.hash for d in scan.damaged] == [bad.hash]
    assert bad.hash in caplog.text
    store.save(bad, make_record(bad))
    assert len(store.records()) == 2


def test_a_consistent_file_of_another_run_or_format_is_refused(tmp_path: Path) -> None:
    import hashlib

    store, key = Store(tmp_path), make_key()
    store.save(key, make_record(key))
    folder = store.run_dir(key)
    original = (folder / "record.json").read_text()
    for changed in (
        original.replace('"seed": 1', '"seed": 7'),
        original.replace('"format": 1', '"format": 99'),
        original.replace('"status": "done"', '"status": "odd"'),
        original.replace('"reason": ""', '"unknown": ""'),
        "[]",
    ):
        assert changed != original
        (folder / "record.json").write_text(changed)
        (folder / "done").write_text(hashlib.sha256(changed.encode()).hexdigest())
        assert store.load(key) is None


def test_a_record_whose_parts_have_other_types_is_damaged(tmp_path: Path) -> None:
    store, key = Store(tmp_path), make_key()
    for part, value in (("evaluations", None), ("probes", [1]), ("training", "no")):
        store.save(key, make_record(key, **{part: value}))
        assert store.load(key) is None
        (damaged,) = store.scan().damaged
        assert f"expected an object as {part}, got {value!r}" in damaged.problem


def test_a_run_without_done_is_unfinished_not_damaged(tmp_path: Path) -> None:
    store, key = Store(tmp_path), make_key()
    store.save(key, make_record(key))
    (store.run_dir(key) / "done").unlink()
    scan = store.scan()
    assert (scan.records, scan.damaged, scan.unfinished) == ((), (), (key.hash,))


def test_what_json_cannot_hold_is_named(tmp_path: Path) -> None:
    store, key = Store(tmp_path), make_key()
    record = make_record(key, probes={"drift": [1.0, float("nan")], "where": Path("x")})
    with pytest.raises(StoreError, match=r"probes\.drift\[1\] is nan; probes\.where is a .*Path"):
        store.save(key, record)
    assert store.records() == []


def test_a_record_of_another_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be stored as"):
        Store(tmp_path).save(make_key(), make_record(make_key(seed=5)))


def test_an_interrupted_replacement_leaves_the_old_record(tmp_path: Path, monkeypatch: Any) -> None:
    """Whichever of the writes of a save is the last one made, a whole record is there."""
    import compact_bench.runs.store.store as module

    key = make_key()
    old, new = make_record(key, status="failed", reason="old"), make_record(key)
    real = module.write_atomic
    for allowed in range(4):
        store = Store(tmp_path / str(allowed))
        store.save(key, old)
        made = 0

        def stop_after(path: Path, data: bytes, limit: int = allowed) -> None:
            nonlocal made
            if made == limit:
                raise KeyboardInterrupt
            made += 1
            real(path, data)

        monkeypatch.setattr(module, "write_atomic", stop_after)
        with pytest.raises(KeyboardInterrupt):
            store.save(key, new)
        monkeypatch.setattr(module, "write_atomic", real)
        assert store.load(key) == old
        store.save(key, new)
        assert store.load(key) == new


WRITER = """
import dataclasses, sys
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.store.store import Store
key = RunKey("compact", "", "tiny", "abc", "svamp", "def", "smoke", 1, {"train": {"epochs": 1}}, 1)
store, number = Store(sys.argv[1]), 0
print("ready", flush=True)
while True:
    number += 1
    store.save(key, RunRecord(key=key, status="done",
                              training={"number": number, "padding": [number] * 20000}))
    print(number, flush=True)
"""


def test_sigkill_during_save_leaves_a_whole_record(tmp_path: Path) -> None:
    key = make_key()
    for attempt in range(4):
        store = Store(tmp_path / str(attempt))
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.root)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert lines == ["ready\n", "1\n"]
        time.sleep(0.03 + 0.017 * attempt)
        process.send_signal(signal.SIGKILL)
        saved = [int(line) for line in process.communicate()[0].split()] or [1]
        record = store.load(key)
        assert record is not None
        number = record.training["number"]
        assert number in (saved[-1], saved[-1] + 1)
        assert record.training["padding"] == [number] * 20000
        assert not store.scan().damaged


def test_a_reader_beside_a_writer_never_sees_damage(tmp_path: Path) -> None:
    store, key = Store(tmp_path), make_key()
    store.save(key, make_record(key))
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.save(key, make_record(key, training={"number": number}))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(store.load(key) is not None for _ in range(150))
    finally:
        stop.set()
        writer.join()


def test_find_by_hash_label_seed_and_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [
        make_key(method="single_teacher", variant="gpt-4o"),
        make_key(method="single_teacher", variant="gpt-4o", seed=2),
        make_key(method="single_teacher", variant="human"),
        make_key(),
    ]
    for key in keys:
        store.save(key, make_record(key))
    assert store.find_one(keys[0].hash[:9]).key.seed == 1
    assert [r.key.seed for r in store.find("single_teacher[gpt-4o]")] == [1, 2]
    assert store.find_one("single_teacher[gpt-4o]@2").key.seed == 2
    assert store.find_one("svamp/smoke/compact@1").key.method == "compact"
    assert len(store.find("single_teacher")) == 3
    assert store.find_one(store.records()[0].key.name) == store.records()[0]


def test_find_one_lists_what_is_ambiguous_and_suggests_what_is_near(tmp_path: Path) -> None:
    store = Store(tmp_path)
    keys = [make_key(), make_key(seed=2)]
    for key in keys:
        store.save(key, make_record(key))
    with pytest.raises(StoreError, match="names 2 runs") as many:
        store.find_one("compact")
    assert all(key.hash in str(many.value) for key in keys)
    with pytest.raises(UnknownNameError, match="Did you mean") as near:
        store.find("compcat")
    assert "compact" in near.value.near
