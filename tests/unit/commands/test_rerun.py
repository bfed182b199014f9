"""A run belongs to the code that made it; running again, and removing, through the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.records import RESULTS_VERSION, RunRecord
from compact_bench.runs import run as run_module
from compact_bench.runs.store.store import Store
from tests.unit.command import Done, run_command

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(suite: Path, capsys: Capture) -> Callable[..., Done]:
    def command(*more: str) -> Done:
        words = ("run", "uniform", "--suite", suite, "--profile", "smoke", "--threads", "1", "--workers", "1")
        return run_command(capsys, *words, *more)

    return command


def records(tmp_path: Path) -> list[RunRecord]:
    return Store(tmp_path / "store").records()


def finished(tmp_path: Path) -> dict[int, float]:
    return {record.key.seed: record.provenance["finished"] for record in records(tmp_path)}


def test_rerun_trains_and_evaluates_again_and_ends_alike(
    run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run().code == 0
    (before,) = records(tmp_path)
    trained: list[Any] = []
    kept = run_module.save_final
    monkeypatch.setattr(run_module, "save_final", lambda *a, **k: (trained.append(a), kept(*a, **k))[1])
    done = run("--rerun")
    (after,) = records(tmp_path)
    assert done.code == 0 and len(trained) == 1
    assert after.provenance["started"] > before.provenance["finished"]
    assert after.weights == before.weights and after.probes == before.probes
    folder = Store(tmp_path / "store").run_dir(after.key)
    assert not (folder / "again").exists() and not (folder / "again.json").exists()
    assert (folder / "final" / "report.json").is_file()
    assert "nothing to run" in run().err and len(trained) == 1


def test_an_interrupted_rerun_keeps_the_record_and_goes_on_with_what_is_left(
    run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--seeds", "1,2").code == 0
    before = finished(tmp_path)
    evaluate = run_module._evaluate

    def stopped_at_seed_2(*arguments: Any) -> Any:
        if len(called) == 1:
            raise KeyboardInterrupt
        called.append(1)
        return evaluate(*arguments)

    called: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_evaluate", stopped_at_seed_2)
        assert run("--seeds", "1,2", "--rerun").code == 130
    between = finished(tmp_path)
    assert between[1] > before[1] and between[2] == before[2]
    assert "nothing to run" in run("--seeds", "1,2").err, "without the option the old record counts"
    assert run("--seeds", "1,2", "--rerun").code == 0
    after = finished(tmp_path)
    assert after[1] == between[1], "it was run again already"
    assert after[2] > before[2]


def test_a_rerun_that_fails_is_said_and_keeps_the_record(
    run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run().code == 0
    (before,) = records(tmp_path)

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no luck today")

    monkeypatch.setattr(run_module, "save_final", broken)
    done = run("--rerun")
    assert done.code == 1 and "no luck today" in done.err
    assert records(tmp_path) == [before]


def test_rm_lists_removes_and_refuses(
    run: Callable[..., Done], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("--seeds", "1,2").code == 0
    first, second = (record.key.hash for record in records(tmp_path))
    listed = run_command(capsys, "rm", first, second, "--dry-run")
    assert listed.code == 0 and "2 item(s)" in listed.out and "would be removed" in listed.out
    assert len(records(tmp_path)) == 2
    holder = (
        "import sys, time\nfrom compact_bench.runs.store.store import Store\n"
        f"with Store({str(tmp_path / 'store')!r}).lock({second!r}):\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    refused = run_command(capsys, "rm", first, second)
    process.kill()
    process.communicate()
    assert refused.code == 7 and f"process {process.pid}" in refused.err
    assert len(records(tmp_path)) == 2, "all or none"
    assert run_command(capsys, "rm", "uniform@1").code == 0
    assert [record.key.hash for record in records(tmp_path)] == [r for r in (first, second) if r == second]
    assert run_command(capsys, "rm", "uniform@1").code == 2


def test_list_runs_says_which_are_no_longer_what_today_would_run(
    run: Callable[..., Done], tmp_path: Path, capsys: Capture
) -> None:
    assert run().code == 0
    (record,) = records(tmp_path)
    for changes in ({"code": "0" * 16}, {"results_version": 2}, {"method": "gone"}):
        key = replace(record.key, **changes)
        Store(tmp_path / "store").save(key, replace(record, key=key))
    listed = run_command(capsys, "list", "runs").out
    assert "code changed" in listed and "not here" in listed
    # Told in words, whatever else the table cuts into lines.
    words = " ".join(listed.split())
    assert f"not used: results version 2, now {RESULTS_VERSION}" in words
    assert "since version 3" in words and "since version 4 a seed draws its training questions" in words
    states = [line.strip(" │").rpartition("│")[2].strip() for line in listed.splitlines() if "│" in line]
    assert states.count("done") == 1 and len(states) == 4, listed


@pytest.mark.slow
def test_one_edited_line_trains_and_the_old_text_brings_the_old_run_back(suite: Path, tmp_path: Path) -> None:
    """Through the command, in a checkout of its own: an edit of a method, of its helper, and both undone."""
    checkout = tmp_path / "checkout"
    for name in ("compact_bench", "baselines", "paper_tables"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))

    def ran(method: str) -> str:
        words = ["run", method, "--suite", str(suite), "--profile", "smoke", "--threads", "1"]
        done = subprocess.run(
            [sys.executable, "-m", "compact_bench", *words, "--workers", "1"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    for method, name in (("shortest_rationale", "shortest_rationale"), ("mgda", "_teacher_gradients")):
        file = checkout / "baselines" / f"{name}.py"
        text = file.read_text()
        assert ": started" in ran(method) and "nothing to run" in ran(method)
        file.write_text(text.replace("min(", "max(", 1) if "min(" in text else text + "# another line\n")
        assert ": started" in ran(method) and "nothing to run" in ran(method)
        file.write_text(text)
        assert "nothing to run" in ran(method)
    assert len(Store(tmp_path / "store").records()) == 4
