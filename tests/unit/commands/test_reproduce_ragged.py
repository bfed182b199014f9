"""Own rationales where teachers lack questions and one has several, through the real command."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from compact_bench.commands.planning import _epochs_factor
from compact_bench.core.records import suite_notes
from compact_bench.methods.contract import SuiteInfo
from compact_bench.runs.session import Session
from compact_bench.runs.store.store import Store
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]


def own_rows() -> list[dict[str, Any]]:
    """Nine questions: ann lacks a third of them, bob has two rationales for the first four."""
    rows: list[dict[str, Any]] = []
    for n in range(9):
        total = 2 * n + 10
        rationales: dict[str, Any] = {"bob": f"{n + 4} + {n + 6} = {total}. The answer is {total}."}
        if n < 4:
            rationales["bob"] = [rationales["bob"], f"So we add. The answer is {total}."]
        if n % 3:
            rationales["ann"] = f"The answer is {total}."
        question = f"A jar holds {n + 4} red and {n + 6} blue marbles. How many is that?"
        rows.append({"id": f"m{n}", "question": question, "gold_answer": total, "rationales": rationales})
    return rows


def test_a_ragged_set_is_told_trained_and_refused_by_name(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in own_rows()))
    suite.write_text(suite.read_text().replace("questions = 4\n", ""))
    words = ("reproduce", "--suite", suite, "--profile", "smoke", "--threads", "1", "--workers", "1")
    methods = ("--rationales", own, "--methods", "single_teacher,uniform,compact,edit")
    done = run_command(capsys, *words, *methods)
    assert done.code == 0, done.err
    records = {r.key.label: r for r in Store(tmp_path / "store").records()}
    training = records["uniform"].training["questions"]
    lacks = training - records["single_teacher[ann]"].training["extra"]["questions_taught"]
    assert 0 < lacks < training
    told = f"teachers: ann lacks {lacks} of {training} questions; bob has several rationales for"
    assert told in " ".join(done.err.split())
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert f"ann lacks {lacks} of {training} questions; bob has several rationales for" in page
    assert "for the same number of steps, but for those that the notes on the cost of training list" in page
    assert "need not sum to 1" in (tmp_path / "results" / "teachers.md").read_text(encoding="utf-8")
    told = suite_notes([records["uniform"]])["ragged"]
    assert (told["lacking"], told["several"]) == ({"ann": 3}, {"bob": 4})
    assert records["edit"].status == "unsupported"
    assert records["edit"].reason == (
        "it needs no more than one rationale of a teacher for a question, and some have several"
    )
    assert records["compact"].training["branches"] == records["uniform"].training["branches"]
    assert "questions_taught" not in records["single_teacher[bob]"].training["extra"]
    bob, ann = (records[f"single_teacher[{name}]"].training["branches"] for name in ("bob", "ann"))
    assert ann + bob == records["uniform"].training["branches"]
    done = run_command(capsys, "explain", own, "--suite", suite, "--profile", "smoke", "--question", "m1")
    assert done.code == 0, done.err
    assert "bob#1" in done.out and "bob#2" in done.out and "ann" in done.out
    done = run_command(capsys, "explain", own, "--suite", suite, "--profile", "smoke", "--question", "m6")
    assert done.code == 0 and "ann" not in done.out and "1.000" in done.out


@pytest.mark.parametrize(
    ("branches", "factors"),
    [
        ({"ann": 90, "bob": 90, "cyd": 90}, {"ann": 3, "bob": 3, "cyd": 3}),
        ({"ann": 60, "bob": 90, "cyd": 30}, {"ann": 3, "bob": 2, "cyd": 6}),
        ({}, {"ann": 3, "bob": 3}),
    ],
)
def test_equal_tokens_follow_the_rationales_there_are(
    branches: dict[str, int], factors: dict[str, int]
) -> None:
    teachers = ("ann", "bob", "cyd")
    info = SuiteInfo("mine", teachers, branches=branches)
    session = cast(Session, SimpleNamespace(suite_info=info, teachers=teachers))
    assert {name: _epochs_factor(session, name) for name in factors} == factors


def test_gaps_are_of_the_questions_that_seeds_draw_from(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in own_rows()))
    words = ("reproduce", "--suite", suite, "--profile", "smoke", "--threads", "1", "--workers", "1")
    done = run_command(capsys, *words, "--rationales", own, "--methods", "zero_shot")
    assert done.code == 0, done.err
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "Of the questions of which every seed draws 4, ann lacks" in page
