"""COMPACT as its authors' code (commit f279471) computes it, kept to floating-point accuracy.

It differs from the paper on purpose: raw texts, padded rows, scores that read prompt and padding, mean raw
logits for log-probabilities, keys repeated number by number, consistency over all aligned positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from compact_bench.core.answers import extract_answer, same_answer
from compact_bench.core.errors import DataError, Fault
from compact_bench.core.records import Question, Rationale
from compact_bench.core.settings import TrainSettings
from compact_bench.methods.compact.objective import QuestionResult, WeightingConfig
from compact_bench.methods.compact.released_consistency import row_consistency
from compact_bench.methods.compact.scores import (
    adaptability,
    consensus,
    gold_mean_logit,
    information_gain,
    released_consensus_attention,
    thinking_token_ids,
    token_mask,
)
from compact_bench.students.compute.packing import packed_states, packing_reason
from compact_bench.students.compute.packing_plan import PackedRow
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedBranch, EncodedQuestion
from compact_bench.training.loss.forward import layout_for
from compact_bench.training.loss.head import choose_head_mode, label_values
from compact_bench.training.protocol import StepLoss

MARKER = "<|im_start|>assistant\n"
"""The only assistant marker the released code knows; other students supervise the whole row."""


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
        train: the loop's settings: layout, head, and the longest row, where others are cut silently.
    """

    config: WeightingConfig
    thinking_ids: tuple[int, ...]
    train: TrainSettings

    @classmethod
    def for_student(
        cls, student: Student, config: WeightingConfig, train: TrainSettings | None = None
    ) -> ReleasedObjective:
        """The objective with this student's thinking tokens looked up."""
        words = config.thinking_words
        ids = thinking_token_ids(student.tokenizer, *(() if words is None else (words,)))
        return cls(config, ids, train or TrainSettings())

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
                max_length=self.train.max_length_tokens,
            )
            full = encoded["input_ids"].shape[1] == self.train.max_length_tokens
            lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]] if full else []
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
        if lengths:
            branches = tuple(
                replace(b, cut_tokens=whole - len(b.input_ids))
                for b, whole in zip(branches, lengths, strict=True)
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
            sample=rationale.sample,
        )

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean of the questions' losses; each question is its own padded batch, as in the released code."""
        results = [self.question(student, question) for question in batch]
        rows = [row for q, r in zip(batch, results, strict=True) for row in r.rows(q)]
        return StepLoss(torch.stack([r.loss for r in results]).mean(), rows)

    def question(self, student: Student, question: EncodedQuestion) -> QuestionResult:
        """Scores, weights and losses of one question.

        Args:
            question: what `encode` returned.
        """
        rows: PaddedRows = question.padded
        ids, lengths = rows.input_ids.to(student.device), rows.attention_mask.sum(dim=1).tolist()
        hidden, shared = _hidden(student, rows, lengths, self.train.layout)
        supervised = self._supervised(student, hidden, rows, lengths)
        config = self.config
        with torch.no_grad():
            gains, adapt = self._adaptability(student, hidden, ids, rows.gold_ids)
            last = hidden[
                torch.arange(len(ids), device=ids.device), torch.tensor(lengths, device=ids.device) - 1
            ]
            queries, keys = student.layout.queries_and_keys(student.model, last, norms=False)
            attention = released_consensus_attention(queries.to(adapt.dtype), keys.to(adapt.dtype))
            agree, hard = consensus(attention), supervised.detach()
            weights = config.weights(adapt, agree, hard)
        consistency = weights.new_zeros(())
        if config.lambda_consistency > 0:
            consistency = row_consistency(student, hidden, lengths, shared, weights)
        loss = (weights * supervised).sum() + config.lambda_consistency * consistency
        return QuestionResult(
            adapt, agree, hard, weights, supervised, consistency, loss, list(gains), attention
        )

    def _supervised(
        self, student: Student, hidden: Tensor, rows: PaddedRows, lengths: Sequence[int]
    ) -> Tensor:
        """Token mean over the unpadded tokens from each row's start on; position p predicts token p + 1."""
        states, labels, counts = [], [], []
        for k, length in enumerate(lengths):
            first = max(rows.starts[k], 1)
            states.append(hidden[k, first - 1 : length - 1])
            labels.append(rows.input_ids[k, first:length])
            counts.append(len(labels[-1]))
        mode = choose_head_mode(student, sum(counts), self.train)
        values = label_values(student, torch.cat(states), torch.cat(labels).to(hidden.device), mode=mode)
        pieces = values.losses.split(counts)
        return torch.stack([piece.sum() / max(len(piece), 1) for piece in pieces])

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


def _hidden(
    student: Student,
    rows: PaddedRows,
    lengths: Sequence[int],
    wanted: Literal["auto", "packed", "padded"],
) -> tuple[Tensor, int]:
    """Hidden states of the padded batch, padding included, and how many positions all rows share.

    Packed, the tokens with which all rows begin are computed once, and padding as what it is there: tokens
    that see their row and are seen by nothing.

    Returns:
        Float[Tensor, "teachers tokens hidden"] after the final norm, and the number of shared positions.
    """
    ids = rows.input_ids.tolist()
    shared = _shared_tokens(ids, min(lengths))
    reason = packing_reason(student.model, student.layout) or _filler_reason(student, len(ids[0]), lengths)
    if not reason and not shared:
        reason = "the rows of a question do not begin with the same token"
    with student.autocast():
        if layout_for(wanted, reason) == "packed":
            row = PackedRow(
                tuple(ids[0][:shared]),
                tuple(tuple(of_row[shared:length]) for of_row, length in zip(ids, lengths, strict=True)),
                tuple(tuple(of_row[length:]) for of_row, length in zip(ids, lengths, strict=True)),
            )
            ((prompt, tails),) = packed_states(student.model, student.layout, [row])
            return torch.stack([torch.cat([prompt, tail]) for tail in tails]), shared
        backbone = student.layout.backbone(student.model)
        output = backbone(
            input_ids=rows.input_ids.to(student.device),
            attention_mask=rows.attention_mask.to(student.device),
            use_cache=False,
        )
    states: Tensor = output.last_hidden_state
    return states, 0


def _filler_reason(student: Student, width: int, lengths: Sequence[int]) -> str:
    window = getattr(student.layout.backbone(student.model).config, "sliding_window", None)
    if window is not None and width > window and min(lengths) < width:
        return f"padding lies beyond the attention window of {window} tokens"
    return ""


def _shared_tokens(ids: Sequence[Sequence[int]], longest: int) -> int:
    """With how many tokens, up to `longest`, all rows begin."""
    for place in range(longest):
        if any(row[place] != ids[0][place] for row in ids):
            return place
    return longest
