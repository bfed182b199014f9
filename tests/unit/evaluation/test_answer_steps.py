"""Which generations count as answered with steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compact_bench.evaluation.answer_steps import has_steps


@pytest.mark.parametrize(
    "generation",
    [
        "She loses 1 so 0. She gains 4 so 4. The answer is 4.",
        "2 + 3 = 5. The answer is 5.",
        "2 + 3 = 5\nThe answer is 5",
        "Tom has 3.5 apples. \\boxed{3.5}",
        "First, 2 + 3 = 5.\n#### 5",
        # No statement: the last sentence counts as the answer's.
        "He buys 2. So he has 5",
        # The first answer is taken back, so that what leads to the second are steps.
        "The answer is 4. Wait, that is wrong. The answer is 5.",
        # Cut off at the longest generation.
        "She loses 1 so 0. She gains 4 so",
    ],
)
def test_a_sentence_before_the_answers_is_a_step(generation: str) -> None:
    assert has_steps(generation)


@pytest.mark.parametrize(
    "generation",
    [
        "",
        " \n ",
        "4",
        "The answer is 4.",
        "The answer is 3.5 apples.",
        "\n\nThe answer is 4.",
        "...\nThe answer is 4.",
        "1.\nThe answer is 4.",
        # Reasons behind the answer are no steps towards it.
        "The answer is 4. She loses 1 so 0. She gains 4 so 4.",
        # Documented limit: one sentence.
        "She loses 1 and gains 4, so the answer is 4.",
        "It is 4.",
    ],
)
def test_an_answer_alone_has_none(generation: str) -> None:
    assert not has_steps(generation)


@given(st.lists(st.sampled_from(["The answer is", " 8", ".", "!", "\n", " x", " 3.5", "1.", "\\boxed{2}"])))
def test_any_text_has_an_outcome_and_a_sentence_in_front_gives_steps(parts: list[str]) -> None:
    text = "".join(parts)
    assert has_steps(text) in (True, False)
    if text.strip():
        assert has_steps(f"Two and three are five.\n{text}")
