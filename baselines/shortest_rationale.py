"""Shortest rationale: of every question the rationale with the fewest tokens."""

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
class _Shortest:
    """The fewest tokens in the student's own tokenizer."""

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """One name; of equally short rationales the first by name."""
        return (min((b.rationale_tokens, b.name) for b in question.branches)[1],)


@dataclass(frozen=True)
class ShortestRationale:
    """L = L_SFT of a question's shortest rationale."""

    config: SupervisedConfig
    config_type = SupervisedConfig
    card = MethodCard(
        title="Shortest rationale: of every question the one with the fewest tokens",
        short="Shortest rationale",
        source="ours; related to the shortest rejection sampling of arXiv 2501.12599 (Kimi k1.5, "
        "long2short), which takes the shortest of one model's correct samples",
        deviations=("no check of the answer, so that what it shows is the effect of length alone",),
        ours=(
            "length in the student's tokens, end of turn excluded; of equally short rationales the teacher "
            "who is first by name",
            "the other rationales are not computed: no method sees fewer tokens in as many steps",
        ),
        needs=("a rationale",),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train on every question's shortest rationale."""
        objective = SelectedBranches(self.config.objective(context), _Shortest())
        return train(student, questions, objective, context)


METHOD = ShortestRationale
