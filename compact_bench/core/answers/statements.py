"""Where a text states an answer, and which of several statements counts: the last that is not taken back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from compact_bench.core.answers.numbers import NUMBER, number_text, number_value
from compact_bench.core.answers.values import Value, number_place, read_value

ANSWER_PHRASE = "The answer is"

_ADVERB = r"(?:therefore|thus|then|hence|clearly|definitely|simply|indeed|actually|certainly|so)"
_SUBJECT = (
    # "himThe answer is" is found in real rationales; "incorrect answer" states none.
    r"(?:(?:the|(?<![A-Za-z])(?:my|our|final|correct|right|best))\s+(?:(?:final|correct|right|best)\s+){0,2}answer"
    r"|(?:the\s+)?(?<![A-Za-z])(?:correct|right|best)\s+(?:option|choice)"
    r"|the\s+answer\s+to\s+(?:the|this|that|your)\s+(?:\w+\s){0,2}?\w+)"
)
_DENY = r"(?P<deny>isn['’]t|can(?:not|['’]t|\s+not)\s+be)"  # noqa: RUF001
_VERB = (
    rf"(?:,?\s+{_ADVERB},?)?(?:\s+(?:{_DENY}|is|equals|(?:would|must|should|will)\s+be)(?![A-Za-z_])|\s*=)"
)
_AFTER = rf"(?:[ \t]+{_ADVERB}\b,?)?(?:[ \t]*:[\s*_]*+|[ \t]*+(?:\n\s*+(?=\$\$|\\\[))?)"
_HEADING = r"(?m:^)[#*_ ]{0,8}(?:the )?(?:final )?answer[*_]{0,2}:?[*_]{0,2}[ \t]*\n\s*+"
_MARKS = re.compile(
    rf"(?P<phrase>{_HEADING}|{_SUBJECT}[*_]*{_VERB}{_AFTER}|\b(?:{_SUBJECT}|answer)[*_]*[ \t]*:[\s*_]*+"
    r"|<answer>\s*+)"
    r"|(?P<box>\\f?box(?:ed)?\s?(?=\{)|\\boxed[ \t]+(?=[^\s{]))"
    r"|(?P<hashes>(?<!\#)\#{4}(?!\#))",
    re.IGNORECASE,
)
_BREAK = re.compile(r"[.!?;]+|\n|</answer>")
_WRONG = (
    r"(?:wrong|incorrect|mistaken|not\s+(?:right|correct|true|(?:the|my|our)\s+(?:\w+\s)?answer)"
    r"|a\s+(?:mistake|wrong\s+\w+)|an\s+error)\b"
)
_CANNOT = r"can(?:not|['’]t|\s+not)\s+be\s+(?:right|correct|true)\b"  # noqa: RUF001
_CLOSING = r"[\s$}*)\]\"'.!?%,]{0,8}"
# "5... no, 6", "5 - actually 6", "is it 5? No."
_INSTEAD = (
    r"[\s$}*)\]\"'.!?%,—–-]{0,8}(?:no[,:!.]\s*|(?:actually|oops|sorry),?\s+)(?:it(?:\s+is|['’]s)\s+)?"  # noqa: RUF001
    r"[-−$]{0,2}\d[\d,.]*\s*(?:$|[.!?)])|[\s$}*)\]\"'%]{0,8}\?\s*no\b(?=\s*(?:$|[.,!]))"  # noqa: RUF001
)
_TAKEN_BACK = re.compile(
    rf"[\s$}}*)\]\"'%]{{0,8}}(?:[^.!?\n]{{0,30}}?,?\s*\b(?:which|(?:but|and|though)\s+(?:that|this|it))\s+)?"
    rf"(?:is|was|would\s+be|seems)\s+{_WRONG}"
    rf"|{_CLOSING}(?:(?:wait|hmm|no|oops|but|however),?\s+){{0,2}}(?:that|this|it)(?:(?:\s+(?:is|was|seems)|['’]s)\s+{_WRONG}|\s+{_CANNOT})"  # noqa: RUF001
    rf"|{_INSTEAD}",
    re.IGNORECASE,
)
_DOUBTED = re.compile(
    r"\b(?:if|unless|whether|doubt|(?:wrong|incorrect)\s+to\s+(?:say|think)"
    r"|(?:not|n['’]t|never)\s+(?:think|believe|say|mean|true))(?:\s+that)?\s*$",  # noqa: RUF001
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"(?:\b(?:not|cannot|never|neither|nor)|n['’]t)(?:\s+(?:be|equal(?:\s+to)?))?[ \t$*:]*\Z",  # noqa: RUF001
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Place:
    """A place where a text states something: [start, end) holds it, `mark` is where its phrase begins."""

    mark: int
    start: int
    end: int
    denied: bool = False
    heading: bool = False


# A rationale is read by every method at every seed, a generation by its score, its prediction and its steps.
@lru_cache(maxsize=20_000)
def stated_value(text: str) -> tuple[Value | None, bool]:
    """The value that counts, and whether the text has any statement (one that is taken back is one).

    Statements are phrases ("The answer is", "Final answer:"), `\\boxed{}` and `####`; the last that is
    neither empty nor taken back ("which is incorrect", "is not 5") counts.
    """
    spoken = False
    for place in reversed(_places(text)):
        if place.denied:
            spoken = True
            continue
        if not text[place.start : place.end].strip():
            continue
        value = read_value(text, place.start, place.end)
        if value is None:
            spoken = spoken or bool(text[place.start : place.end].strip(" \t\n*_$.:"))
            continue
        if place.heading and not (value.kind != "words" and _is_whole(text, place, value)):
            continue
        spoken = True
        before = text[max(place.mark - 60, 0) : place.mark]
        if not _DOUBTED.search(before) and not _TAKEN_BACK.match(text, value.end, value.end + 120):
            return value, True
    return None, spoken


def _is_whole(text: str, place: _Place, value: Value) -> bool:
    return not (text[place.start : value.start] + text[value.end : place.end]).strip(" \t$*.")


def _places(text: str) -> list[_Place]:
    marks = list(_MARKS.finditer(text))
    if not marks:
        return []
    closing = _closing_braces(text)
    places = []
    # What one phrase states ends where the next begins, so that no character is read twice.
    borders = [mark.start() for mark in marks] + [len(text)]
    last_line = text.rstrip().rfind("\n") + 1
    for mark, (_, border) in zip(marks, pairwise(borders), strict=True):
        start = mark.end()
        if mark["box"]:
            braced = text.startswith("{", start)
            end = closing.get(start, -1) if braced else _word_end(text, start)
            # A box around another statement is read there.
            if 0 <= end <= border:
                denied = _NEGATED.search(text[max(mark.start() - 30, 0) : mark.start()]) is not None
                places.append(_Place(mark.start(), start + braced, end, denied))
        elif mark["hashes"]:
            line = text.find("\n", start, border)
            end = border if line < 0 else line
            # A heading of Markdown looks the same; it is one unless a value or the text's last line follows.
            places.append(_Place(mark.start(), start, end, heading=mark.start() < last_line))
        else:
            end = sentence_end(text, start, border)
            places.append(_Place(mark.start(), start, end, denied=mark["deny"] is not None))
    return places


def _closing_braces(text: str) -> dict[int, int]:
    """Place of every closed opening brace -> place of the brace that closes it."""
    pairs, open_braces = {}, []
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if match[0] == "{":
            open_braces.append(match.start())
        elif match[0] == "}" and open_braces:
            pairs[open_braces.pop()] = match.start()
    return pairs


def _word_end(text: str, start: int) -> int:
    match = re.compile(r"[^\s$]*").match(text, start)
    return match.end() if match else start


def sentence_end(text: str, start: int, limit: int) -> int:
    """Where the sentence or line that begins at `start` ends, at most `limit`.

    "Sentence ends" stand before white space or the end of the text, so that 3.5 stays whole.
    """
    for match in _BREAK.finditer(text, start, limit):
        after = match.end()
        if match[0][0] in "\n<" or after == len(text) or text[after].isspace():
            if match[0].startswith("!.") and text[match.start() - 1].isdigit():
                # "3!." is a factorial and a full stop, "3!" an exclamation.
                return match.start() + 1
            # "B. bank" is an option and its text; "B. The bank ..." is an option and a sentence.
            if match[0] == "." and re.fullmatch(
                r"\W*[A-H]", text[max(start, match.start() - 6) : match.start()]
            ):
                follows = text[after : after + 2].strip()
                if follows and (follows[0].islower() or follows[0].isdigit()):
                    continue
            return match.start()
    return limit


def answer_span(text: str) -> tuple[int, int] | None:
    """Character range [start, end) of the answer that a text states, or None where it states none.

    The range is the answer alone: inside the braces of `\\boxed{12}`, without the unit of "12 apples",
    without the full stop that ends the sentence. `canonical_answer` of it is `extract_answer` of the text.
    """
    value, _ = stated_value(text)
    return None if value is None else (value.start, value.end)


def extract_answer(text: str) -> str | None:
    """The canonical answer that a text states, or None.

    A text without any statement is read by its last number, so that a generation which never says "The answer
    is" is still read; a text that takes back all it states is not.
    """
    value, spoken = stated_value(text)
    if value is not None:
        return value.text
    return None if spoken else _last_number(text)


def _last_number(text: str) -> str | None:
    for match in reversed(list(NUMBER.finditer(text))):
        start, end = number_place(text, match)
        if not _TAKEN_BACK.match(text, end, end + 120):
            value = number_value(match)
            return text[start:end].strip() if value is None else number_text(value)
    return None


def canonical_text(text: str) -> str:
    """A rationale as every method but the released variant reads it.

    Outer white space is stripped, and the answer that it states is written canonically, so that 145.0 and 145
    are the same tokens.
    """
    stripped = text.strip()
    value, _ = stated_value(stripped)
    if value is None:
        return stripped
    before, after = stripped[: value.start], stripped[value.end :]
    if re.match(r"[.,]?\d", after) or re.search(r"\d[.,]?$", before[-2:]):
        # A part of a longer number, as 1.200 of 1.200,50: written otherwise it would be another one.
        return stripped
    return before + value.text + after
