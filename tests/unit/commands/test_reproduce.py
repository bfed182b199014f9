"""`reproduce` and what follows it, for real, on a tiny suite with a tiny student."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from compact_bench.commands import planning
from compact_bench.commands import reproduce as reproduce_command
from compact_bench.commands.row_selection import TableRequest
from compact_bench.commands.table_plan import Plan, TablePlan
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.execution import Outcome
from compact_bench.runs.session import Session
from compact_bench.runs.store.store import Store
from tests.unit.command import Done, run_command

Capture = pytest.CaptureFixture[str]
TEACHERS = ("ada", "bob")
LABELS = {
    ("zero_shot", ""),
    ("single_teacher", "ada"),
    ("single_teacher", "bob"),
    ("uniform", ""),
    ("compact", ""),
    ("constant_weights", ""),
    ("shuffled_weights", ""),
    ("compact_released", ""),
    ("sbs_kd", ""),
    ("mcc_kd", ""),
    ("mot", ""),
    ("right_filter", ""),
    ("majority_filter", ""),
}
LACKING = {"edit", "committee"}
"""Published baselines of table 2 for which the tiny suite has no pairs, reviews or feedback."""


def reproduce(capsys: Capture, suite: Path, *more: str) -> Done:
    return run_command(
        capsys, "reproduce", "--suite", suite, "--profile", "smoke", "--threads", "1", "--workers", "1", *more
    )


def cells(folder: Path) -> Mapping[tuple[str, str], dict[str, str]]:
    with (folder / "RESULTS.csv").open(newline="", encoding="utf-8") as stream:
        return {(row["row"], row["column"]): row for row in csv.DictReader(stream)}


def times(store: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for path in store.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


def test_from_nothing_to_a_table_and_again(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    done = reproduce(capsys, suite, "--seeds", "1,2")
    assert done.code == 0, done.err
    assert "30 of 30 runs to do" in done.err
    kept = Store(tmp_path / "store").records()
    assert {r.key.method: r.status for r in kept if r.status != "done"} == dict.fromkeys(
        LACKING, "unsupported"
    )
    records = [r for r in kept if r.status == "done"]
    assert {(r.key.method, r.key.variant) for r in records} == LABELS
    assert {r.key.seed for r in records} == {1, 2} and len(records) == 2 * len(LABELS)
    for record in records:
        trained = record.key.method != "zero_shot"
        assert record.status == "done"
        assert (record.training["optimiser_steps"] > 0) is trained
        assert (record.weights["final"] != record.weights["base"]) is trained
        assert (record.probes["drift_nats_per_token"] > 0) is trained
        assert record.provenance["data_fingerprint"] == record.key.suite_fingerprint
    finals = {r.weights["final"] for r in records}
    # The two runs of the untrained student are alike, and both filters keep the same rationales here.
    assert len(finals) == 2 * len(LABELS) - 3
    before, text = times(tmp_path / "store"), (tmp_path / "RESULTS.csv").read_bytes()
    again = reproduce(capsys, suite, "--seeds", "1,2")
    assert again.code == 0 and "nothing to run" in again.err
    assert times(tmp_path / "store") == before
    assert (tmp_path / "RESULTS.csv").read_bytes() == text


def test_the_table_comes_from_records_alone(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    assert reproduce(capsys, suite, "--methods", "uniform,zero_shot").code == 0
    found = cells(tmp_path)
    records = {r.key.method: r for r in Store(tmp_path / "store").records()}
    assert set(records) == {"uniform", "zero_shot"}
    for method, record in records.items():
        nats = float(found[method, "nats_after_question"]["mean"])
        assert nats == pytest.approx(record.probes["validation_nats"]["after_question"], rel=1e-4)
    assert "not run" in found["compact", "svamp"].values()
    (tmp_path / "RESULTS.csv").unlink()
    report = run_command(capsys, "report", "--suite", suite, "--profile", "smoke")
    assert report.code == 0, report.err
    assert cells(tmp_path) == found


def test_settings_enter_the_hash_and_other_settings_are_other_rows(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ("--methods", "uniform", "--quiet")
    assert reproduce(capsys, suite, *words).code == 0
    plain = cells(tmp_path)["uniform", "nats_after_question"]["mean"]
    changed = reproduce(capsys, suite, *words, "--set", "learning_rate=0.05")
    assert changed.code == 0 and changed.err == changed.out == ""
    records = Store(tmp_path / "store").records()
    assert len(records) == 2 and len({r.weights["final"] for r in records}) == 2
    assert {r.key.settings["train"]["learning_rate"] for r in records} == {1e-3, 0.05}
    assert cells(tmp_path)["uniform", "nats_after_question"]["mean"] != plain
    assert reproduce(capsys, suite, *words).code == 0
    assert cells(tmp_path)["uniform", "nats_after_question"]["mean"] == plain


def test_a_failing_run_is_a_failed_cell_and_the_others_go_on(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ("--methods", "uniform,zero_shot", "--set", "learning_rate=1e30", "--set", "epochs=3")
    done = reproduce(capsys, suite, *words)
    assert done.code == 1 and "Traceback" not in done.err
    records = {r.key.method: r for r in Store(tmp_path / "store").records()}
    assert records["zero_shot"].status == "done"
    assert records["uniform"].status == "failed" and "finite" in records["uniform"].reason
    assert any("failed" in text for text in cells(tmp_path)["uniform", "svamp"].values())
    (log,) = (tmp_path / "store").rglob("error.log")
    assert "NumericalError" in log.read_text()
    assert "1 of 2 runs to do" in reproduce(capsys, suite, *words).err, "a failed run is tried again"


def test_an_unsupported_method_says_why(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ("--methods", "compact_released", "--set", "sft_reduction=sum")
    done = reproduce(capsys, suite, *words)
    assert done.code == 0
    (record,) = Store(tmp_path / "store").records()
    assert record.status == "unsupported" and "sft_reduction=sum" in record.reason
    assert any("sft_reduction=sum" in text for text in cells(tmp_path)["compact_released", "svamp"].values())


def test_faulty_data_stops_before_any_run(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    rows = (suite.parent / "training.jsonl").read_text().splitlines()
    first = json.loads(rows[0])
    rows[2] = json.dumps({**json.loads(rows[2]), "question": first["question"]})
    (suite.parent / "training.jsonl").write_text("\n".join([*rows, "{not json"]) + "\n")
    done = reproduce(capsys, suite)
    assert done.code == 3 and done.err.startswith("Error: ")
    assert "row 3" in done.err and f"row {len(rows) + 1}" in done.err
    assert Store(tmp_path / "store").records() == []
    dropped = reproduce(capsys, suite, "--on-fault", "drop", "--methods", "uniform")
    assert dropped.code == 0, dropped.err
    (record,) = Store(tmp_path / "store").records()
    assert len(record.training["excluded"]) >= 2


def test_dry_run_runs_nothing(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    done = reproduce(capsys, suite, "--dry-run")
    assert done.code == 0 and "15 of 15 runs to do" in done.err
    assert not (tmp_path / "store" / "runs").exists() and not (tmp_path / "RESULTS.md").exists()


def test_own_rationales_replace_the_training_questions(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    rows: list[dict[str, Any]] = [
        {
            "Question": f"A jar holds {n} red and {n + 2} blue marbles. How many is that?",
            "CoT": [
                f"{n} + {n + 2} = {2 * n + 2}. The answer is {2 * n + 2}.",
                f"The answer is {2 * n + 2}.",
            ],
            "Answer": str(2 * n + 2),
        }
        for n in range(4, 9)
    ]
    own = tmp_path / "own.json"
    own.write_text(json.dumps(rows))
    words = ("--rationales", str(own), "--teachers", "deep,short", "--methods", "single_teacher")
    done = reproduce(capsys, suite, *words)
    assert done.code == 0, done.err
    records = Store(tmp_path / "store").records()
    assert {r.key.variant for r in records} == {"deep", "short"}
    assert "nothing to run" in reproduce(capsys, suite, *words).err
    own.write_text(json.dumps(rows[:4]))
    assert "2 of 2 runs to do" in reproduce(capsys, suite, *words, "--dry-run").err


def test_run_of_single_teacher_takes_each_or_the_one_named(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ("run", "single_teacher", "--suite", suite, "--profile", "smoke", "--workers", "1")
    assert run_command(capsys, *words, "--set", "teacher=bob").code == 0
    assert [r.key.variant for r in Store(tmp_path / "store").records()] == ["bob"]
    done = run_command(capsys, *words)
    assert done.code == 0 and "1 of 2 runs to do" in done.err and "optimiser steps" in done.out
    assert {r.key.variant for r in Store(tmp_path / "store").records()} == set(TEACHERS)


@pytest.mark.parametrize("more", [(), ("--tune",)])
def test_a_table_is_planned_once_and_written_from_what_execution_returned(
    suite: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    planned: list[str] = []
    keys: list[RunKey] = []
    executed: list[RunRecord] = []
    written: list[Plan] = []

    def plan_table(session: Session, request: TableRequest, **options: bool) -> TablePlan:
        planned.append(request.spec.number)
        return planning_of(session, request, **options)

    def run_key(*args: Any) -> RunKey:
        keys.append(key_of(*args))
        return keys[-1]

    def execute_plan(*args: Any, **options: Any) -> Outcome:
        outcome = execution_of(*args, **options)
        executed.extend(record for record in outcome.records if not record.key.is_trial)
        return outcome

    def write_plan(plan: Plan, *args: Any) -> None:
        written.append(plan)
        writing_of(plan, *args)

    planning_of, key_of = planning.plan_table, planning.run_key
    execution_of, writing_of = reproduce_command.execute_plan, reproduce_command.write_plan
    monkeypatch.setattr(planning, "plan_table", plan_table)
    monkeypatch.setattr(planning, "run_key", run_key)
    monkeypatch.setattr(reproduce_command, "execute_plan", execute_plan)
    monkeypatch.setattr(reproduce_command, "write_plan", write_plan)
    done = reproduce(
        capsys, suite, "--table", "2" if more else "2,5", "--methods", "uniform,zero_shot", *more
    )
    assert done.code == 0, done.err
    assert planned == (["2"] if more else ["2", "5"])
    (plan,) = written
    runs = [run for table in plan.tables for row in table.rows for run in row.runs]
    assert len(keys) == len(runs), "no key is resolved again in order to be written"
    assert {run.key.label for run in runs if run.record is not None} == {"uniform", "zero_shot"}
    assert {id(record) for record in plan.records} == {id(record) for record in executed}
    assert {record.key.method for record in executed} == {"uniform", "zero_shot"} and len(plan.records) == 2


def test_tables_lie_beside_the_store_unless_asked_otherwise(
    suite: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first command that a new user gives must not overwrite what a checkout tracks."""
    monkeypatch.delenv("COMPACT_BENCH_RESULTS")
    tracked = tmp_path / "RESULTS.md"
    tracked.write_text("tracked")
    words = ("--methods", "zero_shot", "--store", str(tmp_path / "elsewhere" / "store"))
    done = reproduce(capsys, suite, *words)
    assert done.code == 0, done.err
    made = tmp_path / "elsewhere" / "compact_bench_results" / "RESULTS.md"
    assert made.is_file() and f"record(s): {made}, RESULTS.csv" in done.err
    assert tracked.read_text() == "tracked"
    assert reproduce(capsys, suite, *words, "--output", "asked").code == 0
    assert (tmp_path / "asked" / "RESULTS.md").read_bytes() == made.read_bytes()
