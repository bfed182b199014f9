"""Weights wide enough that no update is lost: what trains, is merged, averaged and evaluated is float32.

bfloat16 keeps 8 bits of a number. An update smaller than 1/256 of its weight rounds to nothing there, and a
merged adapter is such an update almost everywhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def is_narrow(dtype: torch.dtype) -> bool:
    """Whether a floating-point type has fewer bits than float32."""
    return dtype.is_floating_point and torch.finfo(dtype).bits < 32


def widen_weights(model: nn.Module) -> None:
    """Hold every weight of a model in float32, or in the wider type it has, in place; nothing rounds."""
    for tensor in (*model.parameters(), *model.buffers()):
        if is_narrow(tensor.dtype):
            tensor.data = tensor.data.float()


def in_float32(module: nn.Module, x: Tensor) -> Tensor:
    """What a layer gives when it computes in float32, or in the wider type of its weights; they stay as they
    are.
    """
    weights: Any = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    narrow = {name: t.float() for name, t in weights.items() if is_narrow(t.dtype)}
    known = [t.dtype for t in weights.values() if t.dtype.is_floating_point and not is_narrow(t.dtype)]
    x = x.to(known[0] if known else torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        y: Tensor = functional_call(module, narrow, (x,)) if narrow else module(x)
    return y
