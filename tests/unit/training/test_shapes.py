"""The shapes that the score and loss functions promise, checked by beartype through jaxtyping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from compact_bench.methods.compact import scores
from compact_bench.training.loss import terms as losses

beartype = pytest.importorskip("beartype", reason="beartype comes with the dev extra").beartype
jaxtyping = pytest.importorskip("jaxtyping")

x = torch.rand
ids = torch.tensor([1, 2, 3])

GOOD: list[tuple[Callable[..., Any], tuple[Any, ...], tuple[int, ...]]] = [
    (losses.gold_log_probability, (x(3, 2),), (3,)),
    (scores.gold_mean_logit, (x(4, 3, 8), x(2, 8)), (4, 3)),
    (scores.information_gain, (x(4, 3),), (4, 2)),
    (scores.token_mask, (ids, (2,), 0.1), (3,)),
    (scores.adaptability, (x(4, 3), x(4, 3)), (4,)),
    (scores.consensus_attention, (x(4, 6, 8), x(4, 2, 8)), (4, 4)),
    (scores.released_consensus_attention, (x(4, 6, 8), x(4, 2, 8)), (4, 4)),
    (scores.consensus, (x(4, 4),), (4,)),
    (scores.difficulty, (x(5),), ()),
    (scores.z_score, (x(4),), (4,)),
    (scores.teacher_weights, (x(4), 1.0), (4,)),
    (losses.symmetric_kl, (x(3, 9), x(3, 9)), (3,)),
    (losses.consistency_loss, ([x(3, 9), None, x(3, 9)], x(3)), ()),
]
BAD: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (scores.gold_mean_logit, (x(3, 8), x(2, 7))),
    (scores.adaptability, (x(4, 3), x(4, 2))),
    (scores.token_mask, (x(3), (2,), 0.1)),
    (scores.consensus_attention, (x(4, 6, 8), x(5, 2, 8))),
    (scores.consensus, (x(4, 3),)),
    (scores.difficulty, (x(5, 2),)),
    (losses.symmetric_kl, (x(3, 9), x(3, 8))),
    (losses.token_log_losses, (x(3, 9), torch.tensor([1, 2]))),
]


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    return jaxtyping.jaxtyped(function, typechecker=beartype)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("function", "arguments", "shape"), GOOD, ids=lambda v: getattr(v, "__name__", ""))
def test_promised_shapes_hold(
    function: Callable[..., Any], arguments: tuple[Any, ...], shape: tuple[int, ...]
) -> None:
    assert tuple(checked(function)(*arguments).shape) == shape


@pytest.mark.parametrize(("function", "arguments"), BAD, ids=lambda v: getattr(v, "__name__", ""))
def test_other_shapes_are_caught(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        checked(function)(*arguments)
