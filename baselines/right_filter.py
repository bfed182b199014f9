"""Right-answer filter: equal weights over the rationales whose answer is the gold answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    SelectedBranches,
    Student,
    SupervisedConfig,
    train,
)


@dataclass(frozen=True)
class _RightAnswer:
    """What states the gold answer."""

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """The rationales whose answer is right."""
        return [branch.name for branch in question.branches if branch.is_right]


@dataclass(frozen=True)
class RightFilter:
    """L = 1/R * sum over the R rationales with the gold answer of L_SFT; 0 where none has it."""

    config: SupervisedConfig
    config_type = SupervisedConfig
    card = MethodCard(
        title="Right-answer filter: only rationales whose answer is the gold answer",
        short="Right-answer filter",
        source="the usual filter of rationale distillation: arXiv 2212.10071 (Fine-tune-CoT, step 2: samples "
        "are filtered by the correctness of the final prediction), with one teacher there",
        deviations=(
            "the source drops a question without a right rationale; here it stays in its step with loss 0, "
            "so that steps and order are every method's",
        ),
        ours=(
            "equal weights over what is left of a question, so that every question counts the same",
            "the answer is the last one stated (docs/answers.md); a rationale that states none is left out",
            "a rationale that is left out is not computed: fewer tokens than uniform in as many steps",
        ),
        uses_gold=True,
        needs=("a rationale", "the gold answer"),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train on the rationales with the gold answer."""
        objective = SelectedBranches(self.config.objective(context), _RightAnswer())
        return train(student, questions, objective, context)


METHOD = RightFilter
