"""Majority filter: equal weights over the rationales whose answer most teachers give; no gold answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    SelectedBranches,
    Student,
    SupervisedConfig,
    same_answer,
    train,
)


class MajorityFilterConfig(SupervisedConfig):
    """Settings of the filter.

    Attributes:
        ties: of answers that equally many teachers give, "keep" takes all of them and "drop" none.
    """

    ties: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True)
class _Majority:
    """What states the answer that most teachers give."""

    ties: Literal["keep", "drop"]

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """The rationales that are in the majority."""
        answers = {b.name: b.predicted_answer for b in question.branches if b.predicted_answer is not None}
        # "B", "bank" and "B) bank": who agrees with the most frequent answer need not agree with the others.
        alike = {
            name: {n for n, b in answers.items() if same_answer(b, a, by_rules=True)}
            for name, a in answers.items()
        }
        most = max(map(len, alike.values()), default=0)
        winners = set().union(*(names for names in alike.values() if len(names) == most))
        chosen = [name for name in answers if name in winners]
        return chosen if len(chosen) == most or self.ties == "keep" else []


@dataclass(frozen=True)
class MajorityFilter:
    """L = 1/M * sum over the M rationales with the majority answer of L_SFT."""

    config: MajorityFilterConfig
    config_type = MajorityFilterConfig
    card = MethodCard(
        title="Majority filter: only rationales whose answer most teachers give (no gold answer)",
        short="Majority filter",
        source="arXiv 2210.11610 (self-improvement): fine-tuning on the rationales whose answer is the most "
        "frequent one; there one model's own samples vote, here the teachers",
        deviations=(
            "the source drops what has no consistent answer; here a question without a usable rationale "
            "stays in its step with loss 0, so that steps and order are every method's",
            "none of the source's changes of prompt formats",
        ),
        ours=(
            "a majority is the largest number of rationales, not more than half of them; of tied answers all "
            "are kept (ties=drop keeps none)",
            "every rationale of a question has one vote, also where one teacher has several, as the source's "
            "samples of one model have",
            "rationales that state no answer do not vote and are left out",
            "numbers are one answer by value, expressions only where they are written alike",
            "equal weights over what is left of a question; what is left out is not computed",
            "two teachers who differ are a tie, so with K = 2 and ties=keep it is uniform where both answer",
        ),
        needs=("rationales of several teachers",),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train on the rationales with the majority's answer."""
        objective = SelectedBranches(self.config.objective(context), _Majority(self.config.ties))
        return train(student, questions, objective, context)


METHOD = MajorityFilter
