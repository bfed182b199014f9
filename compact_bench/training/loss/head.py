"""Losses at labels, and the student's belief in the gold answer there, without keeping logits.

A label's loss depends on its own hidden state only, so that its gradient can be computed beside it, scaled
later by whatever weight the loss gets, and the logits thrown away: nothing is computed twice. A head that
trains itself, or is not a plain projection, is computed in pieces that the backward pass computes again,
or, where its logits fit into memory, at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import TrainSettings
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedQuestion
from compact_bench.training.loss.terms import gold_log_probability, token_log_losses

HeadMode = Literal["single_pass", "recomputed", "at_once"]

_PIECE_BYTES = 64 * 2**20
"""Logits computed at a time: enough rows for a fast matrix product, few enough to stay out of the way."""


class HeadValues(NamedTuple):
    """Losses and information at every label, by the language-model head.

    Attributes:
        losses: Float[Tensor, "labels"], negative log-likelihood, nats.
        information: Float[Tensor, "labels"], mean log-probability of the gold tokens, without gradient;
            nan where there are none.
    """

    losses: Tensor
    information: Tensor


def choose_head_mode(student: Student, labels: int, settings: TrainSettings) -> HeadMode:
    """How the head is computed.

    Args:
        student: whether its head is frozen and a plain projection decides.
        labels: rows of logits that are needed.
        settings: `head` and `logits_memory_mib`.

    Raises:
        ConfigError: "single_pass" was requested and is not possible.
    """
    head = student.layout.head(student.model)
    reason = _not_in_a_single_pass(student, head)
    if settings.head == "auto":
        if not reason:
            return "single_pass"
        # Logits and their gradient are there at the same time.
        width = 2 * max(4, head.weight.element_size())
        fits = labels * head.weight.shape[0] * width <= settings.logits_memory_mib * 2**20
        return "at_once" if fits else "recomputed"
    if settings.head == "single_pass" and reason:
        raise ConfigError(f"train.head=single_pass cannot be had: {reason}. Use train.head=auto.")
    return settings.head


def _not_in_a_single_pass(student: Student, head: Any) -> str:
    if any(p.requires_grad for p in head.parameters()):
        return "the head trains itself"
    if type(head) is not nn.Linear or student.layout.softcap is not None:
        return "the head is not a plain projection"
    return ""


def branch_values(
    student: Student,
    questions: Sequence[EncodedQuestion],
    states: Sequence[Sequence[Tensor]],
    settings: TrainSettings,
    *,
    with_gold: bool,
) -> list[list[HeadValues]]:
    """Losses and information at every label of every branch, by the language-model head.

    Args:
        states: per question and branch Float[Tensor, "T+2 hidden"], from `forward.branch_hidden`.
        with_gold: whether information about the gold answer is wanted.

    Returns:
        Per question and branch, values at its T+1 labels: the rationale and its end-of-turn token.
    """
    hidden = torch.cat([state[:-1] for of_question in states for state in of_question])
    counts = [[branch.supervised_tokens for branch in question.branches] for question in questions]
    ids = [i for q in questions for b in q.branches for i in b.input_ids[b.prompt_tokens :]]
    labels = torch.tensor(ids, device=hidden.device)
    gold = None
    if with_gold:
        gold = _gold_rows([q.gold_ids for q in questions], [sum(c) for c in counts], hidden.device)
    mode = choose_head_mode(student, len(ids), settings)
    values = label_values(student, hidden, labels, gold, mode=mode)
    flat = [count for of_question in counts for count in of_question]
    pieces = zip(values.losses.split(flat), values.information.split(flat), strict=True)
    return [[HeadValues(*next(pieces)) for _ in of_question] for of_question in counts]


def _gold_rows(gold_ids: Sequence[Sequence[int]], labels: Sequence[int], device: torch.device) -> Tensor:
    """Gold tokens of each label's question, Int[Tensor, "labels gold"], padded with -1."""
    width = max(len(ids) for ids in gold_ids)
    padded = torch.tensor([[*ids, *[-1] * (width - len(ids))] for ids in gold_ids], device=device)
    return padded.view(len(gold_ids), width).repeat_interleave(torch.tensor(labels, device=device), dim=0)


