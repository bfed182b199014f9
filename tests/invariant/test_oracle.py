"""The oracle between two known trainings: uniform where all is right, one teacher where only he is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compact_bench.core.errors import DataError
from tests import tiny
from tests.invariant.support import same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]


def test_all_right_is_uniform(student_folder: Folders, tmp_path: Path) -> None:
    folder = student_folder("llama", "chatml")
    questions = tiny.with_truth(tiny.questions(8, teachers=3), lambda n, k: True)
    oracle, uniform = (
        train_tiny(folder, tmp_path / name, questions, settings(), name) for name in ("oracle", "uniform")
    )
    same_training(oracle, uniform)
    same_tables(oracle, uniform)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_one_right_is_a_single_teacher(student_folder: Folders, tmp_path: Path, reduction: str) -> None:
    folder = student_folder("llama", "chatml")
    questions = tiny.with_truth(tiny.questions(8, teachers=3), lambda n, k: k == 1)
    quick, shared = settings(learning_rate=5e-4), {"sft_reduction": reduction}
    oracle = train_tiny(folder, tmp_path / "oracle", questions, quick, "oracle", shared)
    single = train_tiny(
        folder, tmp_path / "single", questions, quick, "single_teacher", {"teacher": "bob", **shared}
    )
    same_training(oracle, single)
    assert len(oracle.steps) == 3 * len(single.steps)
    assert set(oracle.steps.groupby("teacher")["teacher_weight"].sum().items()) == {
        ("ada", 0.0),
        ("bob", 16.0),
        ("cyd", 0.0),
    }


def test_steps_order_and_tokens_are_those_of_uniform(student_folder: Folders, tmp_path: Path) -> None:
    folder = student_folder("llama", "chatml")
    # Question 0 has no right rationale, question 1 one, question 2 two, question 3 all three, and so on.
    questions = tiny.with_truth(tiny.questions(10, teachers=3), lambda n, k: k < n % 4)
    oracle, uniform = (
        train_tiny(folder, tmp_path / name, questions, settings(), name) for name in ("oracle", "uniform")
    )
    columns = ["step", "epoch", "question_id", "teacher", "is_right"]
    assert oracle.steps[columns].equals(uniform.steps[columns])
    for count in ("optimiser_steps", "branches", "supervised_tokens", "total_tokens"):
        assert getattr(oracle.report, count) == getattr(uniform.report, count) > 0
    for n, question in enumerate(questions):
        rows = oracle.steps[oracle.steps["question_id"] == question.id].head(3)
        expected = [1.0 / (n % 4) if k < n % 4 else 0.0 for k in range(3)]
        assert list(rows["teacher_weight"]) == pytest.approx(expected)


def test_a_step_is_the_mean_over_all_its_questions(student_folder: Folders, tmp_path: Path) -> None:
    """A question without a right rationale counts as a question whose loss is 0."""
    questions = tiny.with_truth(tiny.questions(8, teachers=2), lambda n, k: n % 2 == 1)
    trained = train_tiny(student_folder("llama", "chatml"), tmp_path, questions, settings(), "oracle")
    for _, rows in trained.steps.groupby("step"):
        assert rows["question_id"].nunique() == 4
        naive = sum(rows["teacher_weight"] * rows["supervised_loss"]) / 4
        assert rows["step_loss"].iloc[0] == pytest.approx(naive, rel=1e-5)


def test_nothing_right_is_a_loss_of_zero(student_folder: Folders, tmp_path: Path) -> None:
    questions = tiny.with_truth(tiny.questions(4, teachers=2), lambda n, k: False)
    trained = train_tiny(student_folder("llama", "chatml"), tmp_path, questions, settings(), "oracle")
    assert trained.losses == [0.0, 0.0]
    assert [log["gradient_norm"] for log in trained.logs] == [0.0, 0.0]


def test_unknown_truth_is_refused(student_folder: Folders, tmp_path: Path) -> None:
    known = tiny.with_truth(tiny.questions(1, teachers=2), lambda n, k: True)
    questions = known + tiny.questions(3, teachers=2)[1:]
    with pytest.raises(DataError) as caught:
        train_tiny(student_folder("llama", "chatml"), tmp_path, questions, settings(), "oracle")
    assert [fault.question_id for fault in caught.value.faults] == ["sum-1", "sum-1", "sum-2", "sum-2"]
    assert "sum-2, teacher bob" in str(caught.value)
