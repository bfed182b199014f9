"""COMPACT's loss by the paper: teacher weights (Eq. 7), supervised and consistency loss (Eq. 8-11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from compact_bench.core.settings import Strict, TrainSettings
from compact_bench.methods.compact.scores import (
    PAPER_THINKING_WORDS,
    adaptability,
    compatibility_scores,
    consensus,
    consensus_attention,
    difficulty,
    information_gain,
    teacher_weights,
    thinking_token_ids,
    token_mask,
)
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedBranch, EncodedQuestion
from compact_bench.training.loss.forward import branch_hidden
from compact_bench.training.loss.head import HeadValues, branch_values
from compact_bench.training.loss.terms import consistency_loss, span_log_probs
from compact_bench.training.objectives import all_branches
from compact_bench.training.protocol import StepLoss


class WeightingConfig(Strict):
    """COMPACT's own settings. The paper does not state its values; these are the released code's.

    Attributes:
        sft_reduction: "mean" over a branch's supervised tokens, or Eq. 8's "sum".
        beta_adaptability, beta_consensus, beta_difficulty: beta1, beta2, beta3 of Eq. 7.
        temperature: tau of Eq. 7.
        lambda_consistency: lambda of Eq. 10.
        epsilon: weight of tokens that are no thinking tokens.
        adaptability_reduction: Eq. 3's "sum" over tokens, or the "mean" per token, which is ours; the
            released variant always sums.
        thinking_words: words whose single-token forms are thinking tokens; None keeps the variant's list: the
            released one, to which the paper variant adds "Because".
    """

    sft_reduction: Literal["mean", "sum"] = "mean"
    beta_adaptability: float = 1.0
    beta_consensus: float = 1.0
    beta_difficulty: float = 0.5
    temperature: float = 1.0
    lambda_consistency: float = 0.1
    epsilon: float = 0.1
    adaptability_reduction: Literal["sum", "mean"] = "sum"
    thinking_words: tuple[str, ...] | None = None

    def weights(self, adaptability: Tensor, consensus: Tensor, difficulty: Tensor) -> Tensor:
        """Teacher weights from the three scores (Eq. 7).

        Args:
            adaptability, consensus, difficulty: Float[Tensor, "teachers"], before z-scoring.

        Returns:
            Float[Tensor, "teachers"], which sum to 1.
        """
        fused = compatibility_scores(
            adaptability,
            consensus,
            difficulty,
            beta_adaptability=self.beta_adaptability,
            beta_consensus=self.beta_consensus,
            beta_difficulty=self.beta_difficulty,
        )
        return teacher_weights(fused, self.temperature)


@dataclass
class QuestionResult:
    """Scores, weights and losses of one question; tensors over its K branches unless said otherwise.

    Attributes:
        adaptability, consensus, difficulty: scores before z-scoring, without gradient.
        weights: teacher weights, without gradient.
        supervised: L_SFT per teacher.
        consistency: scalar, before lambda.
        loss: scalar, what a step minimises.
        gains: per teacher Float[Tensor, "tokens"], information gain per token.
        attention: Float[Tensor, "teachers teachers"], the consensus graph's weights.
    """

    adaptability: Tensor
    consensus: Tensor
    difficulty: Tensor
    weights: Tensor
    supervised: Tensor
    consistency: Tensor
    loss: Tensor
    gains: list[Tensor]
    attention: Tensor

    def rows(self, question: EncodedQuestion) -> list[dict[str, Any]]:
        """One row per branch for the steps table."""
        columns = {
            "teacher_weight": self.weights,
            "supervised_loss": self.supervised,
            "adaptability": self.adaptability,
            "consensus": self.consensus,
            "difficulty": self.difficulty,
        }
        values = {name: tensor.detach().tolist() for name, tensor in columns.items()}
        shared = {"question_id": question.question_id, "consistency_loss": float(self.consistency.detach())}
        return [
            {**shared, **b.columns, "is_right": b.is_right, **{n: v[k] for n, v in values.items()}}
            for k, b in enumerate(question.branches)
        ]


@dataclass(frozen=True)
class PaperObjective:
    """COMPACT's loss by the paper: sum_k alpha_k (L_SFT,k + lambda * L_MCon,k).

    Attributes:
        config: coefficients.
        train: the loop's settings.
        thinking_ids: ids of the thinking tokens of this student.
    """

    config: WeightingConfig
    train: TrainSettings
    thinking_ids: tuple[int, ...]

    encode = all_branches

    @classmethod
    def for_student(cls, student: Student, config: WeightingConfig, train: TrainSettings) -> PaperObjective:
        """The objective with this student's thinking tokens looked up."""
        words = PAPER_THINKING_WORDS if config.thinking_words is None else config.thinking_words
        return cls(config, train, thinking_token_ids(student.tokenizer, words))

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean of the questions' losses."""
        states = branch_hidden(student, batch, self.train.layout)
        values = branch_values(student, batch, states, self.train, with_gold=True)
        results = [
            self._question(student, *of_question) for of_question in zip(batch, states, values, strict=True)
        ]
        rows = [row for q, r in zip(batch, results, strict=True) for row in r.rows(q)]
        return StepLoss(torch.stack([r.loss for r in results]).mean(), rows)

    def question(
        self, student: Student, question: EncodedQuestion, states: Sequence[Tensor]
    ) -> QuestionResult:
        """Scores, weights and losses of one question from its branches' hidden states.

        Args:
            student: for the head and the last layer's projections.
            question: K branches.
            states: per branch Float[Tensor, "T+2 hidden"] from `branch_hidden`.

        Source: Eq. 2-11.
        """
        (values,) = branch_values(student, [question], [states], self.train, with_gold=True)
        return self._question(student, question, states, values)

    def _question(
        self,
        student: Student,
        question: EncodedQuestion,
        states: Sequence[Tensor],
        values: Sequence[HeadValues],
    ) -> QuestionResult:
        config = self.config
        with torch.no_grad():
            gains = [information_gain(v.information) for v in values]
            adapt = torch.stack(
                [self._adaptability(b, g) for b, g in zip(question.branches, gains, strict=True)]
            )
            vectors = torch.stack([state[-1] for state in states])
            queries, keys = student.layout.queries_and_keys(student.model, vectors, norms=True)
            attention = consensus_attention(queries.to(adapt.dtype), keys.to(adapt.dtype))
            agree, hard = consensus(attention), torch.stack([difficulty(v.losses) for v in values])
            weights = config.weights(adapt, agree, hard)
        reduce = Tensor.mean if config.sft_reduction == "mean" else Tensor.sum
        supervised = torch.stack([reduce(v.losses) for v in values])
        loss, consistency = (weights * supervised).sum(), weights.new_zeros(())
        if config.lambda_consistency:
            consistency = consistency_loss(span_log_probs(student, question.branches, states), weights)
            loss = loss + config.lambda_consistency * consistency
        return QuestionResult(adapt, agree, hard, weights, supervised, consistency, loss, gains, attention)

    def _adaptability(self, branch: EncodedBranch, gain: Tensor) -> Tensor:
        # The end-of-turn token ends the rationale and is no part of it.
        ids = branch.input_ids[branch.prompt_tokens : branch.prompt_tokens + branch.rationale_tokens]
        mask = token_mask(torch.tensor(ids, device=gain.device), self.thinking_ids, self.config.epsilon)
        return adaptability(gain[: len(ids)], mask, self.config.adaptability_reduction)
