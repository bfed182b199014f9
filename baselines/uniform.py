"""Uniform multi-teacher distillation: every rationale counts the same (the ablation's "Direct Avg.")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compact_bench import Claim, FitReport, MethodCard, Question, RunContext, Student, SupervisedConfig, train


@dataclass(frozen=True)
class Uniform:
    """L = 1/K * sum_k L_SFT,k."""

    config: SupervisedConfig
    config_type = SupervisedConfig
    card = MethodCard(
        title="Uniform multi-teacher distillation (Direct Avg.)",
        source="arXiv 2601.13992v1, section 4.5 (Direct Avg.): COMPACT with equal weights",
        ours=(
            "no consistency term: the paper does not say whether Direct Avg. keeps it. The other reading is "
            "compact[equal-weights]; claims about Direct Avg. are held against both",
            "supervised tokens and reduction are COMPACT's, so that only the weights differ",
        ),
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
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train on all rationales alike."""
        return train(student, questions, self.config.objective(context), context)


METHOD = Uniform
