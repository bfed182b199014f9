"""A run that trained on nothing, or whose weights are the base's, is no result of its method."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.runs.store.store import Store
from tests.unit.command import Done, run_command

Capture = pytest.CaptureFixture[str]
Edit = Callable[[dict[str, object]], None]


def rewrite(suite: Path, edit: Callable[[int, str], str]) -> None:
    """Every rationale of the tiny suite as `edit` makes it of (row, text)."""
    path = suite.parent / "training.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["rationales"] = {name: edit(number, text) for name, text in row["rationales"].items()}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def reproduce(capsys: Capture, suite: Path, methods: str, *more: str) -> Done:
    words = (
        "--profile",
        "smoke",
        "--threads",
        "1",
        "--workers",
        "1",
        "--methods",
        methods,
        "--output",
        "out",
    )
    return run_command(capsys, "reproduce", "--suite", suite, *words, *more)


def records(folder: Path) -> Mapping[str, RunRecord]:
    return {r.key.method: r for r in Store(folder / "store").records()}


def test_a_filter_that_finds_nothing_is_no_trained_row(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    rewrite(suite, lambda number, text: "I do not know. The answer is nothing.")
    done = reproduce(capsys, suite, "right_filter,mcc_kd,uniform")
    assert done.code == 0, done.err
    found = records(tmp_path)
    for name in ("right_filter", "mcc_kd"):
        record = found[name]
        assert record.status == "untrained" and record.reason.startswith("trained on nothing: ")
        assert "0 of them state the gold answer" in record.reason
        assert record.training["used"] == 0 and record.training["final_loss"] == 0.0
        assert record.training["offered"] > 0 and not record.evaluations and not record.probes
        assert f"{name} seed 1: untrained: trained on nothing" in done.err.replace("\n", " ")
    assert found["uniform"].status == "done" and found["uniform"].training["offered"] == 0
    text = (tmp_path / "out/RESULTS.csv").read_text()
    assert text.count("trained on nothing") >= 2
    assert "2 untrained" in (tmp_path / "out/RESULTS.md").read_text()
    assert "ada 0 of" in done.err and "right" in done.err, "the shares stand there before anything is trained"
    again = reproduce(capsys, suite, "right_filter,mcc_kd,uniform")
    assert "nothing to run" in again.err, "it would end the same way"


def test_weights_that_end_as_the_bases_are_no_result(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    done = reproduce(
        capsys, suite, "uniform,zero_shot", "--set", "learning_rate=1e-38", "--set", "warmup_steps=0"
    )
    assert done.code == 0, done.err
    found = records(tmp_path)
    assert found["uniform"].status == "untrained"
    assert "left every weight as the base's" in found["uniform"].reason
    assert found["zero_shot"].status == "done", "a method that does not train is what it says"


def test_a_filter_that_drops_over_half_says_so(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    rewrite(suite, lambda number, text: text if number == 0 else "The answer is nothing.")
    done = reproduce(capsys, suite, "right_filter,uniform", "--set", "accumulation=8")
    assert done.code == 0, done.err
    used, offered = (records(tmp_path)["right_filter"].training[name] for name in ("used", "offered"))
    assert 0 < used < offered / 2
    assert f"done: used {used} of {offered} rationales" in done.err.replace("\n", " ")
    pages = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.md"))
    assert "chose fewer than half of the rationales" in pages
    assert f"{100 * used / offered:.0f} %" in pages
