"""Every registered method keeps the contract of `compact_bench.trainer`, on a tiny student and real fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from compact_bench.errors import CompactBenchError, ConfigError, UnknownNameError
from compact_bench.loop import STEPS_FILE
from compact_bench.records import Question
from compact_bench.registry import get_method, make_method, method_names
from compact_bench.students import load_student, weights_hash
from compact_bench.trainer import FitReport, Method, MethodCard, RunContext, SuiteInfo
from tests import tiny
from tests.invariant.support import settings, train_tiny

Folders = Callable[..., Path]
CONFIGS: dict[str, dict[str, Any]] = {"single_teacher": {"teacher": "bob"}}
METHODS = method_names()
TRAINED = [name for name in METHODS if name != "zero_shot"]
NEEDS_TRUTH = {"oracle"}
SUITE = SuiteInfo(name="tiny", teachers=("ada", "bob"), has_truth=True)


def make(name: str) -> Method:
    return make_method(name, CONFIGS.get(name, {}))


def questions_with_truth(count: int) -> tuple[Question, ...]:
    """Every question has a right rationale, and every third a wrong one."""
    return tiny.with_truth(tiny.questions(count, teachers=2), lambda n, k: k == 0 or n % 3 != 0)


def test_the_methods_that_must_be_there() -> None:
    expected = {"zero_shot", "single_teacher", "uniform", "compact", "compact_released", "oracle"}
    assert expected <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_card_and_configuration(name: str) -> None:
    kind = get_method(name)
    card: MethodCard = kind.card
    assert card.title
    assert card.source
    assert card.min_teachers >= 0
    assert all(text.strip() for text in (*card.deviations, *card.ours))
    assert "Attributes" in (kind.config_type.__doc__ or "") or not kind.config_type.model_fields
    method = make(name)
    assert isinstance(method, Method)
    config = method.config  # type: ignore[attr-defined]
    for field in kind.config_type.model_fields:
        with pytest.raises(ValidationError):
            setattr(config, field, getattr(config, field))
    with pytest.raises(ConfigError, match="no_such_setting"):
        make_method(name, {**CONFIGS.get(name, {}), "no_such_setting": 1})


@pytest.mark.parametrize("name", METHODS)
def test_supports_says_why_not(name: str) -> None:
    assert make(name).supports(SUITE) is None
    reason = make(name).supports(replace(SUITE, has_gold=False))
    assert bool(reason) == get_method(name).card.uses_gold
    reason = make(name).supports(replace(SUITE, has_truth=False))
    assert bool(reason) == (name in NEEDS_TRUTH)


@pytest.mark.parametrize("name", TRAINED)
def test_a_fit_trains_and_reports(student_folder: Folders, tmp_path: Path, name: str) -> None:
    folder = student_folder("llama", "chatml")
    questions = questions_with_truth(6)
    trained = train_tiny(
        folder, tmp_path, questions, settings(epochs=2, accumulation=4), name, CONFIGS.get(name)
    )
    report, steps = trained.report, trained.steps
    assert report.optimiser_steps == 4
    assert report.branches == len(steps) == 12 * (1 if name == "single_teacher" else 2)
    assert 0 < report.supervised_tokens < report.total_tokens
    assert report.final_loss == pytest.approx(sum(trained.losses[2:]) / 2)
    assert {"step", "question_id", "teacher", "teacher_weight", "supervised_loss"} <= set(steps.columns)
    sums = steps.groupby(["step", "question_id"])["teacher_weight"].sum()
    assert list(sums) == pytest.approx([1.0] * len(sums))
    assert any(not torch.equal(w, trained.start[n]) for n, w in trained.weights().items())
    assert not trained.student.model.training


def test_every_method_sees_the_same_order(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), questions_with_truth(6)
    orders = set()
    for name in TRAINED:
        train_tiny(folder, tmp_path / name, questions, settings(), name, CONFIGS.get(name))
        steps = pd.read_parquet(tmp_path / name / STEPS_FILE)
        orders.add(tuple(steps.drop_duplicates(["step", "question_id"])["question_id"]))
    assert len(orders) == 1


def test_zero_shot_changes_nothing(student_folder: Folders, tmp_path: Path) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    before = weights_hash(student.model)
    context = RunContext(tmp_path, settings(lora=False), seed=1)
    assert make("zero_shot").fit(student, tiny.questions(2), context) == FitReport()
    assert weights_hash(student.model) == before


@pytest.mark.parametrize("name", TRAINED)
def test_a_loss_that_is_not_finite_is_named(student_folder: Folders, tmp_path: Path, name: str) -> None:
    questions = questions_with_truth(4)
    with pytest.raises(CompactBenchError, match="finite"):
        train_tiny(
            student_folder("llama", "chatml"),
            tmp_path,
            questions,
            settings(lora=False, learning_rate=1e30, epochs=3, warmup_steps=0),
            name,
            CONFIGS.get(name),
        )


def test_a_teacher_that_is_not_there() -> None:
    reason = make_method("single_teacher", {"teacher": "eve"}).supports(SUITE)
    assert reason is not None
    assert "eve" in reason
    assert "ada" in reason
    with pytest.raises(UnknownNameError, match=r"Did you mean .*compact_released"):
        get_method("compact_relased")
