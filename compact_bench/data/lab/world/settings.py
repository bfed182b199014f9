"""What can be set of the lab's world: its seed, its sizes, and how often each teacher errs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from compact_bench.core.settings import Strict
from compact_bench.data.lab.world.editions import EDITIONS, Edition

Rate = Annotated[float, Field(ge=0.0, le=1.0)]
MOST_QUESTIONS = 100_000
"""More than any student here could be trained on; a slip of the keyboard must not fill the memory."""
Length = Annotated[int, Field(ge=1, le=7)]

_UNSAID = {
    "review_error_rate",
    "review_invalid_rate",
    "version",
    "middling_error_rate",
    "drawn_styles",
    "one_style",
    "right_answer_wrong_step_rate",
    "shared_mistake",
    "competence",
}
"""Left out of the settings as written down where they are the default, which is version 1's."""


class WorldSettings(Strict):
    """The lab's world. Every number of it is part of the suite's fingerprint.

    Attributes:
        seed: of questions and rationales; the same seed gives the same bytes.
        questions: training and validation questions together, all covered families alike.
        shortest_steps, longest_steps: lengths of training and in-distribution questions, in steps.
        shortest_long_steps, longest_long_steps: lengths of the out-of-distribution longer chains.
        strong_error_rate: share of wrong rationales of abacus and atlas in the families they are good at.
        weak_error_rate: the same in the families they are bad at, where they follow a wrong rule.
        ponder_error_rate: share of wrong rationales of ponder, who is right and long-winded (in version 2, in
            the families it is good at).
        slip_rate: share of wrong rationales of breezy, who slips in one step and reasons on from there (in
            version 2 it follows a wrong rule of its own, in the families it is bad at).
        review_error_rate: share of reviews that take a right rationale for a wrong one, or a wrong one for a
            right one.
        review_invalid_rate: share of reviews without a valid score.
        version: of the world: its families, and who is good at which (`EDITIONS`).
        middling_error_rate: share of wrong rationales of a teacher in the families in which it is neither
            good nor bad; version 1 has none.
        drawn_styles: share of rationales told in a style that is drawn; the others are told in their
            teacher's.
        one_style: whether all are told in one style instead, the connected one.
        right_answer_wrong_step_rate: share of the wrong rationales that state the gold answer all the same:
            their last step jumps to it, or it is stated after a wrong last step.
        shared_mistake: share of questions on which the teachers that are weak in the family err together, by
            the same wrong rule. Elsewhere they err apart; breezy has a wrong rule of its own in version 2.
        competence: share of the right rationales that take all moves at once, which the student cannot
            follow.
    """

    seed: Annotated[int, Field(ge=0)] = 1
    questions: Annotated[int, Field(ge=8, le=MOST_QUESTIONS)] = 320
    shortest_steps: Length = 2
    longest_steps: Length = 4
    shortest_long_steps: Length = 5
    longest_long_steps: Length = 6
    strong_error_rate: Rate = 0.03
    weak_error_rate: Rate = 0.85
    ponder_error_rate: Rate = 0.05
    slip_rate: Rate = 0.5
    review_error_rate: Rate = 0.15
    review_invalid_rate: Rate = 0.02
    version: Literal[1, 2] = 1
    middling_error_rate: Rate = 0.4
    drawn_styles: Rate = 0.0
    one_style: bool = False
    right_answer_wrong_step_rate: Rate = 0.0
    shared_mistake: Rate = 0.0
    competence: Rate = 0.0

    @property
    def edition(self) -> Edition:
        """What its version says."""
        return EDITIONS[self.version]

    @model_serializer(mode="wrap")
    def _unsaid_at_default(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        defaults = {name: type(self).model_fields[name].default for name in _UNSAID}
        return {name: value for name, value in data.items() if value != defaults.get(name, ...)}

    @model_validator(mode="after")
    def _lengths_in_order(self) -> WorldSettings:
        if (
            not self.shortest_steps
            <= self.longest_steps
            < self.shortest_long_steps
            <= self.longest_long_steps
        ):
            raise ValueError(
                "expected shortest_steps <= longest_steps < shortest_long_steps <= longest_long_steps"
            )
        return self
