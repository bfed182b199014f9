"""How far the weights moved, relative to where they started."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from compact_bench.core.errors import NumericalError, StudentError
from compact_bench.evaluation.probes.registry import Measure, Probe

if TYPE_CHECKING:
    from torch import Tensor, nn

_CHUNK = 1 << 22  # values held in float64 at once


def weight_change(base_model: nn.Module, model: nn.Module) -> float:
    """Relative Frobenius change over all weights together: ||theta - theta_0|| / ||theta_0||.

    Args:
        base_model: the network before distillation.
        model: the network after it, adapters merged.

    Returns:
        The ratio, without unit; 0 where nothing moved. Weights shared by two modules count once.

    Raises:
        StudentError: the two have different parameters; every difference is listed.
        NumericalError: a weight is not finite.
    """
    before, after = dict(base_model.named_parameters()), dict(model.named_parameters())
    problems = [f"{name} is only in the base" for name in before.keys() - after.keys()]
    problems += [f"{name} is only in the student" for name in after.keys() - before.keys()]
    problems += [
        f"{name} has shape {tuple(after[name].shape)}, the base's has {tuple(before[name].shape)}"
        for name in before.keys() & after.keys()
        if before[name].shape != after[name].shape
    ]
    if problems:
        shown = "; ".join(sorted(problems)[:10]) + ("; ..." if len(problems) > 10 else "")
        raise StudentError(
            f"weight change: expected the same parameters in base and student, got {len(problems)} "
            f"difference(s): {shown}. Merge the adapters first, and compare a student with its own base."
        )
    moved = sum(_squared_distance(after[name], before[name]) for name in before)
    size = sum(_squared_distance(before[name], None) for name in before)
    if not (math.isfinite(moved) and math.isfinite(size) and size > 0.0):
        raise NumericalError(
            f"weight change: expected finite weights that are not all zero, got squared norms {moved} "
            f"(change) and {size} (base); the training has probably diverged"
        )
    return math.sqrt(moved / size)


def _squared_distance(a: Tensor, b: Tensor | None) -> float:
    import torch

    with torch.no_grad():
        total = 0.0
        parts = torch.split(a.detach().reshape(-1), _CHUNK)
        others = torch.split(b.detach().reshape(-1), _CHUNK) if b is not None else (None,) * len(parts)
        for x, y in zip(parts, others, strict=True):
            difference = x.double() if y is None else x.double() - y.to(x.device).double()
            total += float(difference.square().sum())
        return total


WEIGHT_CHANGE = Probe(
    lambda given: weight_change(given.base.model, given.student.model),
    (Measure("weight_change", "Relative weight change", "weight_change", unit="ratio"),),
)
