"""Liger's kernels by option: refused with a reason, checked before the first step, gone afterwards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compact_bench.core.errors import ConfigError, NumericalError
from compact_bench.core.settings import LoraSettings, TrainSettings
from compact_bench.methods.compact.objective import PaperObjective, WeightingConfig
from compact_bench.students.compute import kernels
from compact_bench.students.compute.kernels import fast_step
from compact_bench.students.student import Student, attach_lora, load_student
from tests import tiny

Folders = Callable[..., Path]
LIGER = TrainSettings(kernels="liger", dtype="float32")


@pytest.fixture
def student(student_folder: Folders) -> Student:
    found = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    attach_lora(found, LoraSettings(rank=4, alpha=8.0, dropout=0.0), seed=1)
    found.model.train()
    return found


def sample(student: Student) -> Callable[[], Tensor]:
    objective = PaperObjective.for_student(student, WeightingConfig(), TrainSettings())
    encoded = objective.encode(student, tiny.question("books", 3))
    return lambda: objective.loss(student, [encoded]).loss


class OnGpu:
    """A student that says it is on a GPU, so that what comes after that question can be tested."""

    def __init__(self, student: Student) -> None:
        self._student = student
        self.device = torch.device("cuda")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._student, name)


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Stands for the package: norms that are right, or wrong by a factor."""

    def install(factor: float) -> None:
        def apply(model: Any, **options: bool) -> None:
            assert options == {"rope": False, "cross_entropy": False, "fused_linear_cross_entropy": False}
            family = sys.modules[type(model).__module__]
            monkeypatch.setattr(family, "LlamaRMSNorm", nn.Identity)
            for layer in model.model.layers:
                norm = layer.input_layernorm
                usual = type(norm).forward
                norm.mode = None
                norm.forward = lambda x, n=norm, u=usual: u(n, x) * factor

        package, module = ModuleType("liger_kernel"), ModuleType("liger_kernel.transformers")
        module._apply_liger_kernel_to_instance = apply  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "liger_kernel", package)
        monkeypatch.setitem(sys.modules, "liger_kernel.transformers", module)

    yield install


def enter(student: Any, loss: Callable[[], Tensor]) -> Any:
    return kernels._liger(student, loss)


def test_it_needs_a_gpu(student: Student) -> None:
    with (
        pytest.raises(ConfigError, match="expected a GPU, got cpu"),
        fast_step(student, LIGER, sample(student)),
    ):
        pass


def test_it_needs_the_package(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", None)
    with pytest.raises(ConfigError, match="pip install liger-kernel"), enter(OnGpu(student), sample(student)):
        pass


def test_right_kernels_are_used_and_gone_afterwards(student: Student, liger: Callable[[float], None]) -> None:
    liger(1.0)
    loss = sample(student)
    before = [set(vars(module)) for module in student.model.modules()]
    from transformers.models.llama import modeling_llama

    norm = modeling_llama.LlamaRMSNorm
    with enter(OnGpu(student), loss):
        inside = [set(vars(module)) for module in student.model.modules()]
        assert inside != before
        assert student.model.training
    assert [set(vars(module)) for module in student.model.modules()] == before
    assert modeling_llama.LlamaRMSNorm is norm


def test_wrong_kernels_are_refused(student: Student, liger: Callable[[float], None]) -> None:
    liger(1.1)
    before = [set(vars(module)) for module in student.model.modules()]
    with (
        pytest.raises(NumericalError, match="the kernels give a loss of"),
        enter(OnGpu(student), sample(student)),
    ):
        pass
    assert [set(vars(module)) for module in student.model.modules()] == before


def test_a_wrong_gradient_is_refused(student: Student) -> None:
    loss = sample(student)

    class WrongBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> Tensor:
            return grads[0] * 1.01

    wrong = False

    def sampled() -> Tensor:
        run: Any = WrongBackward.apply
        return run(loss()) if wrong else loss()

    def put_in_place() -> None:
        nonlocal wrong
        wrong = True

    with pytest.raises(NumericalError, match="the gradient of"):
        kernels.check_kernels(student, sampled, put_in_place)


def test_a_family_that_liger_does_not_know(
    student: Student, liger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    liger(1.0)
    monkeypatch.setattr(
        sys.modules["liger_kernel.transformers"],
        "_apply_liger_kernel_to_instance",
        lambda model, **options: None,
    )
    with (
        pytest.raises(ConfigError, match="has none for 'llama' models"),
        enter(OnGpu(student), sample(student)),
    ):
        pass
