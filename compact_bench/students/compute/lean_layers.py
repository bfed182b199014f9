"""Layers with fewer passes over memory, which keep less for the backward pass; for CPUs.

transformers and peft write a layer as a chain of small operations. On a CPU each is a walk through memory,
and most keep what they read: adapters a scaled copy, dropout a mask of floats, a gated layer its product.
Here one function stands for each chain, with its derivative written out.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import silu

# Norms that are weight * x / sqrt(mean(x^2) + eps), computed in float32.
_NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "Phi3RMSNorm"}
_SILU = {"SiLU", "SiLUActivation"}
_CHOICES = 2**16
# A norm's output carries what it was made of here, for the layer that reads it.
_MADE_OF = "_compact_bench_made_of"


def _keep_mask(x: Tensor, dropout: float) -> tuple[Tensor | None, float]:
    """Which numbers dropout keeps, a boolean tensor or None for all, and what those are multiplied by.

    Four decisions come out of one random number, several times faster than `bernoulli_`; the probability is
    rounded to 1/65536, and the factor is that of the rounded one.
    """
    dropped = round(dropout * _CHOICES)
    if not dropped:
        return None, 1.0
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    # As a signed number a decision is one of 65536, `dropped` of which lie below this border.
    mask = bits.view(torch.int16)[: x.numel()] >= dropped - _CHOICES // 2
    return mask.view(x.shape), _CHOICES / (_CHOICES - dropped)


def _dropped(x: Tensor, mask: Tensor | None) -> Tensor:
    """Without dropout's factor, which the adapter's scale takes along."""
    return x if mask is None else x * mask


def _forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float, dropout: float
) -> tuple[Tensor, Tensor, Tensor | None, float]:
    """x W' + bias + scale * drop(x) A' B', and what its derivative needs: x A', the mask, the whole scale."""
    mask, factor = _keep_mask(x, dropout)
    inner = _dropped(x, mask).mm(a.t())
    y = x.mm(weight.t()) if bias is None else torch.addmm(bias, x, weight.t())
    return y.addmm_(inner, b.t(), alpha=scale * factor), inner, mask, scale * factor


def _backward(
    ctx: Any,
    grad: Tensor,
    x: Tensor,
    saved: tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None],
    needs_x: bool,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Derivatives by x, A and B."""
    weight, a, b, inner, mask = saved
    inner_grad = grad.mm(b).mul_(ctx.scale)
    a_grad = inner_grad.t().mm(_dropped(x, mask))
    b_grad = grad.t().mm(inner).mul_(ctx.scale)
    if not needs_x:
        return None, a_grad, b_grad
    x_grad = grad.mm(weight)
    if mask is None:
        x_grad.addmm_(inner_grad, a)
    else:
        x_grad.add_(inner_grad.mm(a).mul_(mask))
    return x_grad, a_grad, b_grad


