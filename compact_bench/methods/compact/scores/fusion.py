"""Fusion: from three scores per teacher to one weight per teacher."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_STD_FLOOR = 1e-4


def z_score(scores: Float[Tensor, "teachers"]) -> Float[Tensor, "teachers"]:
    """N: (s - mean) / (std + 1e-4) over the teachers of one question, std unbiased; ones when K = 1.

    Args:
        scores: Float[Tensor, "teachers"].

    Source: section 3.2; the estimator and the floor are the released code's.
    """
    if scores.numel() <= 1:
        return torch.ones_like(scores)
    return (scores - scores.mean()) / (scores.std() + _STD_FLOOR)


def compatibility_scores(
    adaptability: Float[Tensor, "teachers"],
    consensus: Float[Tensor, "teachers"],
    difficulty: Float[Tensor, "teachers"],
    *,
    beta_adaptability: float,
    beta_consensus: float,
    beta_difficulty: float,
) -> Float[Tensor, "teachers"]:
    """beta1 * N(S_MI) + beta2 * N(S_cons) - beta3 * N(S_PPL).

    Args:
        adaptability, consensus, difficulty: Float[Tensor, "teachers"].
        beta_adaptability, beta_consensus, beta_difficulty: coefficients.

    Returns:
        Float[Tensor, "teachers"].

    Source: Eq. 7.
    """
    return (
        beta_adaptability * z_score(adaptability)
        + beta_consensus * z_score(consensus)
        - beta_difficulty * z_score(difficulty)
    )


def teacher_weights(scores: Float[Tensor, "teachers"], temperature: float) -> Float[Tensor, "teachers"]:
    """alpha = softmax(score / tau).

    Args:
        scores: Float[Tensor, "teachers"].
        temperature: tau.

    Source: Eq. 7.
    """
    return torch.softmax(scores / temperature, dim=0)
