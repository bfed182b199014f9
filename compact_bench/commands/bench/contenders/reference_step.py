"""The released algorithm written plainly, as a yardstick: what its definition requires and nothing clever.

One question is one right-padded batch of K rows. The student computes hidden states, logits and
log-probabilities of every position of every row, prompt and padding included; the consistency term goes over
all positions that two rows share, pair by pair. No row shares work with another, and nothing is recomputed.
It is written from the method's description alone and shares no code with `methods.compact.released`, which
must give the same loss.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from compact_bench.methods.compact.objective import WeightingConfig
from compact_bench.methods.compact.released import PaddedRows
from compact_bench.students.layout import base_model
from compact_bench.students.student import Student


def reference_loss(
    student: Student, rows: PaddedRows, thinking_ids: tuple[int, ...], config: WeightingConfig
) -> Tensor:
    """The loss of one question.

    Args:
        student: a student whose output head has no logit soft-capping.
        rows: the padded batch of its raw texts.
        thinking_ids: ids of the thinking tokens.

    Returns:
        Scalar with its graph.

    Source: sections 3.2 to 3.4 as the released code (commit f279471) computes them.
    """
    model = base_model(student.model)
    ids, mask = rows.input_ids.to(student.device), rows.attention_mask.to(student.device)
    with student.autocast():
        hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    head = model.lm_head
    # No name holds the logits, so that they are freed once their log-probabilities are there.
    log_probs = F.log_softmax(head(hidden.to(head.weight.dtype)).float(), dim=-1)

    # Position p predicts token p + 1; the last one's prediction is cut off among losses, not among logits.
    losses = -log_probs.gather(-1, ids.roll(-1, dims=1)[:, :, None]).squeeze(-1)[:, :-1]
    places = torch.arange(1, ids.shape[1], device=ids.device)
    supervised_tokens = (places >= torch.tensor(rows.starts, device=ids.device)[:, None]) * mask[:, 1:]
    supervised = (losses * supervised_tokens).sum(dim=1) / supervised_tokens.sum(dim=1)

    with torch.no_grad():
        gold = head.weight[list(rows.gold_ids)]
        mean_logits = (hidden.to(gold.dtype) @ gold.T).mean(dim=-1).float()
        gains = torch.diff(mean_logits, dim=1, prepend=mean_logits[:, :1])
        is_thinking = torch.isin(ids, torch.tensor(thinking_ids, device=ids.device))
        adaptability = (gains.relu() * torch.where(is_thinking, 1.0, config.epsilon)).sum(dim=1)
        consensus = _consensus(student, hidden[torch.arange(len(ids)), mask.sum(dim=1) - 1])
        scores = (
            config.beta_adaptability * _z(adaptability)
            + config.beta_consensus * _z(consensus)
            - config.beta_difficulty * _z(supervised)
        )
        weights = torch.softmax(scores / config.temperature, dim=0)

    loss = (weights * supervised).sum()
    if config.lambda_consistency:
        loss = loss + config.lambda_consistency * _consistency(log_probs, mask, weights)
    return loss


def _z(scores: Tensor) -> Tensor:
    if len(scores) == 1:
        return torch.ones_like(scores)
    return (scores - scores.mean()) / (scores.std() + 1e-4)


def _consensus(student: Student, vectors: Tensor) -> Tensor:
    """Weighted in-degree from the last layer's flat queries and keys, numbers of the keys repeated."""
    attention = base_model(student.model).model.layers[-1].self_attn
    vectors = vectors.to(student.dtype)
    queries, keys = attention.q_proj(vectors).float(), attention.k_proj(vectors).float()
    keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], dim=1)
    graph = torch.softmax(queries @ keys.T / queries.shape[1] ** 0.5, dim=1)
    return graph.fill_diagonal_(0.0).sum(dim=0)


def _consistency(log_probs: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Both directions of the KL divergence of every pair, over the positions where both rows are unpadded."""
    total = weights.new_zeros(())
    lengths = mask.sum(dim=1).tolist()
    # One set of probabilities serves all pairs; what a pair keeps are its two differences. Rows are taken
    # apart once, so that the gradient of a pair is of its rows' size.
    rows, probs = log_probs.unbind(), log_probs.exp().unbind()
    for k in range(len(lengths)):
        for j in range(k + 1, len(lengths)):
            pair = weights[k] * weights[j]
            if pair < 1e-4:
                continue
            both = min(lengths[k], lengths[j])
            difference = rows[k][:both] - rows[j][:both]
            kl = ((probs[k][:both] - probs[j][:both]) * difference).sum(dim=-1)
            total = total + pair * kl.mean()
    return total
