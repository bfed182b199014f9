"""Truth scores of real runs, on a tiny suite whose file says which rationales are right, or does not."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from compact_bench.core.records import RunRecord
from compact_bench.evaluation.probes.truth import truth_scores
from compact_bench.runs.session import Request, Session
from compact_bench.runs.store.store import Store
from compact_bench.training.final_weights import STEPS_FILE
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]


def say_what_is_right(suite: Path) -> None:
    """Ada is always right, Bob in every other question."""
    path = suite.parent / "training.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["right"] = {"ada": True, "bob": number % 2 == 0}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def reproduce(capsys: Capture, suite: Path, methods: str) -> dict[str, RunRecord]:
    words = ("reproduce", "--suite", suite, "--profile", "smoke", "--threads", "1", "--methods", methods)
    done = run_command(capsys, *words)
    assert done.code == 0, done.err
    return {run.key.method: run for run in Store(suite.parent.parent / "store").records()}


def test_runs_record_where_their_weights_went(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    say_what_is_right(suite)
    found = reproduce(capsys, suite, "zero_shot,uniform,compact,oracle")
    assert {run.status for run in found.values()} == {"done"}
    assert "truth" not in found.pop("zero_shot").probes
    questions = Session(Request(str(suite), "smoke", tmp_path / "cache", tmp_path / "store")).data.training
    share = {}
    for method, run in found.items():
        (path,) = (tmp_path / "store").rglob(f"{run.key.hash}/{STEPS_FILE}")
        assert run.probes["truth"] == truth_scores(pd.read_parquet(path), questions)
        share[method] = run.probes["truth"]["weight_on_right"]
    assert (share["oracle"], share["uniform"]) == (1.0, 0.5)
    assert 0.0 < share["compact"] < 1.0
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "## Do the weights go to the rationales that are right?" in text


def test_without_truth_there_are_no_truth_scores(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    (run,) = reproduce(capsys, suite, "uniform").values()
    assert run.status == "done" and "truth" not in run.probes
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert not [words for words in ("Do the weights go", "Oracle", "Truth scores") if words in text]


def test_the_oracle_says_why_it_cannot_run(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ("run", "oracle", "--suite", suite, "--profile", "smoke", "--threads", "1")
    assert run_command(capsys, *words).code == 0
    (run,) = Store(tmp_path / "store").records()
    assert (run.status, run.reason) == (
        "unsupported",
        "it needs the truth about every rationale (whether it is really right), which the data lack",
    )
