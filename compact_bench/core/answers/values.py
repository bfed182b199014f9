"""What a stated text says: a number, yes or no, an option, an expression, or words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from compact_bench.core.answers.numbers import NUMBER, number_text, number_value, parse_number
from compact_bench.core.answers.unclear import (
    is_both,
    is_excluded,
    is_no_option,
    is_unclear,
    minus_before,
    names_another,
)

Kind = Literal["number", "boolean", "option", "expression", "words"]


@dataclass(frozen=True)
class Value:
    """An answer as it stands in a text.

    Attributes:
        start: where it begins in the text; `end` is one after its last character.
        text: its canonical form.
        kind: how it is compared.
        label: letter of an option, or "".
        option: text of an option, or "".
    """

    start: int
    end: int
    text: str
    kind: Kind
    label: str = ""
    option: str = ""


_OUTER = " \t\n\r\u00a0*_`\"'“”‘’"  # noqa: RUF001
_ENDS = ".!?;,>"
LONGEST_ANSWER = 1000
"""Characters of a statement that are read: an answer is short, and brackets may be nested."""
_WRAPPED = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|boxed|fbox)\s?\{")
_SPACING = re.compile(r"\\[,;:! ]|\\(?:left|right|displaystyle|quad)\b|~")
_REASONED = r"(?:,?\s+(?:because|since)\b|,\s+(?:as|for)\b|\s+due\s+to\b|,\s+which\s+(?:is|was)\b)"
_REASON = re.compile(_REASONED)
_ASIDE = re.compile(r"\s\((?=[^()]*(?:[A-Za-z]{2}|=))")
# "12, and not 13 = 9 + 4": what a number and a comma begin is that number.
_HEAD = re.compile(r"[^,;]+(?=[,;]\s+[A-Za-z]{2})")
_NOT = re.compile(r"(?:not|never|neither|no\s+longer)\b", re.IGNORECASE)
_BUT = re.compile(r",?\s+but\s+(?:rather\s+)?", re.IGNORECASE)
_LEAD = re.compile(
    r"(?:definitely|clearly|certainly|indeed|simply|therefore|thus|hence|then)\s+", re.IGNORECASE
)
_BOOLEAN = re.compile(
    rf"(?:yes|no|true|false)(?=\s*(?:$|[,;:.!?(—–}}]|\*\*)|\s+-\s|{_REASONED})",  # noqa: RUF001
    re.IGNORECASE,
)
_OPTION = re.compile(
    r"(?:\\textbf\{\s?)?(?:[Oo]ption\s+|[Cc]hoice\s+)?(?:[(\[](?P<closed>[A-Za-z])[)\]][:.,]?|(?P<open>[A-Z])[).:]|(?P<small>[a-h])\))(?=\s|$|\})"
    r"|(?:[Oo]ption\s+|[Cc]hoice\s+)?(?P<comma>[A-H]),(?=\s)|(?:[Oo]ption|[Cc]hoice)\s+(?P<named>[A-Za-z])(?=\s*$)",
)
_BARE_OPTION = re.compile(rf"(?P<letter>[A-H])(?={_REASONED})")
_RATIO = re.compile(r"\d+\s?:\s?\d")
_SEVERAL = re.compile(r"=[^=]*(?:,(?!\d{3})|\band\b|\bor\b)[^=]*=")
_UNIT = re.compile(
    r"\\(?:text|mathrm|textrm)\s?\{[^{}]*\}(?:\^\s?\{?[23]\}?)?|\^\s?\{?\s?\\circ\s?\}?|°|\\[%$]"
    r"|\b(?:[kcdm]?m|ft|in|yd|mi|feet|inches|meters|units?)\s?\^\s?\{?[23]\}?"
)
_HARMLESS = re.compile(
    r"\\(?:approx|sim|left|right|quad|displaystyle|boxed|fbox|degree|times\s*$)\b|\\[,;:! ]"
)
_FORMULA = re.compile(
    r"\\[A-Za-z]+|[\^√π∞≤≥<>]|[0)}]\s?[+*×·÷/]\s?[0a-z($\\{]|[0)}]\s?[-−–]\s?[0($\\]"  # noqa: RUF001
    r"|\b[a-z]\s?[-+*/]\s?[0(]|0(?=[xyzni]\b)|\||0\*\*[0(]|0\s?[-+*/]\s?[a-z]\b|00|0!"
)
_HEDGE = re.compile(r"\(?[-+]?\$?\d[\d,.]*%?(?:\s[A-Za-z]+)?,?\s+or\s+(?:maybe\s+|perhaps\s+)?[-+]?\$?\d")
_GROUPED = re.compile(r"(?:\\left\s?)?(?:[(\[{]|\\\{).*,.*(?:[)\]}])", re.DOTALL)


def read_value(text: str, start: int, end: int) -> Value | None:
    """The answer that text[start:end] states, or None where it is empty or says what the answer is not.

    Of several numbers among words the first counts ("12 apples and 3 pears" states 12), of an equation the
    last side that is a number.
    """
    start, end = _peel(text, start, _short(text, start, end))
    if start >= end:
        return None
    piece = text[start:end]
    if _NOT.match(piece):
        return _instead(text, start, end)
    if lead := _LEAD.match(piece):
        return read_value(text, start + lead.end(), end)
    number = parse_number(piece)
    if number is not None:
        return Value(start, end, number_text(number), "number")
    if _HEDGE.match(piece):
        # Of two numbers the right one must not count: whoever names both has not answered.
        return Value(start, end, piece, "words")
    if is_excluded(piece):
        return None
    if is_both(piece):
        return Value(start, end, piece, "words")
    if boolean := _BOOLEAN.match(piece):
        return Value(start, start + boolean.end(), boolean[0], "boolean")
    reason = _REASON.search(text, start + 1, end)
    shorter = _peel(text, start, reason.start()) if reason else (start, end)
    return _option(text, start, end) or _mathematics(text, *shorter) or _words(text, *shorter)


def _instead(text: str, start: int, end: int) -> Value | None:
    """What "not 5 but 6" states."""
    but = _BUT.search(text, start, end)
    value = read_value(text, but.end(), end) if but else None
    # "not known, but we may guess" states nothing.
    return None if but is None or value is None or (value.kind == "words" and "," in but[0]) else value


def _short(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return min(end, start + LONGEST_ANSWER)


def _peel(text: str, start: int, end: int) -> tuple[int, int]:
    """The range without what surrounds an answer: space, quotes, Markdown, $...$, \\text{...}, brackets."""
    while True:
        before = start, end
        while start < end and (text[start] in _OUTER or text[start] == "<"):
            start += 1
        while start < end and (text[end - 1] in _OUTER or text[end - 1] in _ENDS):
            if _is_factorial(text, start, end):
                break
            end -= 1
        if spacing := _SPACING.match(text, start, end):
            start = spacing.end()
        start, end = _unwrap(text, start, end)
        if (start, end) == before:
            return start, end


def _is_factorial(text: str, start: int, end: int) -> bool:
    """Whether the range ends in "10!", boxed, alone or before a full stop; elsewhere it is an exclamation."""
    alone = start < 20 and not text[:start].strip()
    return text[end - 1] == "!" and text[end - 2].isdigit() and (alone or text[end : end + 1] in ("}", "."))


def _unwrap(text: str, start: int, end: int) -> tuple[int, int]:
    for opening, closing in (("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]"), ("$", "$")):
        if text.startswith(opening, start, end):
            close = text.find(closing, start + len(opening), end)
            inner = text[start + len(opening) : close] if close >= 0 else ""
            # "$3 or $4" holds prices; "$3$ apples" holds mathematics and a unit.
            if inner and (opening != "$" or _is_mathematics(inner, text[close + 1 : close + 2])):
                return start + len(opening), close
    if (wrapped := _WRAPPED.match(text, start, end)) and _closes_at(text, wrapped.end() - 1, end) == end - 1:
        return wrapped.end(), end - 1
    if start < end and text[end - 1] in ")}]" and not re.search(r"[({\[]", text[start:end]):
        return start, end - 1
    if start < end and text[start] in "({[" and _closes_at(text, start, end) == end - 1:
        inner = text[start + 1 : end - 1]
        if not re.search(r"[,;]", inner) or parse_number(inner) is not None:
            return (start, end) if re.fullmatch(r"\s*[A-Za-z]\s*", inner) else (start + 1, end - 1)
    return start, end


def _is_mathematics(inner: str, after: str) -> bool:
    return inner == inner.strip() and not after.isdigit()


def _closes_at(text: str, start: int, end: int) -> int:
    """Place of the bracket that closes the one at `start`, or -1."""
    depth = 0
    for match in re.compile(r"\\.|[(){}\[\]]", re.DOTALL).finditer(text, start, end):
        if match[0] in "({[":
            depth += 1
        elif match[0] in ")}]":
            depth -= 1
            if depth == 0:
                return match.start()
    return -1


def _option(text: str, start: int, end: int) -> Value | None:
    piece = text[start:end]
    if re.fullmatch("[A-Z]", piece):
        return Value(start, end, piece, "option", piece)
    if bare := _BARE_OPTION.match(piece):
        return Value(start, start + 1, bare["letter"], "option", bare["letter"])
    match = _OPTION.match(piece)
    if match is None:
        return None
    label = next(letter for letter in match.groups() if letter).upper()
    reason = _REASON.search(piece, max(match.end() - 1, 0))
    inner_start, inner_end = _peel(text, start + match.end(), start + reason.start() if reason else end)
    if is_no_option(match[0], text[start + match.end() : end]):
        return Value(start, end, piece, "words")
    # The braces of \textbf{(C) } belong to neither letter nor text.
    option = text[inner_start:inner_end].lstrip("} ").strip()
    if not option:
        return Value(start, start + match.end(), label, "option", label)
    return Value(start, inner_end, f"{label}) {option}", "option", label, option)


def _mathematics(text: str, start: int, end: int) -> Value | None:
    if aside := _ASIDE.search(text, start + 1, end):
        end = aside.start()
    piece = text[start:end]
    if (head := _HEAD.match(piece)) and (number := parse_number(head[0])) is not None:
        if names_another(text, start + head.end(), end):
            return Value(start, end, piece, "words")
        return Value(start, start + head.end(), number_text(number), "number")
    if _RATIO.match(piece) or _SEVERAL.search(piece):
        return Value(start, end, piece, "words")
    equals = [match.start() for match in re.finditer(r"(?<![<>!=])=(?!=)", piece)]
    if equals:
        return _right_hand_side(text, start, end, [start + place for place in equals])
    if is_formula(piece):
        return Value(start, end, _plain_formula(piece), "expression")
    for match in NUMBER.finditer(piece):
        at, to = number_place(text, match, start)
        # "H2O" and "answer4" are names, not numbers.
        if at > start and text[at - 1].isalpha():
            continue
        if is_unclear(text, start, end, at, to):
            return Value(start, end, piece, "words")
        value = number_value(match)
        if value is not None and (sign := minus_before(text, start, at)) < at:
            return Value(sign, to, number_text(-value), "number")
        return Value(at, to, text[at:to] if value is None else number_text(value), "number")
    return None


def _right_hand_side(text: str, start: int, end: int, equals: list[int]) -> Value | None:
    """The last side of an equation that is a number, else its last side."""
    borders = [start - 1, *equals, end]
    sides = [(a + 1, b) for a, b in pairwise(borders)]
    values = [read_value(text, *side) for side in reversed(sides)]
    numbers = [value for value in values if value is not None and value.kind == "number"]
    return numbers[0] if numbers else values[0]


def number_place(text: str, match: re.Match[str], shift: int = 0) -> tuple[int, int]:
    """Where a match of `NUMBER` begins and ends, without white space and a dollar that opens TeX."""
    start, end = match.start() + shift, match.end() + shift
    while text[start].isspace():
        start += 1
    if text[start] == "$" and text[end : end + 1] == "$":
        start += 1
    return start, end


def is_formula(piece: str) -> bool:
    """Whether the text is an expression that is no single number: roots, powers, variables, sets, sums."""
    if _GROUPED.fullmatch(piece):
        return True
    rest = _HARMLESS.sub("", _UNIT.sub("", piece))
    return _FORMULA.search(NUMBER.sub(lambda m: " 0" if m[0][0].isspace() else "0", rest)) is not None


def _plain_formula(piece: str) -> str:
    """An expression without spaces, sizes of brackets and dollars."""
    bare = re.sub(r"\\left(?![a-z])|\\right(?![a-z])|\\[,;:! ]|\$", "", piece)
    bare = re.sub(r"\\[dtc]frac", r"\\frac", bare)
    return re.sub(r"\s+", "", re.sub(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])", "\\1\0", bare)).replace("\0", " ")


def _words(text: str, start: int, end: int) -> Value | None:
    return Value(start, end, text[start:end], "words") if start < end else None
