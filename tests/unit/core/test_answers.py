"""The one reader of answers: its rule, gold answers, comparison, linear time, and its page."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compact_bench.core.answers import (
    answer_problem,
    answer_span,
    canonical_answer,
    canonical_text,
    comparing,
    expressions,
    extract_answer,
    needs_math,
    numeric_match,
    same_answer,
)
from compact_bench.core.errors import ConfigError
from tests.answers_page import MIRROR, PAGE, agreement_table, labelled, labelled_table, part, verdict

HAS_MATH = importlib.util.find_spec("math_verify") is not None
ROWS = labelled()


def test_the_sample_is_large_and_has_every_kind() -> None:
    assert len(ROWS) >= 300
    assert len({row.kind for row in ROWS}) == 16
    assert len({row.text for row in ROWS}) == len(ROWS)


def test_the_page_shows_the_measured_errors() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert part(text, "labelled") == labelled_table(), "python -m tests.answers_page writes it anew"
    assert sum(verdict(row) != "right" for row in ROWS) <= 15


@pytest.mark.slow
@pytest.mark.skipif(not MIRROR, reason="COMPACT_BENCH_MIRROR is not set: no upstream files at hand")
def test_the_page_shows_the_agreement_with_the_harness() -> None:
    shown = part(PAGE.read_text(encoding="utf-8"), "agreement")
    assert shown == agreement_table(Path(str(MIRROR))), "python -m tests.answers_page writes it anew"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.text[:40])
def test_span_text_and_reader_agree(row: object) -> None:
    text = row.text  # type: ignore[attr-defined]
    span = answer_span(text)
    if span is None:
        return
    read = extract_answer(text)
    assert read is not None
    assert canonical_answer(text[slice(*span)]) == read
    assert canonical_answer(read) == read
    again = canonical_text(text)
    assert same_answer(extract_answer(again), read, by_rules=True), again


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"So \boxed{12}", "12"),
        (r"\boxed{\text{12 apples}}", "12"),
        (r"The answer is $\frac{3}{4}$.", r"\frac{3}{4}"),
        ("The answer is no, because it rains.", "no"),
        ("The answer is (B) bank.", "(B) bank"),
        ("The answer is 12 apples.", "12"),
        ("The answer is $32.", "$32"),
        ("#### 70,000", "70,000"),
        ("The answer is red cup lamp.", "red cup lamp"),
    ],
)
def test_the_span_is_the_answer_alone(text: str, inside: str) -> None:
    span = answer_span(text)
    assert span is not None and text[slice(*span)] == inside


@pytest.mark.parametrize(
    ("predicted", "gold", "same"),
    [
        ("145.0", "145", True),
        ("3/4", "0.75", True),
        (r"\frac{3}{4}", "0.75", True),
        ("1,200", "1200", True),
        ("12 apples", "12", True),
        ("#### 24", "24", True),
        ("24", "#### 24", True),
        ("24", r"$\boxed{24}$", True),
        ("yes", "True", True),
        ("No", "false", True),
        ("yes", "false", False),
        ("1", "True", False),
        ("B", "(B)", True),
        ("(C)", "C", True),
        ("b", "B", True),
        ("(B) bank", "bank", True),
        ("B) bank", "B", True),
        ("bank", "(B) bank", True),
        ("(B) bank", "(C) bank", False),
        ("B", "bank", False),
        ("A) 12", "12.0", True),
        ("A) True", "yes", True),
        ("B", "D", False),
        ("Red Cup", "red cup", True),
        ("the bank", "bank", False),
        ("1 hour", "1", True),
        ("1 hour", "60 minutes", False),
        ("10%", "10", True),
        (r"\sqrt{4}", "2", False),
        (r"\sqrt{2}", r"$\sqrt{2}$", True),
        ("[2,5)", "$[2, 5)$", True),
        (None, "12", False),
    ],
)
def test_when_two_answers_are_the_same(
    predicted: str | None, gold: str, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same with and without the extra.
    assert same_answer(predicted, gold) is same
    monkeypatch.setattr(expressions, "math_is_installed", lambda: False)
    assert same_answer(predicted, gold) is same


@pytest.mark.skipif(not HAS_MATH, reason="the extra `math` is not installed")
@pytest.mark.parametrize(
    ("predicted", "gold", "same"),
    [
        (r"\frac{\sqrt{8}}{2}", r"\sqrt{2}", True),
        ("x^2 + 2x + 1", "$(x+1)^2$", True),
        ("(2,5)", "[2,5)", False),
        (r"\{3, 2, 1\}", r"\{1,2,3\}", True),
        ("(3,4)", "(4,3)", False),
        ("2", r"\sqrt{4}", True),
        ("bank", r"\sqrt{2}", False),
        ("yes", "x^2", False),
        ("9^{9^9}", "9^{9^8}", False),
    ],
)
def test_expressions_are_compared_by_value(predicted: str, gold: str, same: bool) -> None:
    start = time.monotonic()
    assert same_answer(predicted, gold) is same
    assert time.monotonic() - start < 20
    assert answer_problem(gold) is None
    if not predicted.isalnum():
        assert same_answer(predicted, gold, by_rules=True) is False


def test_an_expression_as_gold_answer_is_refused_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (comparing, expressions):
        monkeypatch.setattr(module, "math_is_installed", lambda: False)
    expressions.equal_expressions.cache_clear()
    assert "compact-bench[math]" in str(answer_problem(r"$\sqrt{2}$"))
    with pytest.raises(ConfigError, match=r"compact-bench\[math\]"):
        same_answer(r"\sqrt{3}", r"\sqrt{2}")
    for plain in ("24", "yes", "(B)", "red cup", "3/4", "12 apples", "#### 5", "x = 5", r"\frac{1}{2}"):
        assert answer_problem(plain) is None and not needs_math(plain), plain


@pytest.mark.parametrize(
    "gold",
    ["eight of 9", "H2O is 2", "Mr. Smith", "1" + "0" * 400, "not 5", "", "a. b", "12 apples and 3 pears"],
)
def test_gold_answers_that_no_text_could_give_back_are_refused(gold: str) -> None:
    problem = answer_problem(gold)
    assert problem is not None and problem.startswith("expected ") and "got " in problem


def test_a_denied_answer_is_none_and_not_the_last_number() -> None:
    for text in (
        "The answer is not 5.",
        "It is 3. The answer is 29, which is incorrect.",
        "29, which is wrong",
    ):
        assert extract_answer(text) is None, text
        assert answer_span(text) is None, text


def test_an_incorrect_answer_is_no_statement() -> None:
    assert answer_span("An incorrect answer is 40.") is None
    assert extract_answer("The answer is 12. An incorrect answer is 40.") == "12"
    assert extract_answer("He said to himThe answer is True") == "True"


LONG = 100_000
TEXTS = {
    "dots": f"The answer is {'.' * 40_000}x",
    "spaced dots": f"The answer is {'. ' * (LONG // 2)}",
    "boxes": "\\boxed{" * (LONG // 7),
    "nested boxes": "\\boxed{" * (LONG // 8) + "}" * (LONG // 8),
    "braces": "\\boxed{12}" + "{" * LONG,
    "closed braces": "The answer is " + "{" * (LONG // 2) + "5" + "}" * (LONG // 2),
    "digits": "The answer is " + "1" * LONG,
    "digits alone": "1" * LONG,
    "10**400": f"The answer is {10**400}",
    "groups": "The answer is 1" + ",234" * (LONG // 4),
    "phrases": "The answer is " * (LONG // 14),
    "denials": "The answer is not " * (LONG // 18),
    "taken back": "The answer is 29, which is incorrect. " * (LONG // 38),
    "numbers taken back": "29, which is incorrect. " * (LONG // 24),
    "spaces": f"The answer{' ' * LONG}is 5",
    "lines": "Answer:" + "\n" * LONG,
    "equals": "The answer is " + "1=" * (LONG // 2),
    "brackets": "The answer is " + "(a," * (LONG // 3),
    "dollars": "The answer is " + "$ " * (LONG // 2),
    "stars": "*" * LONG + "answer",
    "hashes": "####\n" * (LONG // 5),
    "buts": "The answer is " + "not 1 but " * (LONG // 10),
    "fractions": "The answer is " + "\\frac{" * (LONG // 6),
    "powers": "The answer is " + "x^" * (LONG // 2),
    "word": f"The answer to the {'a' * LONG}",
    "backslashes": "\\" * LONG,
    "answers": "answer " * (LONG // 7),
    "reason": f"The answer is x{' ' * LONG}because",
}


@pytest.mark.parametrize(
    "read", [extract_answer, answer_span, canonical_text, canonical_answer, answer_problem]
)
@pytest.mark.parametrize("name", TEXTS)
def test_long_texts_are_read_in_linear_time(name: str, read: Callable[[str], object]) -> None:
    # The processor's time, so that another process on the machine fails no test.
    # Once more where a busy machine was slow; what is quadratic here takes minutes.
    assert any(_seconds(read, TEXTS[name]) < 1.0 for _ in range(3))


def _seconds(read: Callable[[str], object], text: str) -> float:
    start = time.process_time()
    read(text)
    return time.process_time() - start


@given(st.text(st.sampled_from("12 .,$\\{}()[]boxedanswr:#-=/%\nABTrueyno")))
def test_no_text_breaks_the_reader(text: str) -> None:
    read = extract_answer(text)
    span = answer_span(text)
    if span is not None:
        assert canonical_answer(text[slice(*span)]) == read
    canonical_text(text)
    same_answer(read, text, by_rules=True)


@given(
    st.lists(
        st.sampled_from(
            [
                "The answer is",
                " 8",
                "-8",
                r"\boxed{",
                "}",
                "$",
                r"\frac{1}{2}",
                " apples",
                ".",
                "\n",
                "####",
                "x=",
                ", ",
                "no",
                "because",
                " (B)",
                " bank",
                "which is incorrect",
                "not",
                "but",
                "3/4",
                "1 1/2",
                "%",
                r"\sqrt{2}",
                "[2,",
                " ",
            ]
        )
    )
)
def test_the_span_is_what_is_read(parts: list[str]) -> None:
    text = "".join(parts)
    span, read = answer_span(text), extract_answer(text)
    if span is not None:
        assert canonical_answer(text[slice(*span)]) == read
        # What is glued to a point or a letter may be another answer when it is written otherwise.
        if text[span[0] - 1] in " {$\n":
            assert same_answer(extract_answer(canonical_text(text)), read or "", by_rules=True)


@pytest.mark.parametrize(
    ("predicted", "gold", "same"),
    [
        ("70001", "70000", False),
        ("1,000,001", "1000000", False),
        ("70000.0", "70,000", True),
        ("0.6667", "0.66666666", True),
        ("33333.33", "33333.333", True),
    ],
)
def test_whole_numbers_are_the_same_only_where_they_are_equal(predicted: str, gold: str, same: bool) -> None:
    assert same_answer(predicted, gold) is numeric_match(predicted, gold) is same


@pytest.mark.parametrize(
    "text", ["The answer is 12 or 13.", "The answer is 12 apples or 13 apples", "#### 12, or maybe 13"]
)
def test_two_numbers_with_or_are_no_answer_of_either(text: str) -> None:
    stated = extract_answer(text)
    assert not same_answer(stated, "12") and not same_answer(stated, "13")
    assert same_answer(extract_answer("The answer is 12 or so."), "12")