def label_values(
    student: Student,
    hidden: Tensor,
    labels: Tensor,
    gold: Tensor | None = None,
    *,
    mode: HeadMode = "at_once",
) -> HeadValues:
    """Losses of labels and information about gold tokens, from the hidden states that predict the labels.

    Args:
        hidden: Float[Tensor, "labels hidden"], after the final norm.
        labels: Int[Tensor, "labels"].
        gold: Int[Tensor, "labels gold"], gold tokens of each label's question, -1 where there are fewer;
            None where no information is wanted.
        mode: how logits are computed; the numbers are the same.

    Returns:
        Losses and information of every label.

    Source: Eq. 8 before reduction, Eq. 2.
    """
    gold = labels.new_full((len(labels), 0), -1) if gold is None else gold
    if mode == "single_pass":
        head = student.layout.head(student.model)
        run: Any = _SinglePass.apply  # torch leaves it untyped
        return HeadValues(*run(hidden, head.weight, head.bias, labels, gold))
    if mode == "at_once":
        return HeadValues(*_values(student, hidden, labels, gold))
    rows = _rows_per_piece(student.layout.head(student.model).weight, len(labels))
    pieces = [
        checkpoint(_values, student, *piece, use_reentrant=False)
        for piece in zip(hidden.split(rows), labels.split(rows), gold.split(rows), strict=True)
    ]
    return HeadValues(torch.cat([losses for losses, _ in pieces]), torch.cat([info for _, info in pieces]))


def _rows_per_piece(weight: Tensor, labels: int) -> int:
    """Pieces of equal size, none of which holds more logits than a piece may."""
    width = max(4, weight.element_size())
    most = max(1, _PIECE_BYTES // (weight.shape[0] * width))
    pieces = -(-labels // most)
    return max(1, -(-labels // max(pieces, 1)))


def _values(student: Student, hidden: Tensor, labels: Tensor, gold: Tensor) -> tuple[Tensor, Tensor]:
    logits = student.layout.logits(student.model, hidden)
    losses, normaliser = token_log_losses(logits, labels)
    with torch.no_grad():
        at_gold = logits.gather(-1, gold.clamp(min=0)) - normaliser[:, None]
        return losses, gold_log_probability(at_gold, gold >= 0)


class _SinglePass(torch.autograd.Function):
    """Losses and their gradients by the hidden states, in one sweep over pieces of logits."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, gold: Tensor
    ) -> tuple[Tensor, Tensor]:
        inputs = hidden.to(weight.dtype)
        wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
        rounds = weight.dtype != wide
        losses = torch.empty(len(labels), dtype=wide, device=weight.device)
        information = torch.empty_like(losses)
        gradient = torch.empty_like(inputs) if hidden.requires_grad else None
        rows = _rows_per_piece(weight, len(labels))
        # Memory that is new for every piece costs more time than what is written to it.
        room = torch.empty(min(rows, len(labels)), weight.shape[0], dtype=weight.dtype, device=weight.device)
        for start in range(0, len(labels), rows):
            piece = slice(start, start + rows)
            logits = room[: len(labels[piece])]
            torch.mm(inputs[piece], weight.t(), out=logits)
            if bias is not None:
                logits += bias
            logits = logits.to(wide)
            highest = logits.amax(dim=-1, keepdim=True)
            at_label = logits.gather(-1, labels[piece, None])
            at_gold = logits.gather(-1, gold[piece].clamp(min=0))
            probabilities = torch.softmax(logits, dim=-1, out=logits)
            # The largest probability is at least 1/vocabulary, so that its logarithm is exact enough.
            normaliser = highest - probabilities.amax(dim=-1, keepdim=True).log()
            losses[piece] = (normaliser - at_label)[:, 0]
            information[piece] = gold_log_probability(at_gold - normaliser, gold[piece] >= 0)
            if gradient is not None:
                if rounds:
                    # A likely label's probability rounds to 1: subtracted afterwards, nothing is left of
                    # its gradient but the rounding.
                    probabilities.scatter_add_(
                        1, labels[piece, None], probabilities.new_full((len(logits), 1), -1)
                    )
                torch.mm(probabilities.to(weight.dtype), weight, out=gradient[piece])
        if gradient is not None:
            if not rounds:
                gradient -= weight.index_select(0, labels)
            ctx.save_for_backward(gradient)
        ctx.dtype = hidden.dtype
        ctx.mark_non_differentiable(information)
        return losses, information

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grads[0][:, None].to(gradient.dtype)).to(ctx.dtype), None, None, None, None
