"""When two answers are the same, and which gold answers no text could give."""

from __future__ import annotations

import re

from compact_bench.core.answers.expressions import equal_expressions, math_is_installed
from compact_bench.core.answers.numbers import LONGEST_NUMBER, NUMBER_TOLERANCE, parse_number
from compact_bench.core.answers.statements import ANSWER_PHRASE, extract_answer, stated_value
from compact_bench.core.answers.values import Value, read_value

_TRUTH = {"yes": True, "true": True, "no": False, "false": False}


def _answer_value(text: str) -> Value | None:
    """The value of an answer on its own ("#### 24", "\\boxed{24}" and "24 apples" are 24)."""
    value, spoken = stated_value(text)
    if value is None and not spoken:
        value = read_value(text, 0, len(text))
        if value is not None and value.kind == "number" and not _leads(text, value):
            return None
    return value


def _leads(text: str, value: Value) -> bool:
    """Whether a number begins its text and no other follows, so that the text is the number and a unit."""
    before, after = text[: value.start], text[value.end :]
    return "=" in before or (not re.search(r"\w", before) and not re.search(r"\d", after))


def canonical_answer(text: str) -> str:
    """An answer's one way of writing: "145.0" -> "145", "1,200" -> "1200", "True." -> "True", "(B)" -> "B".

    Decimals keep up to ten significant digits; texts that are no number keep their letters.
    """
    return _written(text, _answer_value(text))


def _written(text: str, value: Value | None) -> str:
    return text.strip().rstrip(".!?;").strip() if value is None else value.text


def numeric_match(predicted: str | None, gold: str) -> bool:
    """Whether two answers are one number, to `NUMBER_TOLERANCE`; False where either is none."""
    if predicted is None:
        return False
    a, b = parse_number(predicted), parse_number(gold)
    return a is not None and b is not None and _close(a, b)


def _close(a: float, b: float) -> bool:
    # The tolerance is for decimals that are cut or rounded; of whole numbers 70001 would be 70000.
    if a.is_integer() and b.is_integer():
        return a == b
    return abs(a - b) <= NUMBER_TOLERANCE * max(1.0, abs(b))


def needs_math(gold: str) -> bool:
    """Whether a gold answer is an expression, which only the extra `math` can compare."""
    value = _answer_value(gold)
    return value is not None and value.kind == "expression"


def same_answer(predicted: str | None, gold: str, *, by_rules: bool = False) -> bool:
    """Whether two answers are the same.

    Numbers by value, yes as true and no as false, options by their letter, or by their text where one of
    the two is no letter, expressions by value, else texts without case. Units are not compared.

    Args:
        predicted: an answer, or None, which is no answer's same.
        gold: what it is compared with.
        by_rules: expressions are the same only as texts. For answers that are compared with one another,
            none of which is gold.

    Raises:
        ConfigError: `gold` is an expression, and the extra `math` is not installed.
    """
    if predicted is None:
        return False
    if predicted == gold:
        return True
    a, b = _answer_value(predicted), _answer_value(gold)
    return _same(a, b, _written(predicted, a), _written(gold, b), by_rules)


def _same(a: Value | None, b: Value | None, one: str, other: str, by_rules: bool) -> bool:
    if one.casefold() == other.casefold():
        return True
    if a is None or b is None:
        return False
    if a.kind == b.kind == "number":
        return numeric_match(one, other)
    if a.kind == b.kind == "boolean":
        return _TRUTH[one.casefold()] is _TRUTH[other.casefold()]
    if a.kind == "option" and b.kind == "option":
        return a.label == b.label
    if a.option or b.option:
        # The other one is no option, or a letter that was read as words ("b").
        full, plain = (a, other) if a.option else (b, one)
        return plain.casefold() == full.label.casefold() or same_answer(full.option, plain, by_rules=True)
    formulas = b.kind == "expression" and a.kind in ("number", "expression") and not by_rules
    return formulas and equal_expressions(one, other)


def answer_problem(answer: str) -> str | None:
    """Why no text could give this gold answer ("expected ..., got ..."), or None.

    An answer that the reader would not give back whole could never be matched.
    """
    if needs_math(answer) and not math_is_installed():
        return (
            f"expected a number, words or an option, or the extra `math` for expressions "
            f"(pip install 'compact-bench[math]'), got {answer!r}"
        )
    if re.search(rf"\d{{{LONGEST_NUMBER}}}", answer):
        return f"expected an answer, got a number that is too large ({len(answer.strip())} characters)"
    read = extract_answer(f"{ANSWER_PHRASE} {answer}")
    if same_answer(read, answer):
        return None
    return (
        f"expected a number, or words without digits and sentence ends, got {answer!r}, which the answer "
        f"rule reads as {read!r}"
    )
