"""COMPACT as its authors' code (commit f279471) computes it, kept to floating-point accuracy.

It differs from the paper on purpose: raw texts, padded rows, scores that read prompt and padding, mean raw
logits for log-probabilities, keys repeated number by number, consistency over all aligned positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from compact_bench.answers import extract_answer, same_answer
from compact_bench.branches import EncodedBranch, EncodedQuestion
from compact_bench.errors import DataError, Fault
from compact_bench.losses import symmetric_kl
from compact_bench.objectives import QuestionResult, WeightingConfig
from compact_bench.records import Question, Rationale
from compact_bench.scores import (
    adaptability,
    consensus,
    gold_mean_logit,
    information_gain,
    released_consensus_attention,
    thinking_token_ids,
    token_mask,
)
from compact_bench.students import Student
from compact_bench.trainer import StepLoss

__all__ = ["MARKER", "SMALLEST_PAIR_WEIGHT", "PaddedRows", "ReleasedObjective"]

MARKER = "<|im_start|>assistant\n"
"""The only assistant marker the released code knows; other students supervise the whole row."""

SMALLEST_PAIR_WEIGHT = 1e-4
"""Pairs of teachers whose weights' product is below this take no part in the consistency term."""


@dataclass(frozen=True)
class PaddedRows:
    """The batch that the released collate function makes of one question.

    Attributes:
        input_ids: Int[Tensor, "teachers tokens"], right-padded, cut at the maximum length.
        attention_mask: Int[Tensor, "teachers tokens"].
        starts: first supervised token per row; 0 (the whole row) where the marker is not found.
        gold_ids: tokens of the gold answer on its own.
    """

    input_ids: Tensor
    attention_mask: Tensor
    starts: tuple[int, ...]
    gold_ids: tuple[int, ...]


def _find(row: Sequence[int], marker: Sequence[int]) -> int:
    """Index after the first occurrence of `marker` in `row`, or 0."""
    width = len(marker)
    for i in range(len(row) - width + 1):
        if list(row[i : i + width]) == list(marker):
            return i + width
    return 0


