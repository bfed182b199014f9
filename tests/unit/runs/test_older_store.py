"""A run that an older version stored (commit 7f76b62) is read, and is not taken for one of today's."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from compact_bench.runs.plan import PlannedRun, run_key
from compact_bench.runs.session import Request, Session
from compact_bench.runs.store.store import Store

HASH = "08406a92287ba0d6"
STORED = Path(__file__).with_name("stored_run") / HASH


@pytest.fixture
def store(tmp_path: Path) -> Store:
    shutil.copytree(STORED, tmp_path / "store" / "runs" / HASH)
    return Store(tmp_path / "store")


def test_its_record_is_read_whole(store: Store) -> None:
    (record,) = store.records()
    assert not store.scan().damaged
    assert record.key.hash == HASH and record.key.name == "lab/smoke/uniform@1"
    assert record.weights["final"] != record.weights["base"]
    assert len(record.evaluations) == 10 and record.probes["truth"]


def test_the_same_run_counts_as_missing_for_its_results_version_and_code_alone(
    store: Store, tmp_path: Path
) -> None:
    session = Session(Request("lab@1", "smoke", tmp_path / "cache", store.root, seeds=(1,)))
    key = run_key(session, "uniform", "", 1)
    assert PlannedRun(key, "", session.store.load(key)).needed
    # Only what asks validation questions reads it; it came with version 4.
    evaluation = {n: v for n, v in key.settings["eval"].items() if n != "answered_questions"}
    older = replace(key, results_version=2, code="", settings={**key.settings, "eval": evaluation})
    assert older.hash == HASH
