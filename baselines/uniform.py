"""Uniform multi-teacher distillation: every rationale counts the same (the ablation's "Direct Avg.")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from compact_bench import (
    Claim,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    Strict,
    Student,
    SuiteInfo,
    SupervisedObjective,
    train,
)


class UniformConfig(Strict):
    """Settings of uniform weighting.

    Attributes:
        sft_reduction: "mean" or "sum" over a branch's supervised tokens.
    """

    sft_reduction: Literal["mean", "sum"] = "mean"


class Uniform:
    """L = 1/K * sum_k L_SFT,k."""

    card: ClassVar[MethodCard] = MethodCard(
        title="Uniform multi-teacher distillation (Direct Avg.)",
        source="arXiv 2601.13992v1, section 4.5 (Direct Avg.): COMPACT with equal weights, no consistency",
        ours=("supervised tokens and reduction are COMPACT's, so that only the weights differ",),
        min_teachers=1,
        reproduction="untested",
        short="Uniform weights",
        claims=tuple(
            Claim(
                f"Direct Avg. is above the base model {group.replace('_', ' ')}",
                "arXiv 2601.13992v1, section 4.5, Figure 5 (Qwen2.5-1.5B)",
                "zero_shot",
                group,
            )
            for group in ("in_distribution", "out_of_distribution")
        ),
    )
    config_type: ClassVar[type[Strict]] = UniformConfig

    def __init__(self, config: UniformConfig) -> None:
        self.config = config

    def supports(self, suite: SuiteInfo) -> str | None:
        """Runs everywhere."""
        return None

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place."""
        objective = SupervisedObjective(context.settings.train, None, self.config.sft_reduction)
        return train(student, questions, objective, context)


METHOD = Uniform
