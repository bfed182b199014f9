"""MCC-KD: two diverse right rationales of a question, and agreement of the student on their answers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from compact_bench import (
    Claim,
    EncodedBranch,
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    Rate,
    RunContext,
    SelectedBranches,
    StepLoss,
    Student,
    SupervisedConfig,
    TrainSettings,
    all_branches,
    branch_hidden,
    branch_rows,
    draw_teacher,
    reduced_losses,
    span_log_probs,
    symmetric_kl,
    train,
)


class MccKdConfig(SupervisedConfig):
    """Settings of MCC-KD.

    Attributes:
        agreement_weight: alpha, the factor of the KL term.
        agreement_temperature: by which both sides' logits are divided.
        max_similarity: share of the distinct tokens that two rationales may have in common to count as
            diverse, in [0, 1].
    """

    agreement_weight: Annotated[float, Field(ge=0.0)] = 0.01
    agreement_temperature: Rate = 1.3
    max_similarity: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8


def similarity(one: EncodedBranch, other: EncodedBranch) -> float:
    """Jaccard similarity of two rationales as sets of tokens, in [0, 1]."""
    a, b = (set(x.input_ids[x.prompt_tokens : x.prompt_tokens + x.rationale_tokens]) for x in (one, other))
    return len(a & b) / len(a | b)


@dataclass(frozen=True)
class _DiversePair:
    """Two rationales whose answers are right and whose texts differ."""

    seed: int
    max_similarity: float

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """Both names; one or none where no more of them are right."""
        right = sorted((b for b in question.branches if b.is_right), key=lambda b: b.name)
        if len(right) < 2:
            return [branch.name for branch in right]
        alike = {
            f"{a.name}\n{b.name}": (similarity(a, b), (a.name, b.name))
            for a, b in itertools.combinations(right, 2)
        }
        most = max(self.max_similarity, min(value for value, _ in alike.values()))
        diverse = [name for name, (value, _) in alike.items() if value <= most]
        return alike[draw_teacher(diverse, self.seed, step, question.question_id)][1]


@dataclass(frozen=True)
class PairObjective:
    """Mean supervised loss of a question's one or two branches, and alpha times the KL between two."""

    config: MccKdConfig
    train: TrainSettings

    encode = all_branches

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean of the questions' losses."""
        states = branch_hidden(student, batch, self.train.layout)
        losses = reduced_losses(student, batch, states, self.train, self.config.sft_reduction)
        totals, rows = [], []
        for question, of_branches, question_losses in zip(batch, states, losses, strict=True):
            loss = torch.stack(question_losses).mean()
            divergence = self._disagreement(student, question, of_branches)
            if divergence is not None:
                loss = loss + self.config.agreement_weight * divergence
            totals.append(loss)
            value = 0.0 if divergence is None else float(divergence.detach())
            rows += [{**row, "consistency_loss": value} for row in branch_rows([question], [question_losses])]
        return StepLoss(torch.stack(totals).mean(), rows)

    def _disagreement(
        self, student: Student, question: EncodedQuestion, states: Sequence[Tensor]
    ) -> Tensor | None:
        """1/2 (KL(P_a || P_b) + KL(P_b || P_a)), mean over the answer span; None where there is none."""
        if not self.config.agreement_weight or len(question.branches) != 2:
            return None
        first, second = span_log_probs(student, question.branches, states, self.config.agreement_temperature)
        if first is None or second is None or first.shape != second.shape:
            return None
        return 0.5 * symmetric_kl(first, second).mean()


@dataclass(frozen=True)
class MccKd:
    """L = 1/2 (NLL_a + NLL_b) + alpha * 1/2 (KL(P_a || P_b) + KL(P_b || P_a)) on the answer span."""

    config: MccKdConfig
    config_type = MccKdConfig
    card = MethodCard(
        title="MCC-KD: diverse right rationales, and agreement of the student on their answers",
        short="MCC-KD",
        source="arXiv 2310.14747; loss and coefficients as in homzer/MCC-KD at b7b780d (script of December "
        "2023); the later commit 86d263e cannot run. The full text was not at hand",
        deviations=(
            "the released code slices logits at the answer's own tokens; here the positions that predict "
            "them are read (one earlier)",
            "the later commit divides one side's logits by the temperature; here both sides' are",
            "learning rate, epochs, batch and adapters are the suite's, as for every method; the source "
            "keeps the best checkpoint on development data, here the last one is kept",
            "the source's rationales are samples of one teacher; here they are the suite's teachers'",
        ),
        ours=(
            "the source's criterion of diversity was never released: two rationales count as diverse where "
            "their sets of tokens have a Jaccard similarity of at most 0.8 (the threshold of an unrelated "
            "helper of the released code); where no pair has, the least similar one is taken",
            "a pair is drawn for every question and step, all diverse pairs being alike",
            "a question with one right rationale is trained on that one alone, without KL; one without any "
            "stays in its step with loss 0",
            "a pair whose answer spans differ in tokens has no KL, as in COMPACT's consistency",
            "right is a rationale whose last stated answer is the gold one (docs/answers.md)",
            "alpha 0.01 and temperature 1.3 as in the script for GSM8K; other data sets' are not known",
        ),
        uses_gold=True,
        needs=("two rationales with the gold answer", "an answer span"),
        min_teachers=2,
        claims=(
            # Against uniform, which lacks its filter of right answers, the claim would be the filter's.
            Claim(
                "better in distribution than distillation without the consistency term",
                "arXiv 2310.14747, abstract",
                "mcc_kd[no-agreement]",
            ),
            Claim(
                "generalises better to other data sets than without it",
                "arXiv 2310.14747, abstract",
                "mcc_kd[no-agreement]",
                group="out_of_distribution",
            ),
        ),
        allows=("missing_teachers", "several_samples"),
    )
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"no-agreement": {"agreement_weight": 0.0}}

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place."""
        pair = _DiversePair(context.seed_for("pair"), self.config.max_similarity)
        objective = SelectedBranches(PairObjective(self.config, context.settings.train), pair)
        return train(student, questions, objective, context)


METHOD = MccKd
