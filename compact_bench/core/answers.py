"""Answers as text: where a rationale states one, how it is written, and when two are the same.

One rule serves training (answer spans, gold matches) and evaluation (the extraction rule of the task
files): the answer is what follows the **last** "The answer is", up to the end of the line or sentence;
a generation without that phrase is read by its last number.
"""

from __future__ import annotations

import math
import re

ANSWER_PHRASE = "The answer is"
NUMBER_TOLERANCE = 1e-4
"""Two numbers are one answer when they differ by at most this, absolutely or relative to the gold one."""

_PHRASE = re.compile(re.escape(ANSWER_PHRASE) + r"[ \t]*:?[ \t]*", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\$?\s?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:\s?/\s?\d+)?")
_WHOLE_NUMBER = re.compile(r"([-+]?)\$?\s?((?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?)(?:\s?/\s?(\d+))?\s?%?")
# "Sentence ends" before white space or the end of the text, so that 3.5 stays whole.
_END = re.compile(r"[.!?;]*(?:\n|$)|[.!?;]+(?=\s)")


def parse_number(text: str) -> float | None:
    """The number that the whole text is ("1,234.50", "$3", "3/4", "12%" -> 12), or None."""
    match = _WHOLE_NUMBER.fullmatch(text.strip())
    if match is None or not match[2]:
        return None
    value = float(match[2].replace(",", ""))
    if match[3] is not None:
        if float(match[3]) == 0.0:
            return None
        value /= float(match[3])
    return -value if match[1] == "-" else value


def canonical_answer(text: str) -> str:
    """An answer's one way of writing: "145.0" -> "145", "1,200" -> "1200", "True." -> "True".

    Decimals keep up to ten significant digits; texts that are no number keep their letters.
    """
    stripped = text.strip().rstrip(".!?;").strip()
    number = parse_number(stripped)
    if number is None or not math.isfinite(number):
        return stripped
    if number == int(number) and abs(number) < 1e15:
        return str(int(number))
    return f"{number:.10g}"


def answer_span(text: str) -> tuple[int, int] | None:
    """Character range [start, end) of the answer after the last "The answer is", or None.

    The range holds no outer white space and no full stop that ends the sentence.
    """
    matches = list(_PHRASE.finditer(text))
    if not matches:
        return None
    start = matches[-1].end()
    end_match = _END.search(text, start)
    end = end_match.start() if end_match else len(text)
    stripped = text[start:end].rstrip()
    if not stripped:
        return None
    return start, start + len(stripped)


def extract_answer(text: str) -> str | None:
    """The canonical answer that a text states, by the rule of this module, or None.

    Falls back on the last number in the text, so that a generation which never says "The answer is" is
    still read.
    """
    span = answer_span(text)
    if span is not None:
        stated = text[span[0] : span[1]]
        if parse_number(stated) is not None:
            return canonical_answer(stated)
        numbers = _numbers(stated)
        # "The answer is 12 apples" states 12; "The answer is yes" states yes.
        return canonical_answer(numbers[0]) if numbers else canonical_answer(stated)
    numbers = _numbers(text)
    return canonical_answer(numbers[-1]) if numbers else None


def _numbers(text: str) -> list[str]:
    return [m.group() for m in _NUMBER.finditer(text) if any(c.isdigit() for c in m.group())]


def canonical_text(text: str) -> str:
    """A rationale as every method but the released variant reads it.

    Outer white space is stripped, and the answer after the last "The answer is" is written canonically,
    so that 145.0 and 145 are the same tokens.
    """
    stripped = text.strip()
    span = answer_span(stripped)
    if span is None:
        return stripped
    return stripped[: span[0]] + canonical_answer(stripped[span[0] : span[1]]) + stripped[span[1] :]


def numeric_match(predicted: str | None, gold: str) -> bool:
    """Whether two answers are one number, to `NUMBER_TOLERANCE`; False where either is none."""
    if predicted is None:
        return False
    a, b = parse_number(predicted), parse_number(gold)
    if a is None or b is None:
        return False
    return abs(a - b) <= NUMBER_TOLERANCE * max(1.0, abs(b))


def same_answer(predicted: str | None, gold: str) -> bool:
    """Whether two answers are the same: as numbers where both are, else as text without case."""
    if predicted is None:
        return False
    if parse_number(gold) is not None and parse_number(predicted) is not None:
        return numeric_match(predicted, gold)
    return canonical_answer(predicted).casefold() == canonical_answer(gold).casefold()


def answer_problem(answer: str) -> str | None:
    """Why no generation could give this gold answer ("expected ..., got ..."), or None.

    An answer that the rule would not read back whole could never be matched.
    """
    read = extract_answer(f"{ANSWER_PHRASE} {answer}")
    if same_answer(read, answer):
        return None
    return (
        f"expected a number, or words without digits and sentence ends, got {answer!r}, which the answer "
        f"rule reads as {read!r}"
    )
