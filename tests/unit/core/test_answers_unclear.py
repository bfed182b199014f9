"""Strings that name a number or an option and state none, or another one: hostile ones of a review."""

from __future__ import annotations

import time

import pytest

from compact_bench.core.answers import answer_problem, canonical_text, extract_answer, same_answer

SAID = "The answer is "
STATES_NOT = [
    (SAID + "either 3 or 5.", "3"),
    (SAID + "3, 4 or 5.", "3"),
    (SAID + "3 and 5.", "3"),
    (SAID + "3 to 5.", "3"),
    (SAID + "between 3 and 5.", "3"),
    (r"\boxed{5 \text{ or } 6}", "5"),
    (r"\boxed{5, 6}", "5"),
    (r"\boxed{5;6}", "5"),
    (r"\boxed{5\ 6}", "5"),
    (r"\boxed{1,2}", "1"),
    (r"\boxed{3 \text{ to } 4}", "3"),
    (SAID + "(A) and (B).", "A"),
    (SAID + "(A) or (B).", "A"),
    (SAID + "(A), (B).", "A"),
    (SAID + "A, B and C.", "A"),
    (SAID + "B, C", "B"),
    (SAID + "(A) is incorrect, so (B).", "A"),
    ("It is not \\boxed{5}.", "5"),
    ("so it can't be $\\boxed{5}$.", "5"),
    ("\\boxed{5} is not the answer.", "5"),
    ("\\boxed{5} is not the correct answer.", "5"),
    (SAID + "5, that can't be right.", "5"),
    (SAID + "5, but this cannot be right.", "5"),
    (SAID + "5. That cannot be correct.", "5"),
    (SAID + "5... no, 6.", "5"),
    (SAID + "5, no, 6.", "5"),
    (SAID + "5? No, 6.", "5"),
    (SAID + "5 — actually 6.", "5"),
    ("Is the answer is 5? No.", "5"),
    (SAID + "anything but 5.", "5"),
    (SAID + "far from 5.", "5"),
    (SAID + "hardly 5.", "5"),
    (SAID + "none of 3, 4.", "3"),
    (SAID + "minus 3.", "3"),
    (SAID + "negative 3.", "3"),
    (SAID + "no more than 5.", "5"),
    (SAID + "no fewer than 5.", "5"),
    (SAID + "at least 12.", "12"),
    (SAID + "at most $12.", "12"),
    (SAID + "less than 5.", "5"),
    (SAID + "more than 12 apples.", "12"),
    (SAID + "2**3.", "2"),
    (SAID + "10 minus 4.", "10"),
    (SAID + "2 plus 3.", "2"),
    (SAID + "5 times 3.", "5"),
    (SAID + "5 x 3.", "5"),
    (SAID + "the sum of 2 and 3.", "2"),
    (SAID + "half of 10.", "10"),
    (SAID + "twice 5.", "5"),
    (SAID + "the square root of 16.", "16"),
    (SAID + "3 squared.", "3"),
    (SAID + "5 factorial.", "5"),
    (SAID + "3!.", "3"),
    (SAID + "5k.", "5"),
    (SAID + "5 k.", "5"),
    (SAID + "$5bn", "5"),
    (SAID + "5 crore.", "5"),
    (SAID + "3 dozen.", "3"),
    (SAID + "3 dozen eggs.", "3"),
    (SAID + "2 dozens", "2"),
    (SAID + "2 gross", "2"),
    (r"\boxed{3 \text{ dozen}}", "3"),
    ("#### 3 dozen", "3"),
    ("Answer: A\nAnswer: B is incorrect", "B"),
    (SAID + "B is incorrect.", "B"),
    (SAID + "(A) is incorrect, so (B).", "(A) is incorrect, so (B)"),
    (SAID + "5M.", "5"),
    (SAID + "5 ± 1.", "5"),
    (SAID + "20% of 80.", "20"),
    (SAID + "if 5 then 6", "5"),
    (SAID + "1.200,50 euros.", "1.2"),
    (r"\boxed{10!}", "10"),
    (r"\boxed{5i}", "5"),
    (r"\boxed{|-5|}", "-5"),
    (SAID + "yes? No.", "yes"),
    (SAID + "yes, but no.", "yes"),
]
STATES = [
    (r"\boxed{\frac{1}{-2}}", "-1/2"),
    (SAID + r"$\frac{-1}{-2}$.", "1/2"),
    (SAID + r"$-\frac{1}{−2}$.", "0.5"),  # noqa: RUF001
    ("Answer: A\nAnswer: B is incorrect", "A"),
    ("Answer: A\nAnswer: (B) is not correct.", "A"),
    ("Answer: A\nAnswer: B isn't right, as it rains.", "A"),
    ("Answer: yes\nAnswer: no is wrong", "yes"),
    ("Answer: B is incorrect\nAnswer: A", "A"),
    ("Answer: B) the claim is wrong", "B) the claim is wrong"),
    (SAID + "3 dozen = 36.", "36"),
    (SAID + "36 (3 dozen).", "36"),
    (SAID + "5 km.", "5"),
    (SAID + "300 K.", "300"),
    (SAID + "minus 3.", "-3"),
    (SAID + "negative 3.", "-3"),
    (SAID + "minus $3.", "-3"),
    (SAID + "not 5 but 6.", "6"),
    ("It is not 5 but \\boxed{6}.", "6"),
    (SAID + "12, and not 13 = 9 + 4.", "12"),
    (SAID + "12 apples and 3 pears.", "12"),
    (SAID + "5 times as many.", "5"),
    (SAID + "10 minus 4 = 6.", "6"),
    (SAID + "12!", "12"),
    ("#### 12!", "12"),
    (SAID + "A) bank, not B) river.", "A"),
    (SAID + "(B), not (C).", "B"),
    (SAID + "A, because B is wrong.", "A"),
    (SAID + "no, because 5 is more than 3.", "no"),
    (SAID + "12,000.", "12000"),
    (SAID + "about 5.", "5"),
    ("It is not hard. \\boxed{5}", "5"),
]