@dataclass(frozen=True)
class ReleasedObjective:
    """The released loss: sum_k alpha_k L_SFT,k + lambda * sum_{k<j} alpha_k alpha_j symmetric KL.

    Attributes:
        config: coefficients; `sft_reduction` is always the token mean here.
        thinking_ids: ids of the thinking tokens of this student.
        max_length_tokens: where rows are cut, silently.
    """

    config: WeightingConfig
    thinking_ids: tuple[int, ...]
    max_length_tokens: int = 2560

    @classmethod
    def for_student(
        cls, student: Student, config: WeightingConfig, max_length_tokens: int = 2560
    ) -> ReleasedObjective:
        """The objective with this student's thinking tokens looked up."""
        words = config.thinking_words
        ids = thinking_token_ids(student.tokenizer, *(() if words is None else (words,)))
        return cls(config, ids, max_length_tokens)

    def encode(self, student: Student, question: Question) -> EncodedQuestion:
        """The padded rows of a question's raw texts."""
        tokenizer = student.tokenizer
        texts = [self._text(tokenizer, question, rationale) for rationale in question.rationales]
        side, tokenizer.padding_side = tokenizer.padding_side, "right"
        cut, tokenizer.truncation_side = tokenizer.truncation_side, "right"
        try:
            encoded = tokenizer(
                texts,
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=self.max_length_tokens,
            )
        finally:
            tokenizer.padding_side, tokenizer.truncation_side = side, cut
        marker = tokenizer(MARKER, add_special_tokens=False)["input_ids"]
        gold = tokenizer(question.gold_answer, add_special_tokens=False)["input_ids"]
        if not gold:
            raise DataError("question cannot be scored", [Fault(question.id, "gold answer has no token")])
        rows = PaddedRows(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            starts=tuple(_find(row, marker) for row in encoded["input_ids"].tolist()),
            gold_ids=tuple(int(i) for i in gold),
        )
        branches = tuple(
            self._branch(rows, k, rationale, question) for k, rationale in enumerate(question.rationales)
        )
        return EncodedQuestion(question.id, question.gold_answer, rows.gold_ids, branches, rows)

    @staticmethod
    def _text(tokenizer: object, question: Question, rationale: Rationale) -> str:
        turns = [
            {"role": "user", "content": question.text},
            {"role": "assistant", "content": rationale.text},
        ]
        return str(tokenizer.apply_chat_template(turns, tokenize=False))  # type: ignore[attr-defined]

    @staticmethod
    def _branch(rows: PaddedRows, k: int, rationale: Rationale, question: Question) -> EncodedBranch:
        length = int(rows.attention_mask[k].sum())
        answer = extract_answer(rationale.text)
        # The first token of a row is never predicted, whatever the start.
        start = max(rows.starts[k], 1)
        return EncodedBranch(
            teacher=rationale.teacher,
            input_ids=tuple(rows.input_ids[k, :length].tolist()),
            prompt_tokens=start,
            rationale_tokens=max(length - start - 1, 0),
            answer_positions=(),
            predicted_answer=answer,
            is_right=same_answer(answer, question.gold_answer),
        )

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean of the questions' losses; each question is its own padded batch, as in the released code."""
        results = [self.question(student, question) for question in batch]
        rows = [row for q, r in zip(batch, results, strict=True) for row in r.rows(q)]
        return StepLoss(torch.stack([r.loss for r in results]).mean(), rows)

    def question(self, student: Student, question: EncodedQuestion) -> QuestionResult:
        """Scores, weights and losses of one question.

        Args:
            student: the student.
            question: what `encode` returned.
        """
        rows: PaddedRows = question.padded
        ids, mask = rows.input_ids.to(student.device), rows.attention_mask.to(student.device)
        backbone = student.layout.backbone(student.model)
        with student.autocast():
            hidden = backbone(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        logits = student.layout.logits(student.model, hidden)
        log_probs = torch.log_softmax(logits, dim=-1)
        supervised = self._supervised(log_probs, ids, mask, rows.starts)
        config = self.config
        with torch.no_grad():
            gains, adapt = self._adaptability(student, hidden, ids, rows.gold_ids)
            last = hidden[torch.arange(len(ids), device=ids.device), mask.sum(dim=1) - 1]
            queries, keys = student.layout.queries_and_keys(student.model, last, norms=False)
            attention = released_consensus_attention(queries.to(adapt.dtype), keys.to(adapt.dtype))
            agree, hard = consensus(attention), supervised.detach()
            weights = config.weights(adapt, agree, hard)
        consistency = weights.new_zeros(())
        if config.lambda_consistency > 0:
            consistency = _consistency(log_probs, mask, weights)
        loss = (weights * supervised).sum() + config.lambda_consistency * consistency
        return QuestionResult(
            adapt, agree, hard, weights, supervised, consistency, loss, list(gains), attention
        )

    @staticmethod
    def _supervised(log_probs: Tensor, ids: Tensor, mask: Tensor, starts: Sequence[int]) -> Tensor:
        """Token mean over the unpadded tokens from each row's start on; position p predicts token p + 1."""
        losses = -log_probs[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
        places = torch.arange(ids.shape[1] - 1, device=ids.device)
        first = (torch.tensor(list(starts), device=ids.device) - 1).clamp(min=0)
        counted = (places[None, :] >= first[:, None]).to(losses.dtype) * mask[:, 1:].to(losses.dtype)
        return (losses * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)

    def _adaptability(
        self, student: Student, hidden: Tensor, ids: Tensor, gold_ids: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Gains Float[Tensor, "teachers tokens"], prompt and padding included, and the scores."""
        weight = student.layout.head(student.model).weight
        information = gold_mean_logit(hidden.to(weight.dtype), weight[list(gold_ids)])
        if information.dtype != torch.float64:
            information = information.float()
        gains = torch.zeros_like(information)
        gains[:, 1:] = information_gain(information)
        mask = token_mask(ids, self.thinking_ids, self.config.epsilon)
        return gains, adaptability(gains, mask)


def _pair_term(first: Tensor, second: Tensor) -> Tensor:
    return symmetric_kl(first, second).mean()


def _consistency(log_probs: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Weighted symmetric KL over the positions where both rows are unpadded; rows are right-padded."""
    total = weights.new_zeros(())
    lengths = mask.sum(dim=1).tolist()
    for k in range(len(lengths)):
        for j in range(k + 1, len(lengths)):
            pair = weights[k] * weights[j]
            if float(pair) < SMALLEST_PAIR_WEIGHT:
                continue
            both = min(lengths[k], lengths[j])
            first, second = log_probs[k, :both], log_probs[j, :both]
            # Recomputed in the backward pass: full-vocabulary copies of every pair do not fit small machines.
            term = checkpoint(_pair_term, first, second, use_reentrant=False)
            total = total + pair * term
    return total
