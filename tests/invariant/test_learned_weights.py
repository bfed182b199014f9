"""Teacher weights learnt on validation data: the slope, why not on the training loss, and the pilot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import Question, Rationale
from compact_bench.evaluation.probes.answer_nats import answer_nats
from compact_bench.methods.contract import SuiteInfo, refusal
from compact_bench.methods.registry import get_method, make_method
from compact_bench.students.student import attach_lora, load_student
from compact_bench.training.protocol import RunContext
from tests import tiny
from tests.invariant.support import Trained, same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]
FILE = "learned_weights.json"


def module(name: str = "learned_weights") -> Any:
    get_method("learned_weights")
    return __import__(f"compact_bench_methods.{name}", fromlist=["x"])


def train_with(
    folder: Path,
    directory: Path,
    questions: Sequence[Question],
    validation: Sequence[Question],
    run: Any = None,
    stop: int | None = None,
    **config: Any,
) -> Trained:
    """A run with validation questions, killed after `stop` logged steps."""
    run = settings(epochs=4) if run is None else run
    student = load_student(str(folder), dtype="float32", device="cpu")
    attach_lora(student, run.lora, seed=5)
    start = {n: p.detach().clone() for n, p in student.model.named_parameters() if p.requires_grad}
    logs: list[dict[str, Any]] = []

    def keep(metrics: Any) -> None:
        logs.append(dict(metrics))
        if len(logs) == stop:
            raise KeyboardInterrupt

    context = RunContext(directory, run, seed=7, log=keep, validation=tuple(validation))
    report = make_method("learned_weights", config).fit(student, questions, context)
    own = [log for log in logs if "pilot" not in log]
    return Trained(student, report, pd.read_parquet(directory / "steps.parquet"), own, start)


def test_the_slopes_are_those_of_a_step_of_sgd() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    start = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    phi = torch.randn(4, generator=generator, dtype=torch.float64, requires_grad=True)
    mix = torch.randn(3, 3, generator=generator, dtype=torch.float64)

    def validation(theta: torch.Tensor) -> torch.Tensor:
        return (mix @ theta).pow(2).sum() / 2

    rate = 1e-7
    after = start.detach() - rate * torch.softmax(phi, dim=0) @ gradients
    (expected,) = torch.autograd.grad(validation(after), phi)
    (slope,) = torch.autograd.grad(validation(start), start)
    found = module().weight_slopes(phi.detach(), gradients @ slope)
    torch.testing.assert_close(rate * found, expected, rtol=1e-5, atol=0.0)
    assert float(found.sum()) == pytest.approx(0.0, abs=1e-12)


def test_on_the_training_loss_all_weight_goes_to_the_lowest_loss() -> None:
    """What the card says of training phi on sum_k a_k L_k: never mind which teacher is right."""
    losses = torch.tensor([1.3, 0.9, 1.1])
    phi = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.SGD([phi], lr=1.0)
    for step in range(400):
        weights = torch.softmax(phi, dim=0)
        loss = (weights * losses).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        if step == 0:
            expected = weights * (losses - loss)
            torch.testing.assert_close(phi.grad, expected.detach())
        optimiser.step()
    assert float(torch.softmax(phi.detach(), dim=0)[1]) > 0.99
    assert "lowest loss" in " ".join(get_method("learned_weights").card.ours)


def one_is_right(count: int, start: int = 0) -> tuple[Question, ...]:
    """Ada's answers are the gold ones, bob's are not; their texts differ in nothing else."""
    return tuple(
        Question(
            id=f"q{n}",
            text=f"Tom has {n} apples. How many has Mary?",
            gold_answer="5",
            rationales=(
                Rationale(teacher="ada", text="So we count. The answer is 5."),
                Rationale(teacher="bob", text="So we count. The answer is 8."),
            ),
        )
        for n in range(start, start + count)
    )


def test_the_teacher_who_helps_on_validation_gains(student_folder: Folders, tmp_path: Path) -> None:
    folder = student_folder("llama", "chatml")
    trained = train_with(folder, tmp_path, one_is_right(4), one_is_right(3, start=20), pilot_share=1.0)
    weights = trained.report.extra["learned_weights"]
    # Four steps of 0.05 and warm-up: as far as AdamW gets.
    assert weights["ada"] > 0.52
    assert sum(weights.values()) == pytest.approx(1.0)
    steps = trained.steps
    assert set(steps.loc[steps["teacher"] == "ada", "teacher_weight"].round(9)) == {round(weights["ada"], 9)}


def test_almost_without_learning_it_is_uniform(student_folder: Folders, tmp_path: Path) -> None:
    """The pilot's student is thrown away: the run is that of uniform, from the start."""
    folder, questions = student_folder("llama", "chatml"), tiny.questions(5, teachers=3)
    run = settings(dropout=0.1)
    found = train_with(folder, tmp_path / "one", questions, questions[:2], run, weight_rate=1e-12)
    uniform = train_tiny(folder, tmp_path / "two", questions, run, "uniform")
    for a, b in zip(found.losses, uniform.losses, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    for name, weight in found.weights().items():
        assert float((weight - uniform.weights()[name]).norm()) <= 1e-4 * float(weight.norm()), name
    same_tables(found, uniform)
    pilot = found.report.extra["pilot"]
    assert pilot["optimiser_steps"] == 2
    assert found.report.optimiser_steps == uniform.report.optimiser_steps + 2
    assert found.report.total_tokens == uniform.report.total_tokens + pilot["total_tokens"]


def test_a_killed_run_goes_on_in_the_pilot_and_after_it(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), one_is_right(4)
    held_out, run = one_is_right(3, start=20), settings(epochs=3, accumulation=2, checkpoint_seconds=0.0)
    whole = train_with(folder, tmp_path / "whole", questions, held_out, run)
    # Three steps of pilot and six of the run: the first death is in the pilot, the second is not.
    for stop, piloted in ((2, False), (4, True)):
        with pytest.raises(KeyboardInterrupt):
            train_with(folder, tmp_path / "parts", questions, held_out, run, stop=stop)
        assert (tmp_path / "parts" / FILE).exists() == piloted
    found = train_with(folder, tmp_path / "parts", questions, held_out, run)
    assert found.report.extra["learned_weights"] == whole.report.extra["learned_weights"]
    for name, weight in found.weights().items():
        assert torch.equal(weight, whole.weights()[name]), name
    assert found.report.optimiser_steps == whole.report.optimiser_steps


def test_accumulation_and_the_order_of_teachers(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(5, teachers=3)
    turned = tuple(replace(q, rationales=q.rationales[::-1]) for q in questions)
    first, *others = (
        train_with(
            folder,
            tmp_path / str(n),
            which,
            questions[:2],
            settings(epochs=1, questions_per_step=size, accumulation=4 // size),
            pilot_share=1.0,
        )
        for n, (which, size) in enumerate(((questions, 1), (questions, 4), (turned, 2)))
    )
    for other in others:
        same_training(first, other)
        same_tables(first, other)
        assert other.report.total_tokens == first.report.total_tokens


def test_the_validation_loss_is_the_probes(student_folder: Folders) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    kind, helper = module(), module("_teacher_gradients")
    inner = helper.TeacherGradients(settings().train, kind.GivenWeights(torch.empty(0)), 1)
    held_out = tiny.questions(3, teachers=2)
    pilot = kind.PilotObjective(inner, held_out, 0.05, 3, {})
    pilot.begin_step(0, 4)
    pilot.loss(student, [pilot.encode(student, held_out[0])])
    probe = answer_nats(student, held_out)
    pairs = zip(probe["question_nats"], probe["rationale_nats"], strict=True)
    expected = sum((a + b) / 2 if b is not None else a for a, b in pairs) / 3
    assert float(pilot.validation_loss(student).detach()) == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_had_is_said(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(2, teachers=2)
    with pytest.raises(ConfigError, match="expected validation questions"):
        train_with(folder, tmp_path, questions, ())
    reason = refusal(make_method("learned_weights"), SuiteInfo("bare", ("ada",), has_gold=False))
    assert reason is not None
    assert "gold answers" in reason
