"""The released code's consistency term: whole rows against each other, piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from compact_bench.students.student import Student
from compact_bench.training.loss.terms import symmetric_kl

SMALLEST_PAIR_WEIGHT = 1e-4
"""Pairs of teachers whose weights' product is below this take no part in the consistency term."""

_PIECE_BYTES = 192 * 2**20


@dataclass(frozen=True)
class _Pair:
    """Two rows, the positions where both are unpadded, and what a position's divergence counts."""

    first: int
    second: int
    both: int
    factor: float


def row_consistency(
    student: Student, hidden: Tensor, lengths: Sequence[int], shared: int, weights: Tensor
) -> Tensor:
    """Weighted symmetric KL of all pairs, each averaged over the positions where both rows are unpadded.

    Args:
        student: for its head.
        hidden: Float[Tensor, "teachers tokens hidden"], right-padded rows.
        lengths: unpadded tokens per row.
        shared: at positions before this one all rows have the same state, so that they differ by nothing.
        weights: Float[Tensor, "teachers"], without gradient.

    Returns:
        Scalar.

    Source: released code; Eq. 9 has the answer span alone.
    """
    pairs = _pairs(lengths, weights)
    stop = max((pair.both for pair in pairs), default=0)
    if stop <= shared:
        return weights.new_zeros(())
    head = student.layout.head(student.model)
    # Per position: log-probabilities and probabilities of every row, two differences of every pair.
    width = head.weight.shape[0] * max(4, head.weight.element_size()) * 2 * (len(lengths) + len(pairs))
    step = max(1, _PIECE_BYTES // width)
    if torch.is_grad_enabled() and not any(p.requires_grad for p in head.parameters()):
        return _with_gradient_beside(student, hidden, pairs, range(shared, stop, step))
    total = weights.new_zeros(())
    for start in range(shared, stop, step):
        piece = hidden[:, start : start + step]
        total = total + checkpoint(_divergence, student, piece, start, pairs, use_reentrant=False)
    return total


def _pairs(lengths: Sequence[int], weights: Tensor) -> list[_Pair]:
    pairs = []
    for k in range(len(lengths)):
        for j in range(k + 1, len(lengths)):
            product = float(weights[k] * weights[j])
            both = min(lengths[k], lengths[j])
            if product >= SMALLEST_PAIR_WEIGHT:
                pairs.append(_Pair(k, j, both, product / both))
    return pairs


def _with_gradient_beside(student: Student, hidden: Tensor, pairs: Sequence[_Pair], starts: range) -> Tensor:
    """The term with its gradient by the hidden states, so that no logits wait for the backward pass."""
    gradient, total = torch.zeros_like(hidden), 0.0
    for start in starts:
        places = slice(start, start + starts.step)
        with torch.enable_grad():
            piece = hidden[:, places].detach().requires_grad_()
            term = _divergence(student, piece, start, pairs)
        gradient[:, places] = torch.autograd.grad(term, piece)[0]
        total += float(term.detach())
    # Worth nothing, but with the derivative that was found.
    carrier = (hidden * gradient).sum()
    return carrier - carrier.detach() + total


def _divergence(student: Student, hidden: Tensor, start: int, pairs: Sequence[_Pair]) -> Tensor:
    """Weighted sum over the positions of one piece, which begins at position `start`."""
    log_probs = torch.log_softmax(student.layout.logits(student.model, hidden), dim=-1)
    total = log_probs.new_zeros(())
    for pair in pairs:
        count = max(pair.both - start, 0)
        if count:
            divergence = symmetric_kl(log_probs[pair.first, :count], log_probs[pair.second, :count])
            total = total + pair.factor * divergence.sum()
    return total
