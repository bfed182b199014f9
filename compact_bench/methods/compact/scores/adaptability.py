"""Adaptability: how much a rationale raises the student's belief in the gold answer, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

THINKING_WORDS: tuple[str, ...] = (
    "Therefore", "Thus", "Hence", "So", "Consequently", "Wait", "But", "However", "Although", "First",
    "Second", "Finally", "Specifically", "In summary", "Basically", "Let", "Assuming", "Suppose", "Hmm",
    "Okay", "Note",
)  # fmt: skip
"""The thinking words of the released code."""

PAPER_THINKING_WORDS: tuple[str, ...] = (*THINKING_WORDS, "Because")
"""Ours: the paper gives examples only ("Therefore, Because, Wait", section 3.2), of which the released list
lacks "Because".
"""


def thinking_token_ids(tokenizer: Any, words: Sequence[str] = THINKING_WORDS) -> tuple[int, ...]:
    """Ids of the words that are one token, with and without a leading space, sorted.

    Args:
        tokenizer: the student's tokenizer.
        words: thinking words.

    Source: released code; longer words are left out there too.
    """
    token_ids: set[int] = set()
    for word in words:
        for text in (word, f" {word}"):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            # A word that a closed vocabulary lacks is the unknown token, which stands for any word.
            if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
                token_ids.add(int(ids[0]))
    return tuple(sorted(token_ids))


def gold_mean_logit(
    hidden: Float[Tensor, "*branches tokens hidden"], gold_rows: Float[Tensor, "gold hidden"]
) -> Float[Tensor, "*branches tokens"]:
    """What the released code uses for I(t): the mean raw logit of the gold tokens, without bias.

    Args:
        hidden: Float[Tensor, "... tokens hidden"].
        gold_rows: Float[Tensor, "gold hidden"], rows of the output head.

    Returns:
        Float[Tensor, "... tokens"].

    Source: released code (no softmax, so a rise of every logit counts as information).
    """
    return (hidden @ gold_rows.transpose(0, 1)).mean(dim=-1)


def information_gain(information: Float[Tensor, "*branches positions"]) -> Float[Tensor, "*branches tokens"]:
    """dI(t) = I(t) - I(t-1), one shorter than its input.

    Args:
        information: Float[Tensor, "... tokens+1"].

    Source: Eq. 3.
    """
    return information[..., 1:] - information[..., :-1]


def token_mask(
    token_ids: Int[Tensor, "*branches tokens"], thinking_ids: Sequence[int], epsilon: float
) -> Float[Tensor, "*branches tokens"]:
    """M: 1 on thinking tokens, epsilon elsewhere.

    Args:
        token_ids: Int[Tensor, "... tokens"].
        thinking_ids: ids from `thinking_token_ids`.
        epsilon: weight of every other token.

    Returns:
        Float[Tensor, "... tokens"], float32.
    """
    thinking = torch.tensor(list(thinking_ids), dtype=token_ids.dtype, device=token_ids.device)
    return torch.where(torch.isin(token_ids, thinking), 1.0, epsilon)


def adaptability(
    gain: Float[Tensor, "*branches tokens"],
    mask: Float[Tensor, "*branches tokens"],
    reduction: Literal["sum", "mean"] = "sum",
) -> Float[Tensor, "*branches"]:
    """S_MI = sum over tokens of relu(dI) * M.

    A sum over more tokens is larger, so that within a question it follows a rationale's length closely.

    Args:
        gain: Float[Tensor, "... tokens"], nats.
        mask: Float[Tensor, "... tokens"].
        reduction: Eq. 3's sum, or the mean per token, which is ours, to tell it from length.

    Returns:
        Float[Tensor, "..."], nats.

    Source: Eq. 3.
    """
    reduce = torch.sum if reduction == "sum" else torch.mean
    return reduce(torch.relu(gain) * mask.to(gain.dtype), dim=-1)
