"""KL to the base student and L2 to the start: their formulas, coefficient 0, and zero at the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compact_bench.core.settings import LoraSettings
from compact_bench.methods.registry import get_method
from compact_bench.students.compute.kernels import fast_step
from compact_bench.students.student import Student, attach_lora, load_student
from compact_bench.training.objectives import SupervisedObjective
from tests import tiny
from tests.invariant.support import same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]
METHODS = ("kl_to_base", "l2_to_start")
COEFFICIENTS = {"kl_to_base": "beta", "l2_to_start": "alpha"}
LORA = LoraSettings(rank=4, alpha=8.0, dropout=0.0)


def module(name: str) -> Any:
    get_method(name)
    return __import__(f"compact_bench_methods.{name}", fromlist=["METHOD"])


def student(folder: Path, *, lora: bool) -> Student:
    """A tiny student in training mode, in float64, so that formulas can be compared closely."""
    found = load_student(str(folder), dtype="float64", device="cpu")
    if lora:
        attach_lora(found, LORA, seed=3)
        found.model.to(torch.float64)
    found.model.train()
    return found


def shake(found: Student) -> None:
    """Move the trained parameters, as training does."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in found.model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(0.02 * noise)


def gradients(found: Student, loss: Tensor) -> dict[str, Tensor]:
    named = {n: p for n, p in found.model.named_parameters() if p.requires_grad}
    values = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
    return dict(zip(named, values, strict=True))


def kl_objective(found: Student, **changes: Any) -> Any:
    kind, run = module("kl_to_base"), settings(**changes)
    return kind.KLToBaseObjective(run.train, 1.0, "mean", kind.frozen_start(found))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_without_coefficient_it_is_uniform(
    student_folder: Folders, tmp_path: Path, name: str, lora: bool
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=3)
    run = settings(lora=lora, dropout=0.1, learning_rate=2e-3 if lora else 5e-4)
    found = train_tiny(folder, tmp_path / "one", questions, run, name, {COEFFICIENTS[name]: 0.0})
    uniform = train_tiny(folder, tmp_path / "two", questions, run, "uniform")
    same_training(found, uniform)
    same_tables(found, uniform)
    assert all(torch.equal(w, uniform.weights()[n]) for n, w in found.weights().items())


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_the_divergence_and_its_gradient_are_zero_at_the_start(student_folder: Folders, lora: bool) -> None:
    found = student(student_folder("llama", "chatml"), lora=lora)
    objective = kl_objective(found)
    batch = [objective.encode(found, q) for q in tiny.questions(2, teachers=2)]
    penalised = objective.loss(found, batch)
    plain = SupervisedObjective(objective.train).loss(found, batch)
    assert penalised.metrics["kl_to_base"] == pytest.approx(0.0, abs=1e-12)
    one, other = gradients(found, penalised.loss), gradients(found, plain.loss)
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-9, atol=1e-9)
    assert found.model.training
    assert all(p.requires_grad == (not lora or "lora_" in n) for n, p in found.model.named_parameters())


def naive_divergence(found: Student, before: Any, batch: Any) -> Tensor:
    """KL(p_0 || p_theta), token by token over whole rows, mean over tokens, branches and questions."""
    means = []
    for question in batch:
        per_branch = []
        for branch in question.branches:
            ids = torch.tensor([branch.input_ids])
            with torch.no_grad():
                old = before(ids)
            new = found.model(input_ids=ids).logits[0]
            nats = []
            for place in range(branch.prompt_tokens - 1, len(branch.input_ids) - 1):
                p, q = torch.softmax(old[place], dim=-1), torch.softmax(new[place], dim=-1)
                nats.append((p * (p / q).log()).sum())
            per_branch.append(torch.stack(nats).mean())
        means.append(torch.stack(per_branch).mean())
    return torch.stack(means).mean()


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("memory_mib", [512, 0], ids=["at-once", "in-pieces"])
def test_the_divergence_is_the_naive_one(student_folder: Folders, lora: bool, memory_mib: int) -> None:
    folder = student_folder("llama", "chatml")
    found, fresh = student(folder, lora=lora), student(folder, lora=False)
    objective = kl_objective(found, logits_memory_mib=memory_mib)
    plain = SupervisedObjective(objective.train)
    shake(found)
    batch = [objective.encode(found, q) for q in tiny.questions(2, teachers=2)]
    step = objective.loss(found, batch)
    naive = naive_divergence(found, lambda ids: fresh.model(input_ids=ids).logits[0], batch)
    assert float(naive.detach()) > 1e-3
    assert step.metrics["kl_to_base"] == pytest.approx(float(naive.detach()), rel=1e-9)
    expected = gradients(found, plain.loss(found, batch).loss + naive)
    for name, gradient in gradients(found, step.loss).items():
        # The norms compute in float32, whatever the weights' type.
        assert float((gradient - expected[name]).norm()) <= 1e-5 * float(expected[name].norm()), name
    per_branch = [row["kl_to_base"] for row in step.rows]
    assert sum(per_branch) / len(per_branch) == pytest.approx(float(naive.detach()))


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_the_distance_is_the_naive_one(student_folder: Folders, lora: bool) -> None:
    kind = module("l2_to_start")
    folder = student_folder("llama", "chatml")
    found, fresh = student(folder, lora=lora), student(folder, lora=False)
    start = kind._start(found.model)
    assert bool(start) == (not lora)
    assert float(kind.squared_distance(found.model, start).detach()) == 0.0
    zero = gradients(found, kind.squared_distance(found.model, start))
    assert all(not gradient.any() for gradient in zero.values())
    shake(found)
    distance = kind.squared_distance(found.model, start)
    slopes = gradients(found, distance)
    old = {n: p.detach().clone() for n, p in fresh.model.named_parameters()}
    if lora:
        merged: Any = found.model
        new = dict(merged.merge_and_unload().named_parameters())
    else:
        new = dict(found.model.named_parameters())
    naive = sum(float((new[n].detach() - value).square().sum()) for n, value in old.items())
    assert float(distance.detach()) == pytest.approx(naive, rel=1e-9)
    if not lora:
        for name, slope in slopes.items():
            torch.testing.assert_close(slope, 2 * (new[name].detach() - old[name]))