class _AdaptedLinear(torch.autograd.Function):
    """Of a norm's output only what it was made of is kept, which the norm keeps anyway."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        normed: tuple[Tensor, Tensor, Tensor] | None,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
        dropout: float,
    ) -> Tensor:
        y, inner, mask, ctx.scale = _forward(x, weight, bias, a, b, scale, dropout)
        ctx.save_for_backward(*(normed or (x, None, None)), weight, a, b, inner, mask)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, norm_weight, inverse, *saved = ctx.saved_tensors
        if inverse is not None:
            x = _normed(x, norm_weight, inverse).view(len(grads[0]), -1)
        x_grad, a_grad, b_grad = _backward(ctx, grads[0], x, tuple(saved), ctx.needs_input_grad[0])
        return x_grad, None, None, None, a_grad, b_grad, None, None


class _GatedAdaptedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        gate: Tensor,
        up: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
        dropout: float,
    ) -> Tensor:
        y, inner, mask, ctx.scale = _forward(silu(gate).mul_(up), weight, bias, a, b, scale, dropout)
        ctx.save_for_backward(gate, up, weight, a, b, inner, mask)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        # Once only: recomputed activations are handed out a single time.
        gate, up, *saved = ctx.saved_tensors
        activated = silu(gate)
        x_grad, a_grad, b_grad = _backward(ctx, grads[0], activated * up, tuple(saved), needs_x=True)
        assert x_grad is not None
        up_grad = activated.mul_(x_grad)
        gate_grad = torch.ops.aten.silu_backward(x_grad.mul_(up), gate)
        return gate_grad, up_grad, None, None, a_grad, b_grad, None, None


def _normed(x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
    scaled: Tensor = x * inverse
    return scaled.mul_(weight)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, inverse)
        return _normed(x, weight, inverse)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        weight_grad = None
        if ctx.needs_input_grad[1]:
            weight_grad = (grads[0] * x).mul_(inverse).flatten(0, -2).sum(dim=0)
        if not ctx.needs_input_grad[0]:
            return None, weight_grad, None
        x_grad = grads[0] * weight
        along = torch.linalg.vecdot(x_grad, x)[..., None]
        along = along.mul_(inverse.pow(3)).div_(-x.shape[-1])
        return x_grad.mul_(inverse).addcmul_(x, along), weight_grad, None


def adapted_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float, dropout: float
) -> Tensor:
    """A frozen linear layer with a low-rank adapter: x W' + bias + scale * drop(x) A' B'.

    Args:
        x: Float[Tensor, "... in"].
        weight: Float[Tensor, "out in"], without gradient.
        bias: Float[Tensor, "out"], without gradient, or None.
        a: Float[Tensor, "rank in"].
        b: Float[Tensor, "out rank"].
        dropout: probability that an input of the adapter is dropped.

    Returns:
        Float[Tensor, "... out"].
    """
    run: Any = _AdaptedLinear.apply  # torch leaves it untyped
    normed = getattr(x, _MADE_OF, None)
    y: Tensor = run(x.reshape(-1, x.shape[-1]), normed, weight, bias, a, b, scale, dropout)
    return y.view(*x.shape[:-1], -1)


def gated_adapted_linear(
    gate: Tensor,
    up: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    a: Tensor,
    b: Tensor,
    scale: float,
    dropout: float,
) -> Tensor:
    """`adapted_linear` of silu(gate) * up, which is computed again in the backward pass and not kept."""
    run: Any = _GatedAdaptedLinear.apply
    flat = gate.reshape(-1, gate.shape[-1]), up.reshape(-1, up.shape[-1])
    y: Tensor = run(*flat, weight, bias, a, b, scale, dropout)
    return y.view(*gate.shape[:-1], -1)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """weight * x / sqrt(mean(x^2) + epsilon), over the last axis of Float[Tensor, "... hidden"]."""
    with torch.no_grad():
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = length.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
    run: Any = _RMSNorm.apply
    y: Tensor = run(x, weight, inverse)
    setattr(y, _MADE_OF, (x.detach(), weight.detach(), inverse))
    return y


def _adapter(module: nn.Module) -> tuple[Tensor, Tensor | None, Tensor, Tensor, float, float] | None:
    """What `adapted_linear` takes of a peft layer, or None where the layer is more than that now."""
    from peft.tuners.lora.layer import Linear

    if not isinstance(module, Linear) or module.disable_adapters or module.merged:
        return None
    base, names = module.base_layer, list(module.active_adapters)
    if type(base) is not nn.Linear or base.weight.requires_grad or len(names) != 1:
        return None
    name = names[0]
    if name not in module.lora_A or name in module.lora_variant or module.lora_bias.get(name):
        return None
    a: Any = module.lora_A[name].weight
    b: Any = module.lora_B[name].weight
    if base.weight.dtype != a.dtype or base.weight.dtype not in (torch.float32, torch.float64):
        return None
    drop = module.lora_dropout[name]
    dropout = drop.p if isinstance(drop, nn.Dropout) and module.training else 0.0
    return base.weight, base.bias, a, b, float(module.scaling[name]), float(dropout)


def _plain(x: Tensor) -> bool:
    """Whether numbers are computed in their own type, and a derivative is wanted."""
    return torch.is_grad_enabled() and not torch.is_autocast_enabled(x.device.type)


def _lean_linear(module: Any) -> Any:
    usual = module.forward

    def forward(x: Tensor, *args: Any, **options: Any) -> Tensor:
        parts = _adapter(module) if _plain(x) and not args and not options else None
        y: Tensor = adapted_linear(x, *parts) if parts is not None else usual(x, *args, **options)
        return y

    return forward


def _lean_norm(module: Any) -> Any:
    usual = module.forward

    def forward(x: Tensor) -> Tensor:
        same = _plain(x) and x.dtype == module.weight.dtype
        y: Tensor = rms_norm(x, module.weight, module.variance_epsilon) if same else usual(x)
        return y

    return forward


def _lean_gated(module: Any) -> Any:
    usual = module.forward

    def forward(x: Tensor) -> Tensor:
        parts = _adapter(module.down_proj) if _plain(x) else None
        y: Tensor = (
            gated_adapted_linear(module.gate_proj(x), module.up_proj(x), *parts)
            if parts is not None
            else usual(x)
        )
        return y

    return forward


def _is_gated(module: nn.Module) -> bool:
    from transformers.models.llama.modeling_llama import LlamaMLP

    parts = {name for name, _ in module.named_children()}
    activation = type(getattr(module, "act_fn", None)).__name__
    if parts != {"gate_proj", "up_proj", "down_proj", "act_fn"} or activation not in _SILU:
        return False
    # The same parts may be put together otherwise: Falcon-H1 multiplies the gate and the result.
    return _compiled(type(module)) == _compiled(LlamaMLP)


def _compiled(layer: type[nn.Module]) -> tuple[bytes, tuple[str, ...]]:
    code = inspect.unwrap(layer.forward).__code__
    return code.co_code, code.co_names


@contextmanager
def lean_layers(model: nn.Module) -> Iterator[int]:
    """Lean layers in the place of those that they can stand for, inside.

    Yields:
        How many layers were replaced.
    """
    from peft.tuners.lora.layer import Linear

    replaced: list[nn.Module] = []
    for module in model.modules():
        lean: Any = None
        if isinstance(module, Linear):
            lean = _lean_linear(module)
        elif type(module).__name__ in _NORMS:
            lean = _lean_norm(module)
        elif _is_gated(module):
            lean = _lean_gated(module)
        if lean is not None:
            module.forward = lean
            replaced.append(module)
    try:
        yield len(replaced)
    finally:
        for module in replaced:
            del module.forward
