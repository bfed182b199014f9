"""`reproduce --tune` for real, on a tiny suite with a tiny student."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.runs.store.store import Store
from tests.unit.command import Done, run_command

Capture = pytest.CaptureFixture[str]
RATES = (5e-4, 1e-3, 2e-3)
# The tiny student answers nothing right at any rate: all tie, so the smallest is chosen, and the grid goes on
# below it as far as it may.
TRIED = [1.25e-4, 2.5e-4, *RATES]
CHOSEN = 1.25e-4


def tune(capsys: Capture, suite: Path, *more: str, command: str = "reproduce") -> Done:
    words = ["--workers", "1", "--threads", "1"] if command == "reproduce" else []
    return run_command(capsys, command, "--suite", suite, "--profile", "smoke", "--tune", *words, *more)


def records(folder: Path, trials: bool) -> list[RunRecord]:
    return [r for r in Store(folder / "store").records() if r.key.profile.endswith(":trial") is trials]


def rate(record: RunRecord) -> float:
    return float(record.key.settings["train"]["learning_rate"])


def cells(folder: Path) -> Mapping[tuple[str, str], dict[str, str]]:
    with (folder / "RESULTS.csv").open(newline="", encoding="utf-8") as stream:
        return {(row["row"], row["column"]): row for row in csv.DictReader(stream)}


def test_every_row_tries_the_same_rates_and_runs_with_the_best(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ("--methods", "single_teacher,zero_shot")
    done = tune(capsys, suite, *words)
    assert done.code == 0, done.err
    assert "9 of 9 runs to do" in done.err, "the trials' plan counts what comes after them"
    assert done.err.count("Tuning, grid extended: Single teacher: ada") == 2, "a step at a time"
    assert "3 of 3 runs to do" in done.err
    tried: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records(tmp_path, trials=True):
        assert record.status == "done" and record.key.seed == 1
        assert set(record.evaluations) == {"svamp"}, "to be shown: the in-distribution items alone"
        assert set(record.probes) == {"validation_accuracy"}
        assert record.probes["validation_accuracy"]["item_ids"]
        assert record.training["optimiser_steps"] > 0
        tried.setdefault((record.key.method, record.key.variant), []).append(record)
    assert set(tried) == {("single_teacher", "ada"), ("single_teacher", "bob")}
    assert all(sorted(map(rate, runs)) == TRIED for runs in tried.values())
    results = records(tmp_path, trials=False)
    assert len(results) == 3 and all(r.evaluations for r in results)
    for record in results:
        if record.key.method != "zero_shot":
            best = min(tried[record.key.method, record.key.variant], key=rate)
            assert rate(record) == rate(best) == CHOSEN
            # Under the trial's seed the run is the trial trained again.
            assert record.weights["final"] == best.weights["final"]
            assert record.probes["validation_accuracy"] == best.probes["validation_accuracy"]
    text = (tmp_path / "RESULTS.md").read_text()
    assert "[Tuning](results/tuning.md)" in text and "--tune" in text
    text = (tmp_path / "results" / "tuning.md").read_text()
    assert re.search(r"\| Single teacher: bob \| 0\.0 ± 0\.0 \|.* \| 0\.000125 \(edge\) \| ", text)
    assert "2 validation questions are few" in text


def test_a_rerun_trains_nothing_and_writes_the_same(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ("--methods", "uniform")
    assert tune(capsys, suite, *words).code == 0
    text = (tmp_path / "RESULTS.md").read_bytes()
    before = {r.provenance["finished"] for r in Store(tmp_path / "store").records()}
    again = tune(capsys, suite, *words)
    assert again.code == 0 and again.err.count("nothing to run") == 2, "the added trials are known at once"
    assert (tmp_path / "RESULTS.md").read_bytes() == text
    assert {r.provenance["finished"] for r in Store(tmp_path / "store").records()} == before
    (tmp_path / "RESULTS.md").unlink()
    assert tune(capsys, suite, command="report").code == 0
    assert (tmp_path / "RESULTS.md").read_bytes() == text
    other = tune(capsys, suite, *words, "--seeds", "1,2", "--dry-run")
    assert "5 of 8 runs to do" in other.err, "the trials of seed 1 are shared: the others are 3 + 2 runs"


def test_tuned_and_untuned_tables_share_what_is_the_same_and_mix_nothing(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    text = suite.read_text()
    suite.write_text(
        text.replace("[profiles.smoke]", "[profiles.smoke]\ntune = {learning_rates = [0.02, 0.04]}")
    )
    words = ("--methods", "uniform")
    assert tune(capsys, suite, *words).code == 0
    tuned = cells(tmp_path)["uniform", "nats_after_question"]["mean"]
    assert {rate(r) for r in records(tmp_path, trials=True)} == {0.005, 0.01, 0.02, 0.04}
    plain = run_command(capsys, "reproduce", "--suite", suite, "--profile", "smoke", "--workers", "1", *words)
    assert plain.code == 0 and "1 of 1 runs to do" in plain.err
    assert cells(tmp_path)["uniform", "nats_after_question"]["mean"] != tuned
    assert "Tuning" not in (tmp_path / "RESULTS.md").read_text()
    assert tune(capsys, suite, *words, command="report").code == 0
    assert tune(capsys, suite, command="report").code == 0
    assert cells(tmp_path)["uniform", "nats_after_question"]["mean"] == tuned
    assert "not run" in cells(tmp_path)["compact", "svamp"].values()


def test_a_trial_that_diverges_is_an_outcome_and_not_tried_again(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    text = suite.read_text()
    suite.write_text(
        text.replace("[profiles.smoke]", "[profiles.smoke]\ntune = {learning_rates = [1e-3, 2e-3, 1e30]}")
    )
    words = ("--methods", "uniform", "--set", "epochs=3")
    done = tune(capsys, suite, *words)
    assert done.code == 0, done.err
    (result,) = records(tmp_path, trials=False)
    assert rate(result) == 2.5e-4, "all alike: two steps below the grid, and none beyond what diverged"
    (failed,) = [r for r in records(tmp_path, trials=True) if r.status == "failed"]
    assert rate(failed) == 1e30 and failed.training["diverged"]
    assert tune(capsys, suite, *words).err.count("nothing to run") == 2
    assert "failed (1)" in (tmp_path / "results" / "tuning.md").read_text()


def test_dry_run_shows_the_trials_and_the_runs_after_them(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    done = tune(capsys, suite, "--dry-run")
    assert done.code == 0 and "57 of 57 runs to do" in done.err
    assert "Tuning: COMPACT (paper), learning rate 0.002" in done.err
    assert "Tuning: Zero-shot" not in done.err
    assert not (tmp_path / "store" / "runs").exists() and not (tmp_path / "RESULTS.md").exists()


def test_an_interrupted_tuning_writes_no_row_that_has_not_chosen(
    suite: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--methods", "uniform")
    # Elsewhere, as an interrupted command leaves whole pages as they are.
    beside = ("--suite", suite, "--profile", "smoke", "--workers", "1", "--output", tmp_path / "plain")
    assert run_command(capsys, "reproduce", *beside, *words).code == 0
    from compact_bench.runs.workers import attempt as attempts

    execute, seen = attempts.execute_run, []

    def stop_at_the_second(*args: Any, **options: Any) -> object:
        seen.append(args)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return execute(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "execute_run", stop_at_the_second)
        assert tune(capsys, suite, *words).code == 130
    assert len(records(tmp_path, trials=True)) == 1
    text = (tmp_path / "results" / "tuning.md").read_text()
    assert re.search(r"\| Uniform weights \|.* not run \|.* not yet \|", text)
    assert cells(tmp_path)["uniform", "svamp"]["reason"] == "not run", "its untuned run is no tuned one"
    done = tune(capsys, suite, *words)
    assert done.code == 0 and "3 of 4 runs to do" in done.err