def test_the_slope_of_an_adapters_distance(student_folder: Folders) -> None:
    kind = module("l2_to_start")
    found = student(student_folder("llama", "chatml"), lora=True)
    shake(found)
    slopes = gradients(found, kind.squared_distance(found.model, {}))
    named = dict(found.model.named_parameters())
    name = next(n for n in slopes if "lora_A" in n)
    a = named[name].detach().clone().requires_grad_()
    b = named[name.replace("lora_A", "lora_B")].detach()
    scale = LORA.alpha / LORA.rank
    (expected,) = torch.autograd.grad((scale * b @ a).square().sum(), a)
    torch.testing.assert_close(slopes[name], expected)


def test_weight_decay_is_off_beside_the_l2_penalty(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(4, teachers=2)
    one, other = (
        train_tiny(
            folder, tmp_path / str(n), questions, settings(weight_decay=decay), "l2_to_start", {"alpha": 1e-9}
        )
        for n, decay in enumerate((0.0, 10.0))
    )
    same_training(one, other)
    uniform = train_tiny(folder, tmp_path / "u", questions, settings(weight_decay=0.0), "uniform")
    same_training(one, uniform)


@pytest.mark.parametrize(
    ("name", "strong"), [("kl_to_base", {"beta": 100.0}), ("l2_to_start", {"alpha": 100.0})]
)
@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_a_strong_penalty_keeps_the_student_near(
    student_folder: Folders, tmp_path: Path, name: str, strong: dict[str, float], lora: bool
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(4, teachers=2)
    run = settings(lora=lora, epochs=8, learning_rate=2e-3 if lora else 5e-4)
    far, near = (
        train_tiny(folder, tmp_path / str(n), questions, run, name, config)
        for n, config in enumerate(({COEFFICIENTS[name]: 1e-9}, strong))
    )
    measure = "kl_to_base" if name == "kl_to_base" else "distance_from_start"
    assert near.logs[-1][measure] < 0.5 * far.logs[-1][measure]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_what_must_not_change_a_training(
    student_folder: Folders, tmp_path: Path, name: str, lora: bool
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(5, teachers=2)
    turned = tuple(replace(q, rationales=q.rationales[::-1]) for q in questions)
    ways = [
        (questions, {}),
        (questions, {"questions_per_step": 4, "accumulation": 1}),
        (turned, {}),
        (questions, {"layout": "padded", "kernels": "plain", "logits_memory_mib": 0}),
        (questions, {"gradient_checkpointing": True}),
    ]
    first, *others = (
        train_tiny(
            folder,
            tmp_path / str(n),
            which,
            settings(lora=lora, epochs=1, learning_rate=2e-3 if lora else 5e-4, **changes),
            name,
            {COEFFICIENTS[name]: 0.5},
        )
        for n, (which, changes) in enumerate(ways)
    )
    for other in others:
        same_training(first, other)
        same_tables(first, other)


def test_the_start_is_left_with_lean_layers_in_place(student_folder: Folders) -> None:
    """Adapters are switched off for the start also where lean layers stand in for them."""
    found = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    attach_lora(found, LORA, seed=3)
    found.model.train()
    shake(found)
    objective = kl_objective(found)
    batch = [objective.encode(found, tiny.question("books", 3))]
    plain = objective.loss(found, batch).metrics["kl_to_base"]
    with fast_step(found, objective.train, lambda: objective.loss(found, batch).loss) as path:
        assert path.kernels == "lean"
        assert objective.loss(found, batch).metrics["kl_to_base"] == pytest.approx(plain, rel=1e-4)
