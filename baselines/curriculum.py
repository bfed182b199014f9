"""Difficulty curriculum: rationales that the base student finds easy first, all of them in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    NumericalError,
    Question,
    RunContext,
    SelectedBranches,
    Student,
    SupervisedConfig,
    SupervisedObjective,
    branch_hidden,
    branch_values,
    difficulty,
    train,
)

from ._before_training import measured


class CurriculumConfig(SupervisedConfig):
    """Settings of the curriculum.

    Attributes:
        initial_share: share of all rationales, the easiest ones, that is used at the first step, in (0, 1].
        full_at: share of the schedule's steps after which all rationales are used, in (0, 1].
        pacing: "root" grows fast at first, as the square root of the step; "linear" evenly.
        order: "easy_first", or "hard_first" as a control.
    """

    initial_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.01
    full_at: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    pacing: Literal["root", "linear"] = "root"
    order: Literal["easy_first", "hard_first"] = "easy_first"

    def share(self, step: int, total: int) -> float:
        """Share of the rationales that a step may use (arXiv 1903.09848, linear or square-root pacing)."""
        done, first = step / (self.full_at * total), self.initial_share
        if done >= 1.0:
            return 1.0
        if self.pacing == "linear":
            return first + done * (1.0 - first)
        return math.sqrt(first**2 + done * (1.0 - first**2))


@dataclass(frozen=True)
class _Pace:
    """Which rationales a step may use.

    Attributes:
        places: question id -> name of a rationale -> its place among all, in (0, 1], the first ones low.
    """

    config: CurriculumConfig
    places: Mapping[str, Mapping[str, float]] = field(repr=False)

    def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
        """The rationales within the step's share, but always the question's first."""
        places, share = self.places[question.question_id], self.config.share(step, total)
        first = min(places.values())
        return [name for name, place in places.items() if place <= max(share, first)]


@dataclass(frozen=True)
class Curriculum:
    """L = mean of L_SFT over the rationales of a question that are easy enough for the step."""

    config: CurriculumConfig
    config_type = CurriculumConfig
    card = MethodCard(
        title="Difficulty curriculum: rationales the base student finds easy first, all of them later",
        short="Difficulty curriculum",
        source="arXiv 1903.09848 (competence-based curriculum; there for translation, with sentence length "
        "and word rarity as difficulty): the linear and square-root pacing",
        deviations=(
            "the source draws batches from the easiest examples; here every question stays in its step, in "
            "every method's order, and the curriculum decides on its rationales only",
        ),
        ours=(
            "difficulty is COMPACT's, the token mean of the rationale's loss, under the untrained student",
            "places are among all rationales of all training questions; a question of which none is within "
            "the share yet is trained on its easiest one",
            "equal weights over a question's rationales within the share; the others are not computed, so it "
            "sees fewer tokens than uniform until full_at",
            "initial share 1 %, all rationales from half of the schedule on",
            "the losses before training are computed again when a killed run goes on; they are no part of "
            "the token counts",
        ),
        needs=("a rationale",),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"hard-first": {"order": "hard_first"}}

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Order all rationales by their difficulty for the untrained student, then train by the pacing."""
        inner, what = self.config.objective(context), "difficulty of the rationales"
        difficulties = measured(student, questions, context, what, lambda q: _difficulties(student, q, inner))
        sign = 1.0 if self.config.order == "easy_first" else -1.0
        places: dict[str, dict[str, float]] = {}
        ordered = sorted(
            (sign * value, question, name) for of in difficulties.values() for value, question, name in of
        )
        for number, (_, question_id, name) in enumerate(ordered, 1):
            places.setdefault(question_id, {})[name] = number / len(ordered)
        return train(student, questions, SelectedBranches(inner, _Pace(self.config, places)), context)


def _difficulties(
    student: Student, question: Question, inner: SupervisedObjective
) -> list[tuple[float, str, str]]:
    """(difficulty in nats per token, question id, name) of every branch."""
    encoded = inner.encode(student, question)
    states = branch_hidden(student, [encoded], inner.train.layout)
    (values,) = branch_values(student, [encoded], states, inner.train, with_gold=False)
    pairs = zip(encoded.branches, values, strict=True)
    losses = [(float(difficulty(v.losses)), question.id, branch.name) for branch, v in pairs]
    if not all(math.isfinite(value) for value, _, _ in losses):
        raise NumericalError(
            f"question {question.id}: expected a finite loss of every rationale, got "
            f"{', '.join(f'{name} {value}' for value, _, name in losses)}. Use train.dtype=float32."
        )
    return losses


METHOD = Curriculum
