"""Drift: how far a student's next-token distributions moved from its base's on neutral text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compact_bench.core.errors import DataError, Fault, NumericalError, StudentError
from compact_bench.evaluation.guards import read_only
from compact_bench.evaluation.probes.registry import Measure, Probe

if TYPE_CHECKING:
    from torch import Tensor

    from compact_bench.students.student import Student


@dataclass(frozen=True)
class DriftResult:
    """KL(base || student) on neutral text.

    Attributes:
        nats_per_token: mean over all tokens of all passages, so a longer passage weighs more.
        tokens: tokens averaged over: every token of a passage but its first, which nothing predicts.
        passages: how many passages.
        passage_nats: mean of each passage, in nats per token, in order.
        passage_tokens: tokens of each passage that the mean is over.
    """

    nats_per_token: float
    tokens: int
    passages: int
    passage_nats: tuple[float, ...]
    passage_tokens: tuple[int, ...]


def kl_nats(base_logits: Tensor, student_logits: Tensor) -> Tensor:
    """KL divergence of the student's distribution from the base's, position by position.

    Args:
        base_logits: Float[Tensor, "tokens vocab"].
        student_logits: Float[Tensor, "tokens vocab"].

    Returns:
        Float[Tensor, "tokens"], KL(base || student) in nats.
    """
    base, student = base_logits.log_softmax(dim=-1), student_logits.log_softmax(dim=-1)
    return (base.exp() * (base - student)).sum(dim=-1)


def drift_nats_per_token(
    base: Student, student: Student, passages: Sequence[str], *, chunk_tokens: int = 64
) -> DriftResult:
    """Mean KL(base || student) in nats per token on texts that neither was trained on here.

    Both are read only: modes, gradients and random generators stay as they are.

    Args:
        base: the student before distillation.
        student: the student after it, with the same vocabulary; may be `base` itself.
        passages: neutral texts, of two tokens or more each.
        chunk_tokens: positions whose logits are held at once; changes memory, not the result.

    Raises:
        DataError: there is no passage, or one has fewer than two tokens; all are listed.
        StudentError: the two vocabularies differ.
        NumericalError: a divergence is not finite.
    """
    encoded = _encode(base, student, passages)
    sums: list[float] = []
    with read_only(base.model, student.model):
        for ids in encoded:
            total, base_hidden = 0.0, _hidden(base, ids)
            student_hidden = _hidden(student, ids)
            for start in range(0, len(ids) - 1, chunk_tokens):
                stop = min(start + chunk_tokens, len(ids) - 1)
                before = base.layout.logits(base.model, base_hidden[start:stop])
                after = student.layout.logits(student.model, student_hidden[start:stop])
                # Summed in float64: in float32 the size of the chunks would show in the result.
                total += float(kl_nats(before, after.to(before.device)).double().sum())
            sums.append(total)
    counts = [len(ids) - 1 for ids in encoded]
    result = DriftResult(
        nats_per_token=sum(sums) / sum(counts),
        tokens=sum(counts),
        passages=len(counts),
        passage_nats=tuple(s / n for s, n in zip(sums, counts, strict=True)),
        passage_tokens=tuple(counts),
    )
    if not all(map(math.isfinite, result.passage_nats)):
        raise NumericalError(
            f"drift probe: expected finite divergences, got {result.passage_nats}; the student's weights "
            "have probably diverged: train with a lower learning rate"
        )
    return result


def _encode(base: Student, student: Student, passages: Sequence[str]) -> list[list[int]]:
    # Distributions are compared entry by entry: with two vocabularies the sum would have no meaning.
    sizes = [s.layout.head(s.model).weight.shape[0] for s in (base, student)]
    if sizes[0] != sizes[1]:
        raise StudentError(
            f"drift probe: expected base and student to have one vocabulary, got {sizes[0]} and {sizes[1]} "
            "tokens; compare a student with the base it was trained from"
        )
    encoded = [[int(i) for i in base.tokenizer(text)["input_ids"]] for text in passages]
    short = [
        Fault(f"passage {number}", f"expected two tokens or more, got {len(ids)}")
        for number, ids in enumerate(encoded, 1)
        if len(ids) < 2
    ]
    if short or not encoded:
        problem = "drift probe: the neutral text is not as expected" if short else "drift probe: no passages"
        raise DataError(problem, short, "give at least one passage, each a few sentences long.")
    return encoded


def _hidden(student: Student, ids: Sequence[int]) -> Tensor:
    import torch

    row = torch.tensor([list(ids)], device=student.device)
    output = student.layout.backbone(student.model)(input_ids=row, use_cache=False)
    hidden: Tensor = output.last_hidden_state[0]
    return hidden


def _recorded(result: Mapping[str, Any]) -> dict[str, Any]:
    """The mean beside the passages, as records have kept it since their first version."""
    passages = {"passages": result["passage_nats"], "passage_tokens": result["passage_tokens"]}
    return {"drift": passages, "drift_nats_per_token": result["nats_per_token"]}


_ITEMS = ("drift.passages", "drift.passage_tokens")
DRIFT = Probe(
    lambda given: drift_nats_per_token(given.base, given.student, given.passages),
    (Measure("drift_nats_per_token", "Drift, nats per token", "drift_nats_per_token", *_ITEMS, unit="nats"),),
    needs=("passages",),
    recorded=_recorded,
)
