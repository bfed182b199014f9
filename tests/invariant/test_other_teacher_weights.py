"""AE-KD and CA-MKD: their formulas, and the trainings that they must equal at the ends of their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compact_bench.core.records import Rationale
from compact_bench.methods.contract import SuiteInfo, refusal
from compact_bench.methods.registry import get_method, make_method
from tests import tiny
from tests.invariant.support import same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]


def module(name: str) -> Any:
    """A method's module, as the registry loads it."""
    get_method(name)
    return __import__(f"compact_bench_methods.{name}", fromlist=[name])


def gramian(seed: int, teachers: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(teachers, 6, generator=generator, dtype=torch.float64)
    products = rows @ rows.T
    return products / products.diagonal().mean()


def best_on_a_grid(products: Tensor, largest: float, parts: int = 60) -> float:
    """Least a'Ga over a grid of three weights that sum to 1 and are at most `largest`."""
    best = float("inf")
    for i in range(parts + 1):
        for j in range(parts + 1 - i):
            a = torch.tensor([i, j, parts - i - j], dtype=torch.float64) / parts
            if float(a.max()) <= largest + 1e-12:
                best = min(best, float(a @ products @ a))
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("largest", [0.4, 0.6, 1.0])
def test_ae_kd_finds_the_least_norm_within_the_bound(seed: int, largest: float) -> None:
    products = gramian(seed, 3)
    weights = module("ae_kd").AEKDRule(largest).weights(products, 0)
    assert float(weights.sum()) == pytest.approx(1.0)
    assert float(weights.min()) >= 0.0
    assert float(weights.max()) <= largest + 1e-9
    assert float(weights @ products @ weights) <= best_on_a_grid(products, largest) + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_ae_kd_without_a_bound_is_mgda(seed: int) -> None:
    products = gramian(seed, 4)
    ours = module("ae_kd").AEKDRule(1.0).weights(products, 0)
    mgda = module("mgda").MGDARule(1e-6, 5000).weights(products, 0)
    least, near = float(ours @ products @ ours), float(mgda @ products @ mgda)
    # The Frank-Wolfe solver of MGDA comes near the minimum slowly, and never below it.
    assert least <= near + 1e-9
    assert near == pytest.approx(least, rel=1e-2, abs=1e-6)


def test_ae_kd_with_the_smallest_bound_is_uniform(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(8, teachers=3)
    bounded = train_tiny(folder, tmp_path / "a", questions, settings(), "ae_kd", {"largest_weight": 0.3})
    uniform = train_tiny(folder, tmp_path / "u", questions, settings(), "uniform")
    same_training(bounded, uniform)
    free = train_tiny(folder, tmp_path / "f", questions, settings(), "ae_kd", {"largest_weight": 1.0})
    assert set(bounded.steps["gradient_weight"].round(6)) == {round(1 / 3, 6)}
    assert float(free.steps["gradient_weight"].std()) > 0.01


def test_ca_mkd_weighs_by_the_loss() -> None:
    weigh = module("ca_mkd").confidence_weights
    nats = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    exps = [2.718281828459045**n for n in nats.tolist()]
    expected = [(1 - e / sum(exps)) / 2 for e in exps]
    assert weigh(nats).tolist() == pytest.approx(expected)
    assert float(weigh(nats).sum()) == pytest.approx(1.0)
    assert weigh(torch.ones(4)).tolist() == pytest.approx([0.25] * 4)
    assert refusal(make_method("ca_mkd"), SuiteInfo("one", ("ada",))) is not None


def test_ca_mkd_with_teachers_who_say_the_same_is_uniform(student_folder: Folders, tmp_path: Path) -> None:
    folder = student_folder("llama", "chatml")
    same = tuple(
        replace(q, rationales=tuple(Rationale(t, q.rationales[0].text) for t in ("ada", "bob", "cyd")))
        for q in tiny.questions(6, teachers=1)
    )
    weighed = train_tiny(folder, tmp_path / "w", same, settings(), "ca_mkd")
    uniform = train_tiny(folder, tmp_path / "u", same, settings(), "uniform")
    same_training(weighed, uniform)
    same_tables(weighed, uniform)


def test_ca_mkd_prefers_the_teacher_whose_text_helps(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(8, teachers=4)
    trained = train_tiny(folder, tmp_path, questions, settings(), "ca_mkd")
    sums = trained.steps.groupby(["step", "question_id"])["teacher_weight"].sum()
    assert list(sums) == pytest.approx([1.0] * len(sums))
    spread = trained.steps.groupby("question_id")["teacher_weight"].std()
    assert float(spread.min()) > 0
    # Weights are fixed before training, so that a question has the same in every epoch.
    per_teacher = trained.steps.groupby(["question_id", "teacher"])["teacher_weight"].nunique()
    assert set(per_teacher) == {1}
