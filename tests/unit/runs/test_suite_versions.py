"""`lab@1`, the first version of the lab: its runs are what they were, and in no table of the next one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import StoreError
from compact_bench.core.records import RunRecord
from compact_bench.data.suites import load_spec
from compact_bench.results.tables.build import build_table
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.runs.estimate import Estimator, Workload
from compact_bench.runs.plan import run_key
from compact_bench.runs.session import Request, Session, session_of_record
from compact_bench.runs.store.store import Store
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]
PROFILE = ("--profile", "smoke", "--seeds", "1")
FIRST = ("lab_ring", "lab_order", "lab_lookup", "lab_count")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("versions")


@pytest.fixture(autouse=True)
def places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cache", "store"):
        monkeypatch.setenv(f"COMPACT_BENCH_{name.upper()}", str(home / name))
    monkeypatch.setenv("COMPACT_BENCH_OFFLINE", "1")
    monkeypatch.chdir(home)


def request_of(home: Path, suite: str) -> Request:
    return Request(suite, "smoke", home / "cache", home / "store", seeds=(1,), offline=True, threads=1)


@pytest.fixture
def record(home: Path, capsys: Capture) -> RunRecord:
    """A run of version 1, which the first test that asks for it makes."""
    done = run_command(capsys, "run", "uniform", "--suite", "lab@1", *PROFILE, "--threads", "1")
    assert done.code == 0, done.err
    (made,) = Store(home / "store").records()
    assert made.status == "done" and {*FIRST} < {*made.evaluations}
    return made


def test_keys_are_those_of_the_suite_that_was_called_lab(home: Path) -> None:
    """`test_older_store` holds a whole key of `lab@1` against one of before there was a version 2."""
    first, second = (run_key(Session(request_of(home, name)), "uniform", "", 1) for name in ("lab@1", "lab"))
    assert (first.suite, first.student, first.name) == ("lab", "lab-student", "lab/smoke/uniform@1")
    assert (second.suite, second.student, second.name) == (first.suite, first.student, first.name)
    assert first.student_revision != second.student_revision
    assert first.suite_fingerprint != second.suite_fingerprint and first.hash != second.hash


def test_no_table_of_the_next_version_shows_a_run_of_the_first(
    record: RunRecord, home: Path, capsys: Capture
) -> None:
    def report(suite: str, *more: str) -> str:
        folder = Path(f"{suite}{len(more)}")
        words = ("report", "--table", "2", "--suite", suite, *PROFILE, "--output", str(folder), *more)
        done = run_command(capsys, *words)
        assert done.code == 0, done.err
        files = [path for path in (home / folder).rglob("*") if path.suffix in (".md", ".csv", ".tex")]
        return done.err + "".join(path.read_text(encoding="utf-8") for path in files)

    pages = report("lab@1")
    assert "Written from 1 run record(s)" in pages and record.key.hash in pages and "lab_ring" in pages
    for more in ((), ("--methods", "stored")):
        pages = report("lab", *more)
        assert "Written from 0 run record(s)" in pages and "lab_shells" in pages
        assert record.key.hash not in pages and not any(task in pages for task in FIRST)
    planned = run_command(capsys, "reproduce", "--table", "2", *PROFILE, "--methods", "uniform", "--dry-run")
    assert "1 of 1 runs to do" in planned.err
    again = run_command(
        capsys, "reproduce", "--table", "2", "--suite", "lab@1", *PROFILE, "--methods", "uniform", "--dry-run"
    )
    assert "nothing to run" in again.err


def test_a_table_of_all_records_of_a_store_leaves_them_out(record: RunRecord, capsys: Capture) -> None:
    table = load_table_spec(2)
    for suite, seeds in (("lab", set()), ("lab@1", {1})):
        built = build_table(table, [record], load_spec(suite), profile="smoke")
        (row,) = (row for row in built.filled if row.row.name == "uniform")
        assert {*row.runs} == seeds
    checked = run_command(capsys, "check-statistics", "--suite", "lab", "--profile", "smoke")
    assert checked.code == 2 and "found none" in checked.err


def test_how_long_a_run_takes_is_not_learned_from_another_version(record: RunRecord, home: Path) -> None:
    load = Workload(questions=8, teachers=4, items=[("in_distribution", 4)], parameters=1_000_000)
    first, second = (run_key(Session(request_of(home, name)), "uniform", "", 1) for name in ("lab@1", "lab"))
    slow = replace(record, training={**record.training, "seconds": 1e6})
    known = Estimator([slow], load).expected([first, second])
    assert known[first.hash] > 1e5 > known[second.hash]


def test_a_run_that_was_made_as_lab_is_opened_as_lab_1(record: RunRecord, home: Path) -> None:
    asked: dict[str, Any] = {**record.provenance["request"], "suite": "lab", "student": None}
    earlier = replace(record, provenance={**record.provenance, "request": asked})
    for one in (record, earlier):
        session = session_of_record(one, request_of(home, "svamp"))
        assert (session.spec.name, session.student_name) == ("lab@1", "lab-student@1")
    gone = replace(earlier, key=replace(record.key, suite_fingerprint="0" * 16))
    with pytest.raises(StoreError, match="expected student_revision"):
        session_of_record(gone, request_of(home, "svamp"))


def test_both_students_are_listed_and_looked_for(capsys: Capture) -> None:
    assert "lab-student@1" in run_command(capsys, "list", "students").out
    doctor = run_command(capsys, "doctor", "--offline").out
    assert "the student of the suite lab" in doctor and "the student of the suite lab@1" in doctor
