"""Every kind of stored file, damaged in every way: it is said, and made again to the same bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.runs import run as run_module
from compact_bench.runs.store.store import Store
from compact_bench.training import loop as loop_module
from tests.unit.command import Done, run_command

Capture = pytest.CaptureFixture[str]
SETTINGS = ("epochs=4", "accumulation=1", "checkpoint_seconds=0", "lora.dropout=0.2", "learning_rate=0.01")


def flipped(path: Path) -> None:
    """One bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def nulled(path: Path) -> None:
    path.write_bytes(b"null")


DAMAGES = (flipped, cut, emptied, nulled)


class Place:
    """One run of a method and the files that it leaves."""

    def __init__(
        self, folder: Path, suite: Path, capsys: Capture, *changes: str, method: str = "uniform"
    ) -> None:
        self.folder, self._suite, self._capsys, self._method = folder, suite, capsys, method
        self._changes = [word for change in (*SETTINGS, *changes) for word in ("--set", change)]

    def run(self, *more: str) -> Done:
        words = ("run", self._method, "--suite", self._suite, "--profile", "smoke", "--threads", "1")
        return run_command(self._capsys, *words, "--workers", "1", *self._changes, *more)

    @property
    def record(self) -> RunRecord:
        (record,) = Store(self.folder / "store").records()
        assert record.status == "done", record.reason
        return record

    def files(self, pattern: str) -> list[Path]:
        return sorted(path for path in self.folder.glob(pattern) if path.is_file())


def timeless(value: Any) -> Any:
    """Plain data without what differs from one time to the next."""
    if not isinstance(value, dict):
        return value
    return {k: timeless(v) for k, v in value.items() if k not in ("seconds", "peak_memory_bytes")}


def numbers(record: RunRecord) -> Any:
    training = timeless(record.training)
    values = {task: (e["value"], e["items"]) for task, e in record.evaluations.items()}
    return json.loads(json.dumps([record.weights, training, values, record.probes]))


@pytest.fixture
def place(tmp_path: Path, suite: Path, capsys: Capture) -> Callable[..., Place]:
    return lambda *changes, **method: Place(tmp_path, suite, capsys, *changes, **method)


def stop_at(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, name, stopped)


