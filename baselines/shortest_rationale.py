"""Shortest rationale: of every question the rationale with the fewest tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    SelectedBranches,
    Strict,
    Student,
    SuiteInfo,
    SupervisedObjective,
    train,
)


class ShortestRationaleConfig(Strict):
    """Settings of the choice.

    Attributes:
        sft_reduction: "mean" or "sum" over a rationale's supervised tokens.
    """

    sft_reduction: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True)
class _Shortest:
    """The fewest tokens in the student's own tokenizer."""

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """One name; of equally short rationales the teacher who is first by name."""
        return (min((b.rationale_tokens, b.teacher) for b in question.branches)[1],)


class ShortestRationale:
    """L = L_SFT of a question's shortest rationale."""

    card: ClassVar[MethodCard] = MethodCard(
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
        min_teachers=1,
        reproduction="no reference",
    )
    config_type: ClassVar[type[Strict]] = ShortestRationaleConfig

    def __init__(self, config: ShortestRationaleConfig) -> None:
        self.config = config

    def supports(self, suite: SuiteInfo) -> str | None:
        """Runs everywhere."""
        return None

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place."""
        inner = SupervisedObjective(context.settings.train, None, self.config.sft_reduction)
        return train(student, questions, SelectedBranches(inner, _Shortest()), context)


METHOD = ShortestRationale
