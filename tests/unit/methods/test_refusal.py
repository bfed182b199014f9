"""What a card says of suites is a refusal without a line of code; `supports` adds what a card cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from compact_bench import FitReport, MethodCard, Question, RunContext, Strict, Student
from compact_bench.methods.contract import GAPS, SUITE_DATA, NoSettings, SuiteInfo, config_doc, refusal
from compact_bench.methods.registry import get_method, method_names
from compact_bench.training.objectives import SupervisedConfig

WHOLE = SuiteInfo("whole", ("ada", "bob"), True, True, True, True, True)


class Named(SupervisedConfig):
    """Settings.

    Attributes:
        teacher: a name.
    """

    teacher: str | None = None


@dataclass(frozen=True)
class Plain:
    """A method in the shortest form."""

    config: Strict
    config_type = Named
    card = MethodCard(title="Plain", source="a test")

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        return FitReport()


def with_card(**facts: object) -> Plain:
    class Carded(Plain):
        card = replace(Plain.card, **facts)  # type: ignore[arg-type]

    return Carded(NoSettings())


@pytest.mark.parametrize("data", SUITE_DATA)
def test_what_a_card_requires_is_refused_where_a_suite_lacks_it(data: str) -> None:
    missing: dict[str, Any] = {f"has_{data}": False}
    lacking = replace(WHOLE, **missing)
    needy = with_card(requires=(data,))
    assert refusal(needy, WHOLE) is None
    assert SUITE_DATA[data] in (refusal(needy, lacking) or "")  # type: ignore[index]
    assert refusal(with_card(), lacking) is None


def test_gold_answers_and_teachers() -> None:
    assert "gold answers" in (refusal(with_card(uses_gold=True), replace(WHOLE, has_gold=False)) or "")
    assert refusal(with_card(), replace(WHOLE, has_gold=False)) is None
    assert refusal(with_card(min_teachers=2), WHOLE) is None
    reason = refusal(with_card(min_teachers=3), WHOLE)
    assert reason == "it needs at least 3 teachers, the data have 2"


def test_a_teacher_named_in_the_configuration() -> None:
    assert refusal(Plain(Named(teacher="ada")), WHOLE) is refusal(Plain(Named()), WHOLE) is None
    assert refusal(Plain(Named(teacher="eve")), WHOLE) == "the data have no teacher 'eve', only ada, bob"


def test_supports_is_asked_after_the_card() -> None:
    class Picky(Plain):
        card = replace(Plain.card, uses_gold=True)

        def supports(self, suite: SuiteInfo) -> str | None:
            return None if suite.name == "whole" else f"not on {suite.name}"

    picky = Picky(NoSettings())
    assert refusal(picky, WHOLE) is None
    assert refusal(picky, replace(WHOLE, name="other")) == "not on other"
    assert "gold" in (refusal(picky, replace(WHOLE, name="other", has_gold=False)) or "")


def test_a_configuration_is_documented_with_what_it_extends() -> None:
    assert "teacher: a name" in config_doc(Named) and "sft_reduction" in config_doc(Named)
    assert config_doc(NoSettings) == NoSettings.__doc__


@pytest.mark.parametrize(("gap", "reason"), GAPS.items())
def test_a_ragged_set_is_refused_unless_the_card_allows_it(gap: str, reason: str) -> None:
    uneven: dict[str, Any] = {gap: True}
    suite = replace(WHOLE, **uneven)
    assert refusal(with_card(), WHOLE) is None
    assert refusal(with_card(), suite) == f"it needs {reason}"
    assert refusal(with_card(allows=(gap,)), suite) is None
    (other,) = set(GAPS) - {gap}
    assert refusal(with_card(allows=(other,)), suite) == f"it needs {reason}"
    # What does not train reads no rationale.
    assert refusal(with_card(min_teachers=0), suite) is None


def test_which_methods_refuse_a_ragged_set() -> None:
    cards = {name: get_method(name).card for name in method_names()}
    lacking = {name: set(GAPS) - set(card.allows) for name, card in cards.items() if card.min_teachers}
    assert {name: missing for name, missing in lacking.items() if missing} == {
        # They know a teacher's pairs, scores and reviews, and not of which of its rationales.
        "edit": {"several_samples"},
        "committee": {"several_samples"},
    }
