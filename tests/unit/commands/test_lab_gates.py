"""The gates of the lab: which figures pass, what is said where they do not, and that they are measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from compact_bench.commands import lab_gates
from compact_bench.commands.lab_gates import Gates, measure_gates
from tests.tiny_suite import make_tiny_lab_student, write_tiny_lab
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]
PASSING = Gates(
    direct={"Shells": 0.34, "Lift": 0.1},
    right={"Shells": 0.9, "Lift": 0.86},
    uniform={"Shells": 0.6, "Lift": 0.6},
    wrong={"Shells": 0.29, "Lift": 0.0},
)


def test_a_student_that_passes_is_told_with_every_figure() -> None:
    assert PASSING.failures() == []
    assert PASSING.lines()[0] == (
        "Shells: direct 34.0%, after right rationales 90.0%, after all 60.0%, after wrong ones 29.0%"
    )
    assert PASSING.lines()[-1] == "headroom between all and right rationales: 28.0 pp"


@pytest.mark.parametrize(
    ("arm", "value", "said"),
    [
        ("direct", 0.35, "Shells: expected direct answers under 35%"),
        ("right", 0.85, "Shells: expected over 85% after right rationales"),
        ("wrong", 0.30, "Shells: expected under 30% after wrong rationales"),
        ("uniform", 0.68, "expected a headroom of 25 pp at least"),
    ],
)
def test_every_gate_closes_at_its_bound(arm: str, value: float, said: str) -> None:
    gates = dataclasses.replace(PASSING, **{arm: {**getattr(PASSING, arm), "Shells": value}})
    assert gates.failures() == [said]


def test_the_gates_train_and_score_every_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_gates, "PROFILE", "smoke")
    student = make_tiny_lab_student(tmp_path / "student")
    suite = write_tiny_lab(tmp_path / "suite", str(student))
    said: list[str] = []
    gates = measure_gates(str(suite), str(student), tmp_path, (1,), said.append)
    assert said == ["direct", "right", "uniform", "wrong"]
    assert set(gates.direct) == set(gates.right) == set(gates.uniform) == set(gates.wrong) == {"Ring"}
    # A random student learns nothing in two steps.
    assert "Ring: expected over 85% after right rationales" in gates.failures()


def test_a_student_that_fails_is_refused_with_the_figures(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = dataclasses.replace(PASSING, uniform=PASSING.right)
    monkeypatch.setattr(lab_gates, "measure_gates", lambda *args, **kwargs: failing)
    words = ("--scale", "0.001", "--set", "batch_rows=4", "--threads", "1", "--quiet")
    done = run_command(capsys, "lab", "build", "--output", tmp_path / "student", *words)
    assert done.code == 4 and "expected a headroom of 25 pp at least" in done.err
    assert "Shells: direct 34.0%" in done.err
    assert (tmp_path / "student" / lab_gates.GATES_FILE).read_text().startswith("Shells: direct 34.0%")
