"""PCGrad, MGDA, CAGrad and UPGrad: their formulas on small problems, and what they must not depend on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compact_bench.core.errors import NumericalError
from compact_bench.core.records import Question
from compact_bench.methods.registry import get_method
from compact_bench.students.student import attach_lora, load_student
from compact_bench.training.loop import train
from compact_bench.training.protocol import CombinesGradients, RunContext, StepLoss
from tests import tiny
from tests.invariant.support import Trained, same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]
METHODS = ("pcgrad", "mgda", "cagrad", "upgrad")


def module(name: str) -> Any:
    """A method's module, or a helper's of the methods' folder, as the registry loads it."""
    get_method("pcgrad")
    return __import__(f"compact_bench_methods.{name}", fromlist=[name])


def rule(name: str, **changes: Any) -> Any:
    """A rule with its method's default settings."""
    values = {
        "pcgrad": ("PCGradRule", {"divide_by_teachers": True}),
        "mgda": ("MGDARule", {"solver_step": 1e-3, "solver_iterations": 100}),
        "cagrad": ("CAGradRule", {"c": 0.5, "rescale": False}),
        "upgrad": ("UPGradRule", {}),
    }
    get_method(name)
    kind, defaults = values[name]
    return getattr(module(name), kind)(**(defaults | changes))


def combined(found: Any, jacobian: Tensor, seed: int = 0) -> Tensor:
    """d of the rule for gradients that are the rows of a matrix."""
    gramian = jacobian @ jacobian.T
    return found.weights(gramian / gramian.diagonal().mean(), seed) @ jacobian


