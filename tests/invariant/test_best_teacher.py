"""The best teacher by validation is the single-teacher student that does best on held-out questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from compact_bench import Candidate, choose, generated_answers
from compact_bench.core.errors import ConfigError
from compact_bench.methods.registry import make_method
from compact_bench.students.student import attach_lora, load_student, weights_hash
from compact_bench.training.final_weights import STEPS_FILE
from compact_bench.training.protocol import RunContext
from tests import tiny
from tests.invariant.support import settings, train_tiny

Folders = Callable[..., Path]


@pytest.mark.parametrize("lora", [True, False])
def test_the_chosen_student_is_its_teachers_alone(
    student_folder: Folders, tmp_path: Path, lora: bool
) -> None:
    folder, every = student_folder("llama", "chatml"), tiny.questions(12, teachers=3)
    questions, held_out = every[:8], every[8:]
    values = settings(lora=lora, learning_rate=1e-2)
    student = load_student(str(folder), dtype="float32", device="cpu")
    attach_lora(student, values.lora, seed=5)
    context = RunContext(tmp_path / "best", values, seed=7, validation=held_out)
    report = make_method("best_teacher").fit(student, questions, context)
    singles = {
        t: train_tiny(folder, tmp_path / t, questions, values, "single_teacher", {"teacher": t})
        for t in ("ada", "bob", "cyd")
    }
    candidates = []
    for teacher, trained in singles.items():
        context = RunContext(tmp_path / f"asked {teacher}", values, seed=7)
        found = generated_answers(trained.student, held_out, context)
        answers = dict(zip(found.item_ids, found.items, strict=True))
        candidates.append(Candidate(teacher, {7: answers}, trained.report.supervised_tokens))
    choice = choose(candidates)
    assert choice is not None
    assert report.extra["validation_accuracy"] == {j.name: j.accuracy for j in choice.judged}
    assert report.extra["validation_questions"] == len(held_out)
    chosen = choice.chosen.name
    assert report.extra["chosen"] == chosen
    expected = singles[chosen].weights()
    for name, parameter in student.model.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter, expected[name]), name
    steps = pd.read_parquet(tmp_path / "best" / STEPS_FILE)
    assert set(steps[steps["teacher_weight"] == 1.0]["teacher"]) == {chosen}
    assert report.branches == len(steps) == 3 * len(singles["ada"].steps)
    assert report.optimiser_steps == 3 * singles["ada"].report.optimiser_steps


def test_what_is_really_right_is_not_read(student_folder: Folders, tmp_path: Path) -> None:
    folder, every = student_folder("llama", "chatml"), tiny.questions(8, teachers=2)
    reports = []
    for name, truth in (("right", True), ("wrong", False)):
        held_out = tiny.with_truth(every[4:], lambda n, k, truth=truth: truth)
        student = load_student(str(folder), dtype="float32", device="cpu")
        context = RunContext(tmp_path / name, settings(lora=False), seed=7, validation=held_out)
        reports.append(make_method("best_teacher").fit(student, every[:4], context))
    assert reports[0].extra == reports[1].extra


def test_the_lowest_nats_do_not_choose_but_right_answers(
    student_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher whose student generates the right answers is taken, whatever its rationales' nats."""
    from compact_bench.evaluation.probes import validation_accuracy

    folder, every = student_folder("llama", "chatml"), tiny.questions(12, teachers=3)
    real, asked = validation_accuracy.answered, []

    def scripted(*args: Any, **options: Any) -> Any:
        found = real(*args, **options)
        asked.append(found)
        # Only the second teacher's student, bob's, is right.
        return replace(found, items=tuple(float(len(asked) == 2) for _ in found.items))

    monkeypatch.setattr(validation_accuracy, "answered", scripted)
    student = load_student(str(folder), dtype="float32", device="cpu")
    context = RunContext(tmp_path, settings(lora=False), seed=7, validation=every[8:])
    report = make_method("best_teacher").fit(student, every[:8], context)
    assert report.extra["chosen"] == "bob" and len(asked) == 3


def test_a_fit_that_is_begun_again_asks_no_student_twice(
    student_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, every = student_folder("llama", "chatml"), tiny.questions(8, teachers=2)
    context = RunContext(tmp_path, settings(lora=False), seed=7, validation=every[4:])
    weights, reports = [], []
    for _ in range(2):
        student = load_student(str(folder), dtype="float32", device="cpu")
        reports.append(make_method("best_teacher").fit(student, every[:4], context))
        weights.append(weights_hash(student.model))
        results = sorted((tmp_path / "validation").rglob("result.json"))
        assert len(results) == 2
    assert weights[0] == weights[1] and reports[0].extra == reports[1].extra


def test_without_validation_questions_it_says_so(student_folder: Folders, tmp_path: Path) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    context = RunContext(tmp_path, settings(lora=False), seed=7)
    with pytest.raises(ConfigError, match="validation questions"):
        make_method("best_teacher").fit(student, tiny.questions(4), replace(context, validation=()))
