"""COMPACT as the authors' released code computes it, so that either claim can be checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compact_bench import (
    Claim,
    FitReport,
    MethodCard,
    Question,
    ReleasedObjective,
    RunContext,
    Student,
    SuiteInfo,
    WeightingConfig,
    train,
)


@dataclass(frozen=True)
class CompactReleased:
    """The released code's algorithm on the suite's loop."""

    config: WeightingConfig
    config_type = WeightingConfig
    card = MethodCard(
        title="COMPACT, released code: raw texts, padded rows, raw-logit adaptability, whole-row consistency",
        source="CAG-Research/COMPACT-Multi-teacher-CoT-Distillation at f279471",
        deviations=(
            "learning rate, epochs, accumulation and dtype are the suite's, as for every method",
            "the suite's linear warm-up comes before the constant rate; the released loop has none",
            "rows are computed packed: a question's rows share their prompt and so its dropout, where the "
            "code draws a mask for every row (train.layout=padded draws them so)",
            "attention at padding follows SDPA; with the flash attention of the authors it is zero there",
            "rows over the limit are cut as in the code; the suite's data checks refuse or drop their "
            "questions before, unless train.long_rows=truncate",
            "a student without the ChatML assistant marker is supervised on the whole row, as the code does",
        ),
        uses_gold=True,
        short="COMPACT (released code)",
        needs=("gold answers",),
        claims=tuple(
            Claim(
                f"COMPACT, by its authors' code, is above {name} {group.replace('_', ' ')}", place, row, group
            )
            for row, name, place in (
                ("zero_shot", "zero-shot", "arXiv 2601.13992v1, section 4.2 (main results)"),
                ("uniform", "equal weights (Direct Avg.)", "arXiv 2601.13992v1, section 4.5, Figure 5"),
            )
            for group in ("in_distribution", "out_of_distribution")
        ),
        allows=("missing_teachers", "several_samples"),
    )

    def supports(self, suite: SuiteInfo) -> str | None:
        """Knows no summed loss."""
        summed = "the released code averages over tokens; sft_reduction=sum is the paper variant's"
        return None if self.config.sft_reduction == "mean" else summed

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place on raw texts."""
        objective = ReleasedObjective.for_student(student, self.config, context.settings.train)
        return train(student, questions, objective, context)


METHOD = CompactReleased
