"""The lean layers against the chains of operations they stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu

from compact_bench.core.settings import LoraSettings
from compact_bench.students.compute.lean_layers import (
    _is_gated,
    _keep_mask,
    adapted_linear,
    gated_adapted_linear,
    lean_layers,
    rms_norm,
)
from compact_bench.students.student import Student, attach_lora, load_student

Folders = Callable[..., Path]


def numbers(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def same_derivatives(got: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(got, expected)
    weights = numbers(*got.shape, seed=9).detach()
    ours = torch.autograd.grad((got * weights).sum(), inputs)
    theirs = torch.autograd.grad((expected * weights).sum(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("biased", [False, True])
def test_adapted_linear(biased: bool) -> None:
    x, a, b = numbers(2, 7, 6), numbers(3, 6, seed=2), numbers(5, 3, seed=3)
    weight = numbers(5, 6, seed=4).detach()
    bias = numbers(5, seed=5).detach() if biased else None
    expected = torch.nn.functional.linear(x, weight, bias) + (x @ a.T @ b.T) * 0.7
    same_derivatives(adapted_linear(x, weight, bias, a, b, 0.7, 0.0), expected, [x, a, b])


def test_gated_adapted_linear() -> None:
    gate, up, a, b = numbers(4, 6), numbers(4, 6, seed=6), numbers(3, 6, seed=2), numbers(5, 3, seed=3)
    weight = numbers(5, 6, seed=4).detach()
    x = silu(gate) * up
    expected = x @ weight.T + (x @ a.T @ b.T) * 2.0
    got = gated_adapted_linear(gate, up, weight, None, a, b, 2.0, 0.0)
    same_derivatives(got, expected, [gate, up, a, b])


def test_rms_norm() -> None:
    x, weight = numbers(3, 4, 8), numbers(8, seed=2)
    expected = weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3)
    same_derivatives(rms_norm(x, weight, 1e-3), expected, [x, weight])


def test_dropout_keeps_the_share_it_should() -> None:
    torch.manual_seed(3)
    mask, factor = _keep_mask(torch.empty(1000, 401), 0.1)
    assert mask is not None and mask.shape == (1000, 401)
    kept = float(mask.float().mean())
    # Four standard deviations of a share of 401,000 decisions.
    assert kept == pytest.approx(0.9, abs=4 * (0.09 / 401_000) ** 0.5)
    assert factor == pytest.approx(1 / 0.9, rel=1e-4)
    columns = mask.float().mean(dim=0)
    assert float(columns.std()) == pytest.approx((0.09 / 1000) ** 0.5, rel=0.2)


def test_dropout_of_the_adapter_is_the_masked_chain() -> None:
    x, a, b = numbers(5, 6), numbers(3, 6, seed=2), numbers(4, 3, seed=3)
    weight = numbers(4, 6, seed=4).detach()
    torch.manual_seed(8)
    mask, factor = _keep_mask(x, 0.4)
    assert mask is not None and not bool(mask.all())
    expected = x @ weight.T + (x * mask * factor) @ a.T @ b.T * 0.5
    torch.manual_seed(8)
    same_derivatives(adapted_linear(x, weight, None, a, b, 0.5, 0.4), expected, [x, a, b])


def gradients(student: Student) -> tuple[Tensor, dict[str, Tensor]]:
    student.model.zero_grad(set_to_none=True)
    ids = torch.arange(3, 40)[None]
    hidden = student.layout.backbone(student.model)(input_ids=ids).last_hidden_state
    loss = hidden.pow(2).mean()
    torch.autograd.backward(loss)
    found = {n: p.grad for n, p in student.model.named_parameters() if p.grad is not None}
    return loss.detach(), found


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "phi", "phi3"])
def test_layers_of_real_families(student_folder: Folders, kind: str, lora: bool) -> None:
    student = load_student(str(student_folder(kind, "chatml")), dtype="float64", device="cpu")
    attach_lora(student, LoraSettings(enabled=lora, rank=4, alpha=8.0, dropout=0.0), seed=1)
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    student.model.train()
    before = [dict(vars(module)) for module in student.model.modules()]
    expected, theirs = gradients(student)
    with lean_layers(student.model) as replaced:
        got, ours = gradients(student)
    assert replaced > 0 or (kind == "phi" and not lora)
    # transformers' norms compute in float32 whatever they are given, ours in the numbers' own type.
    near = {"rtol": 1e-4, "atol": 1e-6}
    torch.testing.assert_close(got, expected, **near)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], msg=lambda m, n=name: f"{n}: {m}", **near)
    after = [dict(vars(module)) for module in student.model.modules()]
    assert [vars_.keys() for vars_ in after] == [vars_.keys() for vars_ in before]


def test_a_gated_layer_that_is_put_together_otherwise_stays_as_it_is() -> None:
    from transformers import FalconH1Config, Qwen2Config
    from transformers.models.falcon_h1.modeling_falcon_h1 import FalconH1MLP
    from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP

    falcon = FalconH1Config(hidden_size=8, intermediate_size=12, mlp_multipliers=[0.5, 2.0])
    assert not _is_gated(FalconH1MLP(falcon))
    assert _is_gated(Qwen2MLP(Qwen2Config(hidden_size=8, intermediate_size=12)))
