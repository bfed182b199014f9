"""The invariants once more, through `compact-bench run` and a store, as a user meets them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compact_bench.cli import main
from compact_bench.runs.store.store import Store
from tests.tiny_suite import write_tiny_suite

Folders = Callable[..., Path]
ROOT = Path(__file__).parents[2]
KEEP = ("weights", "evaluations", "probes")


@pytest.fixture
def suite(student_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny suite whose student is a tiny student; the cache lies in the test's folder."""
    monkeypatch.setenv("COMPACT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return write_tiny_suite(tmp_path / "suite", str(student_folder("llama", "chatml")), questions=8)


def command(suite: Path, store: Path, method: str, *changes: str) -> list[str]:
    words = ["run", method, "--suite", str(suite), "--profile", "smoke", "--store", str(store)]
    for change in changes:
        words += ["--set", change]
    return [*words, "--offline", "--threads", "1", "--workers", "1", "--quiet"]


def record_of(store: Path) -> dict[str, Any]:
    """The store's one record, without what two equal runs may differ in."""
    (record,) = Store(store).records()
    assert record.status == "done", record.reason
    values: dict[str, Any] = {name: getattr(record, name) for name in KEEP}
    training = {k: v for k, v in record.training.items() if k not in ("seconds", "peak_memory_bytes")}
    for result in values["evaluations"].values():
        result.pop("seconds", None)
    return {**values, "training": training}


def run(suite: Path, store: Path, method: str, *changes: str) -> dict[str, Any]:
    with pytest.raises(SystemExit) as ended:
        main(command(suite, store, method, *changes))
    assert ended.value.code in (0, None)
    return record_of(store)


def exported(suite: Path, store: Path, method: str) -> dict[str, Any]:
    """Tensors of the merged student that `export` writes."""
    from safetensors.torch import load_file

    folder = store.with_name(store.name + "-export")
    with pytest.raises(SystemExit) as ended:
        main(["export", f"{method}@1", str(folder), "--store", str(store), "--offline"])
    assert ended.value.code in (0, None)
    (file,) = folder.rglob("*.safetensors")
    return load_file(file)


@pytest.mark.parametrize(
    ("method", "one", "other"),
    [
        ("compact", ("questions_per_step=1", "accumulation=8"), ("questions_per_step=8", "accumulation=1")),
        ("compact", ("layout=packed",), ("layout=padded",)),
        ("compact_released", ("layout=packed",), ("layout=padded",)),
        ("compact", ("head=single_pass",), ("head=at_once",)),
        ("compact", ("head=recomputed",), ("head=at_once",)),
        ("compact", ("gradient_checkpointing=true",), ("kernels=plain",)),
    ],
    ids=["1x8", "layout", "released-layout", "single-pass", "recomputed", "kernels"],
)
def test_equal_trainings(
    suite: Path, tmp_path: Path, method: str, one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    both = [
        run(suite, tmp_path / name, method, "epochs=3", *changes)
        for name, changes in (("one", one), ("other", other))
    ]
    assert both[0]["training"]["optimiser_steps"] == both[1]["training"]["optimiser_steps"] > 0
    assert both[0]["training"]["final_loss"] == pytest.approx(both[1]["training"]["final_loss"], rel=1e-5)
    assert both[0]["weights"]["final"] != both[0]["weights"]["base"]
    assert both[0]["probes"]["weight_change"] > 1e-4
    first, second = (exported(suite, tmp_path / name, method) for name in ("one", "other"))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert float((tensor - second[name]).norm()) <= 1e-4 * float(second[name].norm()), name


def test_the_same_command_again_trains_nothing(suite: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = run(suite, store, "compact")
    files = {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file() and p.suffix != ".lock"}
    assert run(suite, store, "compact") == first
    assert {p: p.stat().st_mtime_ns for p in files} == files


@pytest.mark.slow
def test_killed_and_started_again(suite: Path, tmp_path: Path) -> None:
    changes = ("epochs=12", "checkpoint_seconds=0", "lora.dropout=0.2", "accumulation=1")
    whole = run(suite, tmp_path / "whole", "compact", *changes)
    assert whole["training"]["optimiser_steps"] == 96
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    store = tmp_path / "killed"
    words = [sys.executable, "-m", "compact_bench", *command(suite, store, "compact", *changes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for step in sorted(dice.sample(range(1, 90), 3)):
        process = subprocess.Popen(words, env=environment)
        deadline = time.monotonic() + 120
        while last_step(store) < step and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"seed {seed}: it ended before it was killed"
    subprocess.run(words, env=environment, check=True, timeout=300)
    assert record_of(store) == whole, f"seed {seed}"


def last_step(store: Path) -> int:
    """The last step that the run's log names, 0 before the first."""
    steps = [0]
    for log in store.rglob("log.jsonl"):
        for line in log.read_text().splitlines():
            try:
                steps.append(int(json.loads(line).get("step", 0)))
            except ValueError:
                continue  # a line that was cut short by a kill
    return steps[-1]