def problem(seed: int, teachers: int = 3) -> Tensor:
    """Gradients of quadratic losses of two parameters at a point, float64: |A_k (x - b_k)|^2 / 2."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, generator=generator, dtype=torch.float64, requires_grad=True)
    rows = []
    for _ in range(teachers):
        a = torch.randn(2, 2, generator=generator, dtype=torch.float64)
        b = torch.randn(2, generator=generator, dtype=torch.float64)
        loss = (a @ (x - b)).pow(2).sum() / 2
        rows.append(torch.autograd.grad(loss, x)[0])
    return torch.stack(rows)


# -------------------------------------------------------------------------------------------- naive formulas


def naive_pcgrad(rows: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
    total = torch.zeros_like(rows[0])
    for k, order in enumerate(orders):
        own = rows[k].clone()
        for j in order:
            if j != k and float(own @ rows[j]) < 0:
                own = own - (own @ rows[j]) / (rows[j] @ rows[j]) * rows[j]
        total = total + own
    return total


def simplex(teachers: int, steps: int) -> Tensor:
    """All points of a grid on the simplex."""
    points = [p for p in itertools.product(range(steps + 1), repeat=teachers - 1) if sum(p) <= steps]
    return torch.tensor([[*p, steps - sum(p)] for p in points], dtype=torch.float64) / steps


def naive_projection(vector: Tensor, rows: Tensor) -> Tensor:
    """The nearest d with rows d >= 0 in the plane: the vector, its projection on a border, or 0."""
    candidates = [vector, torch.zeros_like(vector)]
    for row in rows:
        candidates.append(vector - (vector @ row) / (row @ row) * row)
    inside = [d for d in candidates if float((rows @ d).min()) >= -1e-9]
    return min(inside, key=lambda d: float((d - vector).norm()))


@pytest.mark.parametrize("seed", range(12))
def test_formulas_on_two_parameters(seed: int) -> None:
    rows = problem(seed)
    teachers = len(rows)
    # PCGrad: whatever orders were drawn, the result is that of some.
    orders = list(itertools.permutations(range(teachers)))
    every = [naive_pcgrad(rows, chosen) / teachers for chosen in itertools.product(orders, repeat=teachers)]
    found = combined(rule("pcgrad"), rows, seed)
    assert min(float((found - d).norm()) for d in every) <= 1e-12 * float(rows.norm())

    grid = simplex(teachers, 200) @ rows
    shortest = combined(rule("mgda", solver_step=1e-5, solver_iterations=1000), rows)
    assert float(shortest.norm()) <= float(grid.norm(dim=1).min()) + 1e-3 * float(rows.norm())

    mean = rows.mean(dim=0)
    radius = 0.5 * mean.norm()
    values = grid @ mean + radius * grid.norm(dim=1)
    d = combined(rule("cagrad"), rows)
    chosen = grid[values.argmin()]
    assert float((d - mean).norm()) <= float(radius) * (1 + 1e-4)
    # The worst-off teacher fares as well as the dual says, which the grid bounds.
    assert float((rows @ d).min()) == pytest.approx(float(values.min()), abs=0.02 * float(rows.norm() ** 2))
    if float(chosen.norm()) > 0.1 * float(mean.norm()):
        assert float((d - mean - radius * chosen / chosen.norm()).norm()) <= 0.05 * float(radius)

    expected = torch.stack([naive_projection(row, rows) for row in rows]).mean(dim=0)
    assert float((combined(rule("upgrad"), rows) - expected).norm()) <= 1e-7 * float(rows.norm())


def test_pcgrad_follows_the_algorithm_in_the_drawn_orders() -> None:
    rows = problem(2, teachers=4)
    drawn = {round(float(combined(rule("pcgrad"), rows, seed)[0]), 9) for seed in range(20)}
    assert len(drawn) > 1, "these gradients do not show the order"
    before = torch.get_rng_state()
    again = combined(rule("pcgrad"), rows, 3)
    assert torch.equal(again, combined(rule("pcgrad"), rows, 3))
    assert torch.equal(before, torch.get_rng_state())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        orders = [torch.randperm(4).tolist() for _ in range(4)]
    torch.testing.assert_close(again, naive_pcgrad(rows, orders) / 4)


def test_mgda_of_two_teachers_is_the_foot_of_the_perpendicular() -> None:
    for seed in range(20):
        first, second = problem(seed, teachers=2)
        apart = second - first
        along = float(((-first @ apart) / (apart @ apart)).clamp(0.0, 1.0))
        found = combined(rule("mgda"), torch.stack([first, second]))
        torch.testing.assert_close(found, first + along * apart)


@pytest.mark.parametrize("name", METHODS)
def test_one_teacher_gives_its_gradient(name: str) -> None:
    row = problem(1, teachers=1)
    factor = 1.5 if name == "cagrad" else 1.0
    torch.testing.assert_close(combined(rule(name), row), factor * row[0], rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("name", METHODS)
def test_equal_gradients(name: str) -> None:
    row = problem(3, teachers=1)
    rows = row.expand(4, 2)
    factor = {"cagrad": 1.5}.get(name, 1.0)
    torch.testing.assert_close(combined(rule(name), rows), factor * row[0], rtol=1e-6, atol=0.0)
    summed = rule("pcgrad", divide_by_teachers=False)
    torch.testing.assert_close(combined(summed, rows), 4 * row[0])


def test_without_conflict_pcgrad_is_the_sum_and_upgrad_the_mean() -> None:
    rows = problem(5).abs()
    torch.testing.assert_close(combined(rule("pcgrad", divide_by_teachers=False), rows), rows.sum(dim=0))
    torch.testing.assert_close(combined(rule("pcgrad"), rows), rows.mean(dim=0))
    torch.testing.assert_close(combined(rule("upgrad"), rows), rows.mean(dim=0))


def test_cagrad_without_radius_is_the_mean_and_rescaling_divides() -> None:
    rows = problem(4)
    torch.testing.assert_close(combined(rule("cagrad", c=0.0), rows), rows.mean(dim=0))
    plain, smaller = (combined(rule("cagrad", rescale=r), rows) for r in (False, True))
    torch.testing.assert_close(smaller, plain / 1.25)


def test_the_librarys_example() -> None:
    rows = torch.tensor([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]], dtype=torch.float64)
    found = combined(rule("upgrad"), rows)
    torch.testing.assert_close(found, found.new_tensor([0.2929, 1.9004, 1.9004]), rtol=0.0, atol=1e-3)
    exact = found.new_tensor([-10 / 19 + 10 / 9, 30 / 19 + 20 / 9, 30 / 19 + 20 / 9]) / 2
    torch.testing.assert_close(found, exact)


@pytest.mark.parametrize("name", ["mgda", "upgrad"])
def test_no_teacher_is_made_worse(name: str) -> None:
    tolerance = 1e-2 if name == "mgda" else 1e-9
    for seed in range(30):
        rows = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert float((rows @ combined(rule(name), rows)).min()) >= -tolerance * float(rows.norm() ** 2), seed


def test_conflicts() -> None:
    gradients = [[torch.tensor([1.0, 0.0])], [torch.tensor([0.0, 2.0])], [torch.tensor([-3.0, 3.0])]]
    helper = module("_teacher_gradients")
    products = helper.inner_products(gradients)
    assert products.tolist() == [[1.0, 0.0, -3.0], [0.0, 4.0, 6.0], [-3.0, 6.0, 18.0]]
    found = helper.conflicts(products)
    assert found["conflict_share"] == pytest.approx(1 / 3)
    assert found["smallest_gradient_cosine"] == pytest.approx(-(0.5**0.5))
    assert helper.conflicts(products[:1, :1]) == {}


# ------------------------------------------------------------------------------------- through the real loop


@dataclass(frozen=True)
class MeanRule:
    """The mean of the gradients, in which form a rule must give uniform weighting."""

    def weights(self, gramian: Tensor, seed: int) -> Tensor:
        return torch.full((len(gramian),), 1.0 / len(gramian), dtype=gramian.dtype)


def train_by(folder: Path, directory: Path, questions: Sequence[Question], run: Any, found: Any) -> Trained:
    """A training by per-teacher gradients under any rule."""
    import pandas as pd

    student = load_student(str(folder), dtype="float32", device="cpu")
    attach_lora(student, run.lora, seed=5)
    start = {n: p.detach().clone() for n, p in student.model.named_parameters() if p.requires_grad}
    logs: list[dict[str, Any]] = []
    context = RunContext(directory, run, seed=7, log=lambda metrics: logs.append(dict(metrics)))
    objective = module("_teacher_gradients").TeacherGradients(run.train, found, 1)
    assert isinstance(objective, CombinesGradients)
    report = train(student, questions, objective, context)
    return Trained(student, report, pd.read_parquet(directory / "steps.parquet"), logs, start)


@pytest.mark.parametrize(
    ("lora", "changes"),
    [
        (True, {}),
        (False, {"learning_rate": 5e-4}),
        (True, {"layout": "padded", "kernels": "plain", "head": "recomputed"}),
        (True, {"gradient_checkpointing": True}),
    ],
    ids=["lora", "full", "plain", "recomputed"],
)
def test_the_mean_of_gradients_is_uniform(
    student_folder: Folders, tmp_path: Path, lora: bool, changes: dict[str, Any]
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=3)
    run = settings(lora=lora, questions_per_step=2, accumulation=2, **changes)
    mean = train_by(folder, tmp_path / "mean", questions, run, MeanRule())
    uniform = train_tiny(folder, tmp_path / "uniform", questions, run, "uniform")
    same_training(mean, uniform)
    same_tables(replace(mean, steps=mean.steps.drop(columns="gradient_weight")), uniform)
    assert list(mean.steps["gradient_weight"]) == pytest.approx([1 / 3] * len(mean.steps))


@pytest.mark.parametrize("name", METHODS)
def test_one_by_eight_is_eight_by_one(student_folder: Folders, tmp_path: Path, name: str) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(9, teachers=3)
    first, *others = (
        train_tiny(
            folder,
            tmp_path / str(size),
            questions,
            settings(questions_per_step=size, accumulation=accumulation, epochs=1),
            name,
        )
        for size, accumulation in ((1, 8), (8, 1), (2, 4))
    )
    for other in others:
        same_training(first, other)
        same_tables(first, other)


@pytest.mark.parametrize("name", METHODS)
def test_teacher_order_does_not_matter(student_folder: Folders, tmp_path: Path, name: str) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=4)
    turned = tuple(replace(q, rationales=q.rationales[2:] + q.rationales[:2][::-1]) for q in questions)
    one = train_tiny(folder, tmp_path / "one", questions, settings(dropout=0.1), name)
    other = train_tiny(folder, tmp_path / "other", turned, settings(dropout=0.1), name)
    same_training(one, other)
    same_tables(one, other)


@pytest.mark.parametrize("name", METHODS)
def test_a_teacher_without_a_rationale_has_no_gradient(
    student_folder: Folders, tmp_path: Path, name: str
) -> None:
    """Not one of zeros, which MGDA would take for the shortest combination."""
    questions = tuple(replace(q, rationales=q.rationales[:2]) for q in tiny.questions(4, teachers=3))
    one = replace(questions[0], rationales=tiny.questions(4, teachers=3)[0].rationales)
    trained = train_tiny(
        student_folder("llama", "chatml"),
        tmp_path,
        (one, *questions[1:]),
        settings(questions_per_step=1, accumulation=1, epochs=1),
        name,
    )
    assert all(log["gradient_norm"] > 0 for log in trained.logs)
    assert set(trained.steps.groupby("step")["teacher"].count()) == {2, 3}
    assert (trained.steps["gradient_weight"] >= -1e-9).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_pull_apart_is_seen(student_folder: Folders, tmp_path: Path, name: str) -> None:
    trained = train_tiny(
        student_folder("llama", "chatml"), tmp_path, tiny.questions(4, teachers=3), settings(epochs=1), name
    )
    (log,) = trained.logs
    assert 0.0 <= log["conflict_share"] <= 1.0
    assert -1.0 <= log["smallest_gradient_cosine"] <= 1.0
    by_teacher = trained.steps.groupby("teacher")["gradient_weight"].first()
    assert by_teacher.sum() == pytest.approx(log["gradient_weights_sum"])


def test_gradients_that_are_not_finite_are_named(student_folder: Folders) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    objective = module("_teacher_gradients").TeacherGradients(settings().train, rule("upgrad"), 1)
    parameters = [p for p in student.model.parameters() if p.requires_grad]
    objective.begin_step(4, 9)
    found: StepLoss = objective.loss(student, [objective.encode(student, tiny.question("books", 2))])
    objective.add_gradients(found, float("inf"), parameters)
    with pytest.raises(NumericalError, match=r"step 5: expected finite inner products .* ada, bob"):
        objective.combine_gradients(parameters)
