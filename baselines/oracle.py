"""Oracle: equal weights over the rationales that are really right; a bound to read rows by, no method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compact_bench import (
    DataError,
    Fault,
    FitReport,
    MethodCard,
    Question,
    RunContext,
    Student,
    SupervisedConfig,
    train,
)


@dataclass(frozen=True)
class Oracle:
    """L = 1/R * sum over the R right rationales of L_SFT; 0 where none is right."""

    config: SupervisedConfig
    config_type = SupervisedConfig
    card = MethodCard(
        title="Oracle: only the rationales that are right (a bound, not a method)",
        source="none: it reads which rationales are right, which no method can know",
        ours=(
            "it reads `Rationale.truth`, so it runs only where a suite's maker knows the truth",
            "supervised tokens, reduction, steps and order are those of uniform, so that only the weights "
            "differ",
            "a question without a right rationale stays in its step with loss 0",
            "it bounds what weighting by correctness alone can do; a method that also prefers one right "
            "rationale to another may pass it",
        ),
        requires=("truth",),
        reproduction="no reference",
        short="Oracle (right rationales only; a bound)",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train on the right rationales alone."""
        objective = self.config.objective(context, weights=right_weights(questions))
        return train(student, questions, objective, context)


def right_weights(questions: Sequence[Question]) -> dict[str, dict[str, float]]:
    """Question id -> a rationale's name -> weight: equal over a question's right ones, 0 for the others.

    Raises:
        DataError: rationales have no `truth`; all of them are listed.
    """
    unknown = [(q.id, r.name) for q in questions for r in q.rationales if r.truth is None]
    if unknown:
        problem = "expected to know whether it is right, got no truth"
        raise DataError(
            "the oracle cannot weigh these rationales",
            [Fault(f"question {name}, teacher {teacher}", problem, name) for name, teacher in unknown],
            mend="train it on questions whose maker knows, or run another method.",
        )
    weights = {}
    for question in questions:
        right = [r.name for r in question.rationales if r.truth is not None and r.truth.is_right]
        weights[question.id] = {
            r.name: 1.0 / len(right) if r.name in right else 0.0 for r in question.rationales
        }
    return weights


METHOD = Oracle
