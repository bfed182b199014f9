"""COMPACT by the paper: teachers weighted per question by adaptability, consensus and difficulty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from compact_bench.core.records import Question
from compact_bench.methods.compact.objective import PaperObjective, WeightingConfig
from compact_bench.methods.contract import Claim, MethodCard
from compact_bench.students.student import Student
from compact_bench.training.loop import train
from compact_bench.training.protocol import FitReport, RunContext

# The paper's ablation leaves scores out (section 4.5); the rest are this project's. Epsilon 0 and 1 and the
# mean per token ask what adaptability is made of: thinking tokens, all tokens, or their number.
_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "no-consensus": {"beta_consensus": 0.0},
    "no-adaptability": {"beta_adaptability": 0.0},
    "no-difficulty": {"beta_difficulty": 0.0},
    "only-consensus": {"beta_adaptability": 0.0, "beta_difficulty": 0.0},
    "only-adaptability": {"beta_consensus": 0.0, "beta_difficulty": 0.0},
    "only-difficulty": {"beta_adaptability": 0.0, "beta_consensus": 0.0},
    "no-consistency": {"lambda_consistency": 0.0},
    "equal-weights": {"beta_adaptability": 0.0, "beta_consensus": 0.0, "beta_difficulty": 0.0},
    "epsilon-0": {"epsilon": 0.0},
    "epsilon-1": {"epsilon": 1.0},
    "per-token-adaptability": {"adaptability_reduction": "mean"},
    **{f"temperature-{value:g}": {"temperature": value} for value in (0.25, 0.5, 2.0, 4.0)},
    **{f"beta-adaptability-{value:g}": {"beta_adaptability": value} for value in (0.5, 2.0)},
    **{f"beta-consensus-{value:g}": {"beta_consensus": value} for value in (0.5, 2.0)},
    **{f"beta-difficulty-{value:g}": {"beta_difficulty": value} for value in (0.25, 1.0)},
    **{f"lambda-{value:g}": {"lambda_consistency": value} for value in (0.01, 1.0)},
}

_OURS = (
    "rationales are stripped of outer white space and their answers written canonically, for every method",
    "supervised tokens: the rationale and its end-of-turn token, whether the rationale is right or wrong",
    "L_SFT is the token mean by default (Eq. 8's sum with sft_reduction=sum); difficulty is always the mean",
    "gold tokens: those that overlap the answer where it stands after 'The answer is'",
    "I(0,k) is read at the last prompt token; the end-of-turn token counts in no adaptability",
    "v_k is the hidden state after the final norm at the end-of-turn token",
    "queries and keys without rotary embedding, with biases, query/key norms and adapters where present",
    "grouped keys: each key head is repeated for its group of query heads",
    "attention scale 1/sqrt(width of Q); the paper does not define d",
    "z-score with the unbiased standard deviation plus 1e-4; all ones for one teacher",
    "with two teachers a z-score is about +0.71 or -0.71, whatever the difference: the weight is a vote of "
    "three signs with eight outcomes, and says nothing of how much better a rationale is",
    "adaptability is a sum over tokens (Eq. 3), so that it follows a rationale's length: see its correlation "
    "with length among the truth scores, and variants per-token-adaptability, epsilon-0 and epsilon-1",
    "the thinking words are the released code's and 'Because', which the paper names; it gives no whole list",
    "scores come from the training forward pass itself, dropout on",
    "scores are computed in float32 of hidden states in the decoder's format; consensus is fragile in "
    "bfloat16 (train.dtype=float32 is exact), and the record says which it was",
    "answer span: the last answer stated (docs/answers.md), a separate space token excluded",
    "consistency: mean over the span's tokens, only branches whose answer equals the gold answer, zero with "
    "fewer than two of them, weights not renormalised, gradient through both sides; a pair whose spans "
    "differ in length is left out",
    "several questions in a step: the mean of their losses",
    "a question that lacks teachers, or has several rationales of one: K is the number of its rationales, "
    "over which scores are z-scored and weights and the consistency term taken",
    "AdamW, weight decay 0.01, constant rate after a short warm-up, gradient norm clipped at 1.0",
    "beta1, beta2, beta3, tau, lambda and epsilon are the released code's; the paper does not state its own",
)

_PAPER = "arXiv 2601.13992v1"
_ABLATION = f"{_PAPER}, section 4.5, Figure 5 (Qwen2.5-1.5B)"
_BOTH = {"in_distribution": "in distribution", "out_of_distribution": "out of distribution"}
_MAIN_RESULTS = tuple(
    Claim(f"COMPACT is above {name} {where}", f"{_PAPER}, section 4.2 (main results)", row, group)
    for row, name in {
        "zero_shot": "zero-shot",
        # One teacher, which the paper does not name: without prefixes that is a single teacher's row.
        "single_teacher[best]": "SbS-KD (vanilla CoT distillation; here from the best teacher)",
        "mcc_kd": "MCC-KD",
        "edit": "EDIT",
        "mot": "MoT",
        "committee": "Committee",
    }.items()
    for group, where in _BOTH.items()
)
_ABLATIONS = tuple(
    Claim(f"{text} {_BOTH[group]}", _ABLATION, row, group)
    for text, row, group in (
        ("without consensus COMPACT loses 4.60 %", "compact[no-consensus]", "in_distribution"),
        ("without consensus COMPACT loses 5.51 %", "compact[no-consensus]", "out_of_distribution"),
        ("without adaptability COMPACT loses 9.65 %", "compact[no-adaptability]", "out_of_distribution"),
        ("without difficulty COMPACT loses 2.80 %", "compact[no-difficulty]", "in_distribution"),
        ("without difficulty COMPACT loses 8.60 %", "compact[no-difficulty]", "out_of_distribution"),
        *(
            (f"COMPACT is above equal weights (Direct Avg., read as {reading} consistency)", row, group)
            for row, reading in (("uniform", "without"), ("compact[equal-weights]", "with"))
            for group in _BOTH
        ),
    )
)
"""A loss is relative to the full method; what the paper does not state is no claim here. It does not say
whether Direct Avg. keeps the consistency term, so both readings are tested.
"""
_STABILITY = tuple(
    Claim(
        f"without {part} the standard error of the mean is {ratio} times as large {_BOTH[group]}",
        _ABLATION,
        "compact",
        group,
        row=f"compact[no-{part}]",
        statistic="seed_spread",
    )
    for part, ratio, group in (
        ("consensus", 2.08, "in_distribution"),
        ("consensus", 1.19, "out_of_distribution"),
        ("adaptability", 1.11, "in_distribution"),
        ("difficulty", 1.95, "in_distribution"),
        ("difficulty", 1.39, "out_of_distribution"),
    )
)
_COLLAPSE = Claim(
    "without adaptability the weights collapse onto the low-entropy generalist teachers",
    f"{_PAPER}, section 4.5, Figure 6 (a)",
    "compact",
    row="compact[no-adaptability]",
    statistic="weight_on_easiest_teacher",
)
_FORGETTING = Claim(
    "without difficulty the student forgets",
    f"{_PAPER}, section 4.5, Figure 6 (b)",
    "compact[no-difficulty]",
    "retention",
)


@dataclass(frozen=True)
class Compact:
    """The paper's method."""

    config: WeightingConfig
    config_type = WeightingConfig
    card = MethodCard(
        title="COMPACT: compatibility-weighted multi-teacher distillation with answer-span consistency",
        source="arXiv 2601.13992v1, section 3.2 (Eq. 2-7), 3.3 (Eq. 8), 3.4 (Eq. 9-11)",
        ours=_OURS,
        uses_gold=True,
        short="COMPACT (paper)",
        needs=("gold answers",),
        allows=("missing_teachers", "several_samples"),
        claims=(*_MAIN_RESULTS, *_ABLATIONS, *_STABILITY, _COLLAPSE, _FORGETTING),
    )
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = _VARIANTS

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train by the paper's objective."""
        objective = PaperObjective.for_student(student, self.config, context.settings.train)
        return train(student, questions, objective, context)


METHOD = Compact
