"""Losses of branches: supervised (Eq. 8) and the consistency of answer spans (Eq. 9)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedBranch


def token_log_losses(
    logits: Float[Tensor, "tokens vocab"], labels: Int[Tensor, "tokens"]
) -> tuple[Float[Tensor, "tokens"], Float[Tensor, "tokens"]]:
    """Negative log-likelihood of every label, and the normaliser it was computed with.

    Returns:
        Losses Float[Tensor, "tokens"] in nats and log-sum-exp Float[Tensor, "tokens"].

    Source: Eq. 8, before reduction.
    """
    normaliser = torch.logsumexp(logits, dim=-1)
    return normaliser - logits.gather(-1, labels[:, None]).squeeze(-1), normaliser


def symmetric_kl(
    log_p: Float[Tensor, "tokens vocab"], log_q: Float[Tensor, "tokens vocab"]
) -> Float[Tensor, "tokens"]:
    """KL(p || q) + KL(q || p) at every position; gradient flows through both.

    Returns:
        Float[Tensor, "tokens"], nats.
    """
    # sum p log(p/q) + q log(q/p) = sum (p - q)(log p - log q): one pass over the vocabulary instead of two.
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=-1)


def consistency_loss(
    span_log_probs: Sequence[Float[Tensor, "_ vocab"] | None],
    weights: Float[Tensor, "teachers"],
    *,
    smallest_pair_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """sum over pairs k < j of alpha_k * alpha_j * (KL(k || j) + KL(j || k)), averaged over the span.

    Args:
        span_log_probs: per teacher Float[Tensor, "span vocab"], the distributions that predict the answer
            span's tokens, or None where the branch takes no part. A pair whose spans differ in length
            cannot be aligned token by token and is left out.
        weights: Float[Tensor, "teachers"], without gradient; not renormalised over those that take part.
        smallest_pair_weight: pairs whose product of weights is below it are skipped.

    Returns:
        Scalar; zero when fewer than two branches take part.

    Source: Eq. 9 summed with the weights of Eq. 11.
    """
    # Pair by pair in teacher order: another order of this sum is another last bit, and another run.
    total = weights.new_zeros(())
    for k, first in enumerate(span_log_probs):
        for j in range(k + 1, len(span_log_probs)):
            second = span_log_probs[j]
            if first is None or second is None or first.shape != second.shape:
                continue
            pair = weights[k] * weights[j]
            if smallest_pair_weight and float(pair) < smallest_pair_weight:
                continue
            total = total + pair * symmetric_kl(first, second).mean()
    return total


def gold_log_probability(
    log_probs_at_gold: Float[Tensor, "tokens gold"], is_gold: Bool[Tensor, "tokens gold"] | None = None
) -> Float[Tensor, "tokens"]:
    """I(t): mean log-probability of the gold answer's tokens, all read from the one hidden state at t.

    Args:
        log_probs_at_gold: Float[Tensor, "tokens gold"], nats.
        is_gold: which of them are gold tokens, where answers of several lengths lie side by side; None: all.

    Returns:
        Float[Tensor, "tokens"], nats per gold token; nan where there is none.

    Source: Eq. 2.
    """
    if is_gold is None:
        return log_probs_at_gold.mean(dim=-1)
    return (log_probs_at_gold * is_gold).sum(dim=-1) / is_gold.sum(dim=-1)


def span_log_probs(
    student: Student, branches: Sequence[EncodedBranch], states: Sequence[Tensor], temperature: float = 1.0
) -> list[Tensor | None]:
    """Per branch the distributions Float[Tensor, "span vocab"] that predict its answer span's tokens.

    Only these few rows of logits are kept.

    Args:
        states: per branch Float[Tensor, "T+2 hidden"] from `branch_hidden`.

    Returns:
        Log-probabilities per branch; None for one that is not right, and for all where fewer than two are.
    """
    # State i of a branch predicts its token prompt + i.
    rows = [
        state[[place - branch.prompt_tokens for place in branch.answer_positions]]
        if branch.is_right
        else None
        for branch, state in zip(branches, states, strict=True)
    ]
    part = [row for row in rows if row is not None and len(row)]
    if len(part) < 2:
        return [None] * len(rows)
    logits = student.layout.logits(student.model, torch.cat(part))
    together = torch.log_softmax(logits if temperature == 1.0 else logits / temperature, dim=-1)
    pieces = iter(together.split([len(row) for row in part]))
    return [next(pieces) if row is not None and len(row) else None for row in rows]