@pytest.mark.parametrize(("text", "wrong"), STATES_NOT)
def test_what_states_no_such_answer_is_not_counted_as_it(text: str, wrong: str) -> None:
    assert not same_answer(extract_answer(text), wrong), extract_answer(text)


@pytest.mark.parametrize(("text", "right"), STATES)
def test_what_states_an_answer_is_still_read(text: str, right: str) -> None:
    assert same_answer(extract_answer(text), right), extract_answer(text)


@pytest.mark.parametrize(
    ("gold", "corrupted"),
    [
        (r"\boxed{5, 6}", "5"),
        ("5, 6", "5"),
        ("|-5|", "-5"),
        ("5i", "5"),
        ("10!", "10"),
        ("yes, but no", "yes"),
        ("A, B", "A"),
        ("(A) and (B)", "A"),
        ("at least 12", "12"),
        ("1.200,50", "1.2"),
    ],
)
def test_a_gold_answer_is_refused_or_kept_whole(gold: str, corrupted: str) -> None:
    if answer_problem(gold) is None:
        assert not same_answer(corrupted, gold)
        assert same_answer(extract_answer(SAID + gold), gold)


@pytest.mark.parametrize(
    "text",
    ["The answer is 1.200,50 euros.", "The answer is (A), (B).", r"\boxed{5 \text{ or } 6}", SAID + "3,50."],
)
def test_rewriting_changes_no_number(text: str) -> None:
    assert canonical_text(text) == text


@pytest.mark.parametrize("part", ["not ", "5 or ", "A, ", "minus ", "? No ", "1,", "at least ", "\\text{ "])
def test_reading_stays_linear(part: str) -> None:
    seconds = []
    for size in (20_000, 80_000):
        text = "The answer is " + part * (size // len(part)) + " \\boxed{5}"
        begun = time.perf_counter()
        extract_answer(text)
        seconds.append(time.perf_counter() - begun)
    assert seconds[1] < 12 * seconds[0] + 0.05
