"""All rationales as plain data: every rationale is a training example of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from compact_bench import (
    Claim,
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    StepLoss,
    Student,
    SupervisedConfig,
    SupervisedObjective,
    inner_branches,
    train,
)


class AllRationalesConfig(SupervisedConfig):
    """Settings of training on all rationales.

    Attributes:
        group: examples per optimiser step: "rationales" takes K times as many examples as other methods take
            questions, and so as many steps; "questions" takes as many examples, and so K times the steps.
    """

    group: Literal["rationales", "questions"] = "rationales"


@dataclass(frozen=True)
class _Examples:
    """The loss of examples, each a question with one of its rationales; `counts`: examples per question."""

    inner: SupervisedObjective
    counts: Mapping[str, int] = field(repr=False)

    encode = inner_branches

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean over the examples; a rationale's weight in the table is its share of its question."""
        step_loss = self.inner.loss(student, batch)
        for row in step_loss.rows:
            row["teacher_weight"] = 1.0 / self.counts[row["question_id"]]
        return step_loss


@dataclass(frozen=True)
class AllRationales:
    """L = mean over all (question, rationale) pairs of L_SFT, shuffled as pairs."""

    config: AllRationalesConfig
    config_type = AllRationalesConfig
    card = MethodCard(
        title="All rationales as plain data: every rationale a training example of its own",
        short="All rationales as data",
        source="arXiv 2212.10071 (Fine-tune-CoT, diverse reasoning): several rationales of a question are "
        "added to the training data as samples of their own; there they are one teacher's",
        deviations=("no filter by correctness; right_filter shows what that does",),
        ours=(
            "a step has K times as many examples as other methods have questions, so that steps, tokens and "
            "learning rate are those of uniform; the source's step is group=questions (variant more-steps)",
            "pairs are shuffled, so a question's rationales stand in different steps: the order of questions "
            "is its own",
            "K is the largest number of rationales that a question has; where others have fewer, there are "
            "fewer steps than uniform takes, and every rationale counts the same, not every question",
        ),
        needs=("a rationale",),
        claims=(
            Claim(
                "several rationales of a question teach more than one",
                "arXiv 2212.10071, abstract",
                "single_teacher[best]",
            ),
        ),
        extra_steps="none as it is; its variant more-steps takes K times the optimiser steps, each on a K-th "
        "of the tokens",
        allows=("missing_teachers", "several_samples"),
    )
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"more-steps": {"group": "questions"}}

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place."""
        examples = [example for question in questions for example in _examples(question)]
        counts = {question.id: len(question.rationales) for question in questions}
        if self.config.group == "rationales":
            factor = max(1, *counts.values())
            context = context.with_train(accumulation=context.settings.train.accumulation * factor)
        return train(student, examples, _Examples(self.config.objective(context), counts), context)


def _examples(question: Question) -> list[Question]:
    """The question once per rationale; as it is where it has none, so that encoding says so."""
    # By name, so that the order of a question's rationales does not matter.
    rationales = sorted(question.rationales, key=lambda r: r.name)
    return [replace(question, rationales=(rationale,)) for rationale in rationales] or [question]


METHOD = AllRationales
