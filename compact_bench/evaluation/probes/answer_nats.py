"""Graded measures beside accuracy: nats per gold-answer token, with and without a rationale before it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypedDict

from compact_bench.core.answers import (
    ANSWER_PHRASE,
    answer_span,
    canonical_answer,
    canonical_text,
    same_answer,
)
from compact_bench.core.errors import DataError, NumericalError
from compact_bench.core.records import Question, Rationale
from compact_bench.evaluation.guards import read_only
from compact_bench.evaluation.probes.registry import Measure, Probe

if TYPE_CHECKING:
    from torch import Tensor

    from compact_bench.students.student import Student
    from compact_bench.training.branches import EncodedQuestion

_NO_LIMIT = 1 << 30
_BATCH_TOKENS = 2048
"""Tokens of branches that are computed together: more is no faster, and needs more memory."""


class AnswerNats(TypedDict):
    """Mean negative log-likelihood of the gold answer, in nats per token of it.

    Keys:
        after_question: after the question and "The answer is"; mean over questions. It rewards answering
            without reasoning, so it is read together with the next.
        after_rationale: after a held-out rationale up to and including "The answer is"; mean over the
            question's right rationales, then over questions that have one; None where none has. Right is
            one that is known to be right in every step or, where that is not known, whose answer is the
            gold one.
        question_ids: the questions.
        question_nats: each question's share of after_question.
        rationale_nats: each question's share of after_rationale, or None.
        rationales: how many rationales were right and used.
    """

    after_question: float
    after_rationale: float | None
    question_ids: list[str]
    question_nats: list[float]
    rationale_nats: list[float | None]
    rationales: int


def answer_nats(student: Student, questions: Sequence[Question]) -> AnswerNats:
    """How well a student predicts gold answers of held-out questions; lower is better.

    The student is read only: its mode, gradients and the random generators stay as they are.

    Args:
        student: with merged weights or adapters; computed in the weights' own type.
        questions: validation questions, with rationales that no method was trained on.

    Raises:
        DataError: there is no question.
        NumericalError: a value is not finite.
    """
    if not questions:
        raise DataError("answer nats: expected at least one validation question, got none")
    exact = dataclasses.replace(student, compute="float32")
    direct: list[float] = []
    reasoned: list[float | None] = []
    used = 0
    with read_only(student.model):
        encoded = [answer_branches(exact, question) for question in questions]
        for batch in _batches(encoded):
            for first, *rest in _questions_nats(exact, batch):
                direct.append(first)
                reasoned.append(sum(rest) / len(rest) if rest else None)
                used += len(rest)
    known = [value for value in reasoned if value is not None]
    if not all(map(math.isfinite, direct + known)):
        raise NumericalError(
            "answer nats: expected finite values, got some that are not; the student's weights have "
            "probably diverged: train with a lower learning rate"
        )
    return AnswerNats(
        after_question=sum(direct) / len(direct),
        after_rationale=sum(known) / len(known) if known else None,
        question_ids=[question.id for question in questions],
        question_nats=direct,
        rationale_nats=reasoned,
        rationales=used,
    )


def _batches(questions: Sequence[EncodedQuestion]) -> Iterator[list[EncodedQuestion]]:
    """Questions in their order, as many together as have `_BATCH_TOKENS`, at least one."""
    batch: list[EncodedQuestion] = []
    for question in questions:
        if batch and sum(q.total_tokens for q in (*batch, question)) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(question)
    if batch:
        yield batch


def answer_branches(student: Student, question: Question) -> EncodedQuestion:
    """The bare "The answer is <gold>", then every right rationale cut after its gold answer.

    Args:
        student: gives tokenizer and chat template.
        question: a held-out question.
    """
    from compact_bench.training.branches import encode_question

    gold = canonical_answer(question.gold_answer)
    texts = [Rationale(teacher="", text=f"{ANSWER_PHRASE} {gold}")]
    for rationale in question.rationales:
        text = canonical_text(rationale.text)
        span = answer_span(text)
        if span is not None and _is_right(rationale, text[slice(*span)], question):
            cut = text[: span[0]] + gold
            # A box states nothing before it is closed; what follows the answer does not move its nats.
            cut = cut if answer_span(cut) else cut + text[span[1] :]
            texts.append(Rationale(teacher=rationale.teacher, text=cut))
    return encode_question(student, question, rationales=texts, max_length_tokens=_NO_LIMIT)


def _is_right(rationale: Rationale, stated: str, question: Question) -> bool:
    answers_right = same_answer(stated, question.gold_answer)
    return answers_right if rationale.truth is None else answers_right and rationale.truth.is_right


def span_nats(student: Student, encoded: EncodedQuestion) -> list[float]:
    """Per branch the mean negative log-likelihood of its answer span's tokens, in nats.

    Args:
        student: read only; the caller sets its mode.
        encoded: branches that all have an answer span.
    """
    (nats,) = _questions_nats(student, [encoded])
    return nats


def _questions_nats(student: Student, questions: Sequence[EncodedQuestion]) -> list[list[float]]:
    """`span_nats` of questions that are computed together."""
    from compact_bench.training.loss.forward import branch_hidden

    hidden = branch_hidden(student, questions)
    return [_branches_nats(student, q, states) for q, states in zip(questions, hidden, strict=True)]


def _branches_nats(
    student: Student, encoded: EncodedQuestion, hidden_states: Sequence[Tensor]
) -> list[float]:
    import torch

    nats = []
    for branch, hidden in zip(encoded.branches, hidden_states, strict=True):
        # Row 0 is the last prompt token, so row j predicts the rationale's token j.
        rows = [position - branch.prompt_tokens for position in branch.answer_positions]
        logits = student.layout.logits(student.model, hidden[rows])
        targets = torch.tensor(branch.answer_ids, device=logits.device)
        nats.append(float(torch.nn.functional.cross_entropy(logits, targets)))
    return nats


def _measure(after: str, title: str) -> Measure:
    paths = f"validation_nats.after_{after}", f"validation_nats.{after}_nats"
    return Measure(f"nats_after_{after}", title, *paths, unit="nats")


VALIDATION_NATS = Probe(
    lambda given: answer_nats(given.student, given.validation),
    (_measure("question", "After the question"), _measure("rationale", "After a held-out rationale")),
    needs=("validation",),
)