def whole_then_stopped(one: Place, monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    """The numbers of a whole run; then the same run in a new store, stopped where `name` is called."""
    assert one.run().code == 0
    wanted = numbers(one.record)
    shutil.rmtree(one.folder / "store")
    with monkeypatch.context() as patch:
        stop_at(patch, name)
        assert one.run().code == 130
    return wanted


@pytest.mark.parametrize("name", ["save_final", "_evaluate", "run_probes", "_record"])
@pytest.mark.parametrize("lora", ["true", "false"])
def test_stopped_anywhere_it_ends_with_the_same_bits(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch, name: str, lora: str
) -> None:
    one = place(f"lora.enabled={lora}")
    wanted = whole_then_stopped(one, monkeypatch, name)
    assert one.run().code == 0
    assert numbers(one.record) == wanted


def damaged_in_every_way(one: Place, patterns: list[str], wanted: Any) -> None:
    """Damage each file of a store as it is now in each way; every time it is said, and the run ends alike."""
    kept = one.folder / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    for name in ("store", "cache"):
        shutil.copytree(one.folder / name, kept / name)
    for pattern in patterns:
        for damage in DAMAGES:
            for name in ("store", "cache"):
                shutil.rmtree(one.folder / name)
                shutil.copytree(kept / name, one.folder / name)
            paths = one.files(pattern)
            for path in paths:
                damage(path)
            done = one.run()
            assert done.code == 0, (pattern, damage, done.err)
            said = sum("made again" in line for line in done.err.splitlines())
            assert said == len(paths) > 0, (pattern, damage, done.err)
            assert numbers(one.record) == wanted, (pattern, damage)


def test_what_training_left_is_trained_again(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = place()
    wanted = whole_then_stopped(one, monkeypatch, "_evaluate")
    names = ["final/report.json", "final/adapters.safetensors", "final/sha256.json", "steps.parquet"]
    damaged_in_every_way(one, [f"store/runs/*/{name}" for name in names], wanted)


def test_a_checkpoint_is_made_again(place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch) -> None:
    one = place()
    wanted = whole_then_stopped(one, monkeypatch, "save_final")
    names = ["state.json", "rows.parquet", "tensors.safetensors", "sha256.json"]
    damaged_in_every_way(one, [f"store/runs/*/checkpoint-*/{name}" for name in names], wanted)


@pytest.mark.parametrize(
    ("method", "changes", "files"),
    [
        (
            "replay",
            ("method.turns=5", "method.question_tokens=6", "method.answer_tokens=8"),
            "own_turns.json",
        ),
        ("learned_weights", (), "learned_weights.json"),
        ("mot", ("method.rounds=1",), "parts/average-0001/weights.safetensors"),
        ("mot", ("method.rounds=1",), "parts/average-0001/sha256.json"),
    ],
)
def test_what_a_method_keeps_is_made_again(
    place: Callable[..., Place],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    changes: tuple[str, ...],
    files: str,
) -> None:
    one = place(*changes, method=method)
    wanted = whole_then_stopped(one, monkeypatch, "save_final")
    damaged_in_every_way(one, [f"store/runs/*/{files}"], wanted)


@pytest.mark.parametrize("gone", [(1, 2), (2, 3)])
def test_averages_that_are_gone_are_made_again(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch, gone: tuple[int, ...]
) -> None:
    """The branches' checkpoints are then further than the average that is left."""
    one = place("method.rounds=3", method="mot")
    wanted = whole_then_stopped(one, monkeypatch, "save_final")
    for number in gone:
        shutil.rmtree(one.files(f"store/runs/*/parts/average-{number:04d}/*")[0].parent)
    done = one.run()
    assert done.code == 0 and "made again" in done.err
    assert numbers(one.record) == wanted


def test_what_is_kept_between_commands_is_made_again(place: Callable[..., Place]) -> None:
    one = place()
    assert one.run().code == 0
    wanted = numbers(one.record)
    damaged_in_every_way(one, ["store/runs/*/record.json", "store/runs/*/done"], wanted)
    # A run that is done reads none of these; one whose record is gone reads them all.
    one.files("store/runs/*/done")[0].unlink()
    kept = ["evaluations/*/*/result.json", "evaluations/*/*/items.jsonl", "probes/*.json"]
    damaged_in_every_way(one, [*(f"store/{name}" for name in kept), "cache/fingerprints/*.json"], wanted)


def test_export_refuses_damaged_weights(place: Callable[..., Place], capsys: Capture) -> None:
    one = place()
    assert one.run().code == 0
    flipped(one.files("store/runs/*/final/adapters.safetensors")[0])
    done = run_command(capsys, "export", one.record.key.hash, one.folder / "exported")
    assert done.code == 7 and "damaged" in done.err and "--rerun" in done.err, done.err


def test_what_the_check_names_is_mended_by_rerun(place: Callable[..., Place], capsys: Capture) -> None:
    one = place()
    assert one.run().code == 0
    wanted = numbers(one.record)
    for name in ("runs/*/final/adapters.safetensors", "runs/*/done", "evaluations/*/*/items.jsonl"):
        flipped(one.files(f"store/{name}")[0])
        assert run_command(capsys, "list", "runs", "--check").code == 7, name
        assert one.run("--rerun").code == 0, name
        checked = run_command(capsys, "list", "runs", "--check")
        assert checked.code == 0, (name, checked.err)
        assert numbers(one.record) == wanted, name


def test_a_part_that_went_on_from_a_damaged_checkpoint_trains_from_the_start(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mot` trains in parts: with the optimiser of one gone, only the whole training is the same again."""
    one = place()
    words = ("run", "mot", "--suite", one._suite, "--profile", "smoke", "--threads", "1", "--workers", "1")
    assert run_command(one._capsys, *words, *one._changes).code == 0
    wanted = numbers(one.record)
    shutil.rmtree(one.folder / "store")
    saved, original = [], loop_module.save_checkpoint

    def stopping(*arguments: Any) -> None:
        original(*arguments)
        saved.append(arguments[0])
        if len(saved) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "save_checkpoint", stopping)
        assert run_command(one._capsys, *words, *one._changes).code == 130
    flipped(one.files("store/runs/*/parts/*/checkpoint-*/tensors.safetensors")[0])
    done = run_command(one._capsys, *words, *one._changes)
    assert done.code == 0 and "damaged" in done.err
    assert numbers(one.record) == wanted


def test_another_runs_weights_and_checkpoints_are_not_taken_for_its_own(
    tmp_path: Path, suite: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that was restored or copied in parts: every file whole, and of another run."""
    one, other = (Place(tmp_path, suite, capsys, method=name) for name in ("uniform", "all_rationales"))
    for stop, names in (("_evaluate", ("final", "steps.parquet")), ("save_final", ("checkpoint-*",))):
        wanted = whole_then_stopped(one, monkeypatch, stop)
        (mine,) = (tmp_path / "store" / "runs").iterdir()
        with monkeypatch.context() as patch:
            stop_at(patch, stop)
            assert other.run().code == 130
        (theirs,) = (path for path in mine.parent.iterdir() if path != mine)
        for pattern in names:
            for path in mine.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for path in theirs.glob(pattern):
                target = mine / path.name
                shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
        shutil.rmtree(theirs)
        done = one.run()
        assert done.code == 0 and "made again" in done.err, done.err
        assert numbers(one.record) == wanted
        shutil.rmtree(tmp_path / "store")


def test_another_students_evaluation_is_named_and_made_again(
    tmp_path: Path, suite: Path, capsys: Capture
) -> None:
    one, other = (Place(tmp_path, suite, capsys, method=name) for name in ("uniform", "all_rationales"))
    assert other.run().code == 0
    (theirs,) = {path.parents[1] for path in one.files("store/evaluations/*/*/result.json")}
    their_probes = one.files("store/probes/*.json")
    assert one.run().code == 0
    store = Store(tmp_path / "store")
    (record,) = (record for record in store.records() if record.key.method == "uniform")
    wanted = numbers(record)
    mine = store.evaluations_dir / record.weights["final"]
    shutil.rmtree(mine)
    shutil.copytree(theirs, mine)
    my_probes = [path for path in one.files("store/probes/*.json") if path not in their_probes]
    for path, copied in zip(my_probes, their_probes, strict=False):
        shutil.copy(copied, path)
    (store.run_dir(record.key.hash) / "done").unlink()
    done = one.run()
    assert done.code == 0, done.err
    assert f"belongs to weights {theirs.name}, not {mine.name}" in done.err
    assert "it was written as" in done.err
    (record,) = (record for record in store.records() if record.key.method == "uniform")
    assert numbers(record) == wanted
