"""Difficulty: how far a rationale is from what the student would have said."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def difficulty(token_losses: Float[Tensor, "tokens"]) -> Float[Tensor, ""]:
    """S_PPL: mean negative log-likelihood over the supervised tokens of one branch.

    Args:
        token_losses: Float[Tensor, "tokens"], nats.

    Returns:
        Scalar tensor, nats per token.

    Source: Eq. 6. The end-of-turn token counts, as it does in the supervised loss.
    """
    return token_losses.mean()
