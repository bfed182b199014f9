"""CA-MKD for rationales: a teacher weighs more where its rationale leads the student to the gold answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compact_bench import (
    ANSWER_PHRASE,
    FitReport,
    MethodCard,
    NumericalError,
    Question,
    RunContext,
    Student,
    SupervisedConfig,
    answer_span,
    canonical_answer,
    canonical_text,
    encode_question,
    span_nats,
    train,
)

from ._before_training import measured


def confidence_weights(nats: Tensor) -> Tensor:
    """w_k = (1 - softmax_k(nats)) / (K - 1): the lower the loss, the higher the weight; 1/K if all are equal.

    Args:
        nats: Float[Tensor, "teachers"], losses of the gold answer, two or more; so are the weights.
    """
    return (1.0 - torch.softmax(nats, dim=0)) / (len(nats) - 1)


@dataclass(frozen=True)
class CAMKD:
    """L = sum_k w_k L_SFT,k with w_k by how well the untrained student tells the gold answer after r_k."""

    config: SupervisedConfig
    config_type = SupervisedConfig
    card = MethodCard(
        title="CA-MKD for rationales: confidence-aware teacher weights",
        short="CA-MKD (confidence weights)",
        source="arXiv 2201.00007 and Rorozhl/CA-MKD at c2f39a9, for image classifiers: the weights only",
        deviations=(
            "the source weighs by the cross-entropy of a teacher's logits; a text has none, so it is the "
            "untrained student's -log p(gold answer | question, rationale up to its answer)",
            "the source distils logits at temperature 4 and, from the second epoch, features; here the loss "
            "of a rationale takes their place",
            "no division by K: the weights sum to 1, so that losses are of the size of the other methods'",
        ),
        ours=(
            "weights are computed once, before training; a killed run computes them again",
            "a rationale without an answer is read to its end",
            "a question of which only one rationale is there gives it all the weight",
        ),
        uses_gold=True,
        min_teachers=2,
        needs=("a gold answer", "rationales of two teachers"),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Weigh every question's rationales by the untrained student, then train by these weights."""
        limit, what = context.settings.train.max_length_tokens, "confidence in the rationales"
        weights = measured(student, questions, context, what, lambda q: _weights(student, q, limit))
        return train(student, questions, self.config.objective(context, weights=weights), context)


def _weights(student: Student, question: Question, limit: int) -> dict[str, float]:
    """Name of a rationale -> weight in one question."""
    if len(question.rationales) == 1:
        return {question.rationales[0].name: 1.0}
    gold = canonical_answer(question.gold_answer)
    # By name, so that the order of a question's rationales does not move a bit.
    in_order = sorted(question.rationales, key=lambda r: r.name)
    up_to_gold = [replace(r, text=_up_to_the_answer(r.text, gold)) for r in in_order]
    encoded = encode_question(student, question, rationales=up_to_gold, max_length_tokens=limit)
    pairs = zip(span_nats(student, encoded), encoded.branches, strict=True)
    nats = torch.tensor([n * len(b.answer_ids) for n, b in pairs], dtype=torch.float64)
    if not bool(nats.isfinite().all()):
        raise NumericalError(
            f"question {question.id}: expected finite losses of the gold answer, got {nats.tolist()}. "
            "Use train.dtype=float32."
        )
    weights = confidence_weights(nats).tolist()
    return dict(zip((b.name for b in encoded.branches), weights, strict=True))


def _up_to_the_answer(text: str, gold: str) -> str:
    text = canonical_text(text)
    span = answer_span(text)
    if span is None:
        return f"{text} {ANSWER_PHRASE} {gold}"
    cut = text[: span[0]] + gold
    # A box states nothing before it is closed; what follows the answer does not move its loss.
    return cut if answer_span(cut) else cut + text[span[1] :]


METHOD = CAMKD
