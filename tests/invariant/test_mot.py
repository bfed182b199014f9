"""MoT between known trainings: one teacher is single-teacher distillation, one round a one-shot merge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from compact_bench.core.errors import DamageError, StoreError
from compact_bench.core.records import Rationale
from compact_bench.students.averaging import BranchMean, load_weights, restore, save_weights, trained_weights
from compact_bench.students.student import Student, attach_lora, load_student, merge_adapters
from compact_bench.training.final_weights import STEPS_FILE
from compact_bench.training.objectives import SupervisedObjective
from tests import tiny
from tests.invariant.support import Trained, settings, train_tiny

Folders = Callable[..., Path]


def effective(student: Student) -> dict[str, Tensor]:
    """The weights that a student computes with, adapters merged."""
    merge_adapters(student)
    return {name: weight.detach() for name, weight in student.model.state_dict().items()}


def same_bits(one: Trained, other: Trained) -> None:
    assert one.losses == other.losses
    for name, weight in one.weights().items():
        assert torch.equal(weight, other.weights()[name]), name


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("rounds", [1, 3])
def test_one_teacher_is_single_teacher_distillation(
    student_folder: Folders, tmp_path: Path, lora: bool, rounds: int
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(8, teachers=1)
    values = settings(lora=lora, dropout=0.1 if lora else 0.0, epochs=3)
    mot = train_tiny(folder, tmp_path / "mot", questions, values, "mot", {"rounds": rounds})
    single = train_tiny(folder, tmp_path / "one", questions, values, "single_teacher", {"teacher": "ada"})
    same_bits(mot, single)
    assert mot.report.optimiser_steps == single.report.optimiser_steps == 6
    pd.testing.assert_frame_equal(mot.steps, single.steps)


def test_teachers_who_say_the_same_are_one_teacher(student_folder: Folders, tmp_path: Path) -> None:
    folder, one = student_folder("llama", "chatml"), tiny.questions(8, teachers=1)
    three = tuple(
        replace(q, rationales=tuple(Rationale(t, q.rationales[0].text) for t in ("ada", "bob", "cyd")))
        for q in one
    )
    values = settings(lora=False)
    mot = train_tiny(folder, tmp_path / "three", three, values, "mot", {"rounds": 2})
    single = train_tiny(folder, tmp_path / "one", one, values, "mot", {"rounds": 2})
    for name, weight in mot.weights().items():
        torch.testing.assert_close(weight, single.weights()[name], rtol=1e-5, atol=1e-6)
    assert mot.report.optimiser_steps == 3 * single.report.optimiser_steps
    assert mot.report.branches == 3 * single.report.branches


@pytest.mark.parametrize("lora", [True, False])
def test_one_round_merges_single_teacher_students_once(
    student_folder: Folders, tmp_path: Path, lora: bool
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(8, teachers=3)
    values = settings(lora=lora, learning_rate=1e-2)
    mot = effective(train_tiny(folder, tmp_path / "mot", questions, values, "mot", {"rounds": 1}).student)
    singles = [
        effective(
            train_tiny(folder, tmp_path / t, questions, values, "single_teacher", {"teacher": t}).student
        )
        for t in ("ada", "bob", "cyd")
    ]
    moved = 0.0
    for name, weight in mot.items():
        mean = torch.stack([single[name].double() for single in singles]).mean(dim=0)
        torch.testing.assert_close(weight.double(), mean, rtol=1e-5, atol=1e-6)
        moved = max(moved, float((singles[0][name] - weight).abs().max()))
    assert moved > 1e-3, "the teachers' students do not differ, so that this comparison is empty"


def test_one_plain_gradient_step_a_round_is_a_step_on_all_teachers(student_folder: Folders) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    questions, train, rate = tiny.questions(4, teachers=3), settings().train, 0.05
    start = trained_weights(student.model)

    def step(teachers: tuple[str, ...] | None) -> None:
        restore(student.model, start)
        objective = SupervisedObjective(train, teachers)
        student.model.zero_grad()
        objective.loss(student, [objective.encode(student, q) for q in questions]).loss.backward()
        with torch.no_grad():
            for parameter in student.model.parameters():
                parameter -= rate * parameter.grad  # type: ignore[operator]

    mean = BranchMean()
    for teacher in ("ada", "bob", "cyd"):
        step((teacher,))
        mean.add(student.model)
    mean.write_into(student.model)
    merged = trained_weights(student.model)
    step(None)
    for name, weight in trained_weights(student.model).items():
        moved = float((weight - start[name]).norm())
        assert float((merged[name] - weight).norm()) <= 1e-4 * moved, name
        assert moved > 0


class Killed(Exception):
    """What stands for a kill."""


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("after", [1, 4, 5, 9, 12])
def test_a_killed_run_goes_on_within_its_round(
    student_folder: Folders, tmp_path: Path, after: int, lora: bool
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(8, teachers=2)
    values = settings(lora=lora, dropout=0.1 if lora else 0.0, epochs=3, checkpoint_seconds=0.0)
    whole = train_tiny(folder, tmp_path / "whole", questions, values, "mot", {"rounds": 3})
    assert len(whole.logs) == 12
    left = [after]

    def kill(metrics: Mapping[str, Any]) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with pytest.raises(Killed):
        train_tiny(folder, tmp_path / "killed", questions, values, "mot", {"rounds": 3}, log=kill)
    resumed = train_tiny(folder, tmp_path / "killed", questions, values, "mot", {"rounds": 3})
    # The step that was under way when it was killed is done again.
    assert len(resumed.logs) == 12 - (after - 1)
    again = effective(resumed.student)
    for name, weight in effective(whole.student).items():
        assert torch.equal(weight, again[name]), name
    assert resumed.report.optimiser_steps == whole.report.optimiser_steps == 12
    columns = ["step", "question_id", "teacher", "teacher_weight", "supervised_loss"]
    pd.testing.assert_frame_equal(resumed.steps[columns], whole.steps[columns])


def test_more_rounds_than_steps_are_as_many_as_there_are_steps(
    student_folder: Folders, tmp_path: Path
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(4, teachers=2)
    mot = train_tiny(folder, tmp_path, questions, settings(), "mot", {"rounds": 50})
    assert mot.report.extra["rounds"] == 2
    assert list(mot.steps.groupby("question_id")["teacher_weight"].sum()) == pytest.approx([2.0] * 4)
    assert pd.read_parquet(tmp_path / STEPS_FILE).equals(mot.steps)


def test_another_runs_average_is_refused(student_folder: Folders, tmp_path: Path) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    attach_lora(student, settings().lora, seed=5)
    save_weights(tmp_path / "a", student.model, {"round": 1})
    load_weights(tmp_path / "a", student.model, {"round": 1})
    with pytest.raises(StoreError, match="round"):
        load_weights(tmp_path / "a", student.model, {"round": 2})
    (tmp_path / "a" / "weights.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DamageError, match="sha256"):
        load_weights(tmp_path / "a", student.model, {"round": 1})
