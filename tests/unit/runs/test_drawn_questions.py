"""Runs of several seeds on draws of their own: one draw a seed for every method, told in record and page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from compact_bench.core.records import RunRecord, fingerprint
from compact_bench.evaluation.probes.truth import truth_scores
from compact_bench.runs.session import Request, Session
from compact_bench.runs.store.store import Store
from compact_bench.training.final_weights import STEPS_FILE
from tests.unit.command import run_command
from tests.unit.runs.test_truth_runs import say_what_is_right

Capture = pytest.CaptureFixture[str]
Runs = Mapping[tuple[str, int], RunRecord]


def reproduce(capsys: Capture, suite: Path, *more: str) -> tuple[str, Runs]:
    words = ("reproduce", "--suite", suite, "--profile", "smoke", "--threads", "1", "--seeds", "1,2,3")
    done = run_command(capsys, *words, "--methods", "zero_shot,uniform,compact,oracle", *more)
    assert done.code == 0, done.err
    found = Store(suite.parent.parent / "store").records()
    return done.out + done.err, {(run.key.method, run.key.seed): run for run in found}


def draw_two(suite: Path) -> None:
    """The suite's profile draws two of its four questions."""
    text = suite.read_text(encoding="utf-8")
    assert "questions = 4\nseeds" in text
    suite.write_text(text.replace("questions = 4\nseeds", "questions = 2\nseeds"), encoding="utf-8")


def steps_of(store: Path, run: RunRecord) -> pd.DataFrame:
    (path,) = store.rglob(f"{run.key.hash}/{STEPS_FILE}")
    return pd.read_parquet(path)


def test_every_method_trains_on_the_draw_of_its_seed(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    say_what_is_right(suite)
    draw_two(suite)
    said, runs = reproduce(capsys, suite)
    assert "Every seed draws 2 of 4 training questions." in said
    store = tmp_path / "store"
    data = Session(Request(str(suite), "smoke", tmp_path / "cache", store)).data
    draws = {seed: {q.id for q in data.training_of(seed)} for seed in (1, 2, 3)}
    assert len(set(map(frozenset, draws.values()))) > 1, "a suite whose seeds draw alike would show nothing"
    for (method, seed), run in runs.items():
        facts: Mapping[str, Any] = run.training
        assert (facts["questions"], facts["drawn_from"]) == (2, 4)
        assert facts["question_ids_sha256"] == fingerprint(sorted(draws[seed]), 64)
        if method == "zero_shot":
            continue
        steps = steps_of(store, run)
        assert set(steps["question_id"]) == draws[seed], "what it trained on is what the record says"
        # The truth scores are of the seed's own questions.
        assert run.probes["truth"] == truth_scores(steps, data.training_of(seed))
    (evaluated,) = {tuple(r.evaluations["svamp"]["item_ids"]) for r in runs.values()}
    assert len(evaluated) == 2, "test items are the same for all seeds"
    pages = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.md"))
    assert "A seed draws its training questions, 2 of 4, beside initialisation" in " ".join(pages.split())


def test_the_page_says_where_all_seeds_train_on_the_same(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    said, runs = reproduce(capsys, suite)
    assert "Every seed draws" not in said
    assert {run.training["questions"] for run in runs.values()} == {4}
    assert len({run.training["question_ids_sha256"] for run in runs.values()}) == 1
    assert not any("drawn_from" in run.training for run in runs.values())
    pages = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.md"))
    assert "All seeds train on the same 4 questions" in " ".join(pages.split())
