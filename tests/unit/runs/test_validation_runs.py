"""Which runs answer validation questions, and that an interruption between the stages changes no bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.runs.store.store import Store
from tests.unit.command import Done, run_command

Capture = pytest.CaptureFixture[str]


def reproduce(capsys: Capture, suite: Path, methods: str, *more: str | Path) -> Done:
    words = ("--suite", suite, "--profile", "smoke", "--workers", "1", "--threads", "1", "--methods", methods)
    return run_command(capsys, "reproduce", *words, *more)


def stored(folder: Path) -> dict[str, RunRecord]:
    return {record.key.label: record for record in Store(folder / "store").records()}


def test_single_teachers_answer_validation_questions_and_other_rows_on_request(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert reproduce(capsys, suite, "single_teacher,uniform").code == 0
    runs = stored(tmp_path)
    answers = runs["single_teacher[ada]"].probes["validation_accuracy"]
    assert answers["metric"] == "exact_match" and answers["n"] == 2 == len(answers["items"])
    assert answers["value"] == sum(answers["items"]) / 2
    nats = runs["single_teacher[ada]"].probes["validation_nats"]
    assert set(nats["question_ids"]) < set(answers["item_ids"]), "each has a limit of its own"
    assert "validation_accuracy" not in runs["uniform"].probes
    more = ("--set", "eval.validation_accuracy=true", "--set", "eval.answered_questions=1")
    assert reproduce(capsys, suite, "uniform", *more).code == 0
    found = [r.probes.get("validation_accuracy") for r in Store(tmp_path / "store").records()]
    assert [entry["n"] for entry in found if entry and entry["n"] == 1] == [1]


def test_a_run_killed_between_evaluation_and_validation_goes_on_to_the_same_bits(
    suite: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("compact_bench.runs.probing.answered", killed)
        assert reproduce(capsys, suite, "single_teacher").code == 130
    assert not stored(tmp_path)
    assert list((tmp_path / "store" / "evaluations").rglob("result.json")), "the benchmarks were evaluated"
    assert reproduce(capsys, suite, "single_teacher").code == 0
    resumed = stored(tmp_path)
    other = tmp_path / "other"
    assert reproduce(capsys, suite, "single_teacher", "--store", other / "store", "--output", other).code == 0
    whole = stored(other)
    assert resumed.keys() == whole.keys() and len(whole) == 2
    for label, record in whole.items():
        again = resumed[label]
        assert record.key.hash == again.key.hash and record.weights == again.weights
        for ours, theirs in (
            (record.probes["validation_accuracy"], again.probes["validation_accuracy"]),
            *zip(record.evaluations.values(), again.evaluations.values(), strict=True),
        ):
            assert {n: v for n, v in ours.items() if n != "seconds"} == {
                n: v for n, v in theirs.items() if n != "seconds"
            }


def test_the_command_run_makes_the_runs_that_a_table_chooses_among(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ("--suite", suite, "--profile", "smoke", "--workers", "1", "--threads", "1")
    assert run_command(capsys, "run", "single_teacher", *words).code == 0
    before = {record.key.hash for record in Store(tmp_path / "store").records()}
    done = reproduce(capsys, suite, "single_teacher")
    assert done.code == 0 and "nothing to run" in done.err
    assert {record.key.hash for record in Store(tmp_path / "store").records()} == before
