"""Template: shorter rationales count more.

A working method to start one of your own from: `compact-bench check` says what a change breaks, and
docs/adding-a-method.md explains every part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from compact_bench import FitReport, MethodCard, Question, RunContext, Student, SupervisedConfig, train


class TemplateConfig(SupervisedConfig):
    """Settings of the weights, beside those of the supervised loss.

    Attributes:
        power: how much shorter rationales are preferred; 0 weighs them alike (no unit).
    """

    power: Annotated[float, Field(ge=0.0)] = 1.0


@dataclass(frozen=True)
class Template:
    """L = sum_k w_k * L_SFT,k with w_k proportional to 1 / words_k ** power."""

    config: TemplateConfig
    config_type = TemplateConfig
    # What a reader must know before believing the method's row. State every deviation from the source;
    # what the source leaves open, and you chose, is `ours`. A method that reads gold answers says
    # uses_gold=True, one that compares teachers min_teachers=2: suites without them then refuse it. It allows
    # questions that lack teachers and teachers with several rationales, as it goes by rationales alone.
    card = MethodCard(
        title="Template: rationales weighted by brevity",
        short="Template",
        source="ours, no paper",
        ours=("length is counted in words, so that the weights are the same for every student",),
        needs=("a rationale",),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )
    # Settings that deserve a name: users write "NAME[strong]".
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"strong": {"power": 4.0}}

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Weigh every question's rationales, then train `student` in place."""
        weights = {question.id: brevity_weights(question, self.config.power) for question in questions}
        return train(student, questions, self.config.objective(context, weights=weights), context)


def brevity_weights(question: Question, power: float) -> dict[str, float]:
    """Name of a rationale (its teacher's, where that has one only) -> weight, which sum to 1.

    Args:
        question: with rationales.
        power: how much shorter ones are preferred.
    """
    # An empty text is refused by the loop, with the question named; it must not fail here before.
    raw = {r.name: max(1, len(r.text.split())) ** -power for r in question.rationales}
    # Summed in the order of the names: the order of the teachers must not matter, not even in the last bit.
    total = sum(raw[name] for name in sorted(raw))
    return {name: value / total for name, value in raw.items()}


METHOD = Template
