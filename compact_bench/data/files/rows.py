"""One row of a file as it was read: usable texts, normalised words, ids by content."""

from __future__ import annotations

import functools
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from compact_bench.core.written.names import LONGEST_NAME

# Control characters that are no white space, zero-width ones, marks of direction, fillers, selectors, tags.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0000-\U000e0fff]"
)
_MEANINGFUL = ",@:[]{}"
"""Characters that have a meaning in `--teachers` and in names of rows and runs."""


def visible(text: str) -> str:
    """A text without the characters that nobody sees, white space excepted."""
    return _UNSEEN.sub("", text)


def text_problem(value: Any) -> str | None:
    """Why a value is no usable text ("expected text, got null"), or None."""
    if value is None:
        return "expected text, got null"
    if isinstance(value, float) and math.isnan(value):
        return "expected text, got NaN"
    if not isinstance(value, str):
        return f"expected text, got {kind_of(value)}"
    if not value.strip():
        return "expected text, got an empty one"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "expected valid Unicode, got a lone surrogate"
    if not visible(value).strip():
        return (
            "expected text, got only characters that cannot be seen (control, zero-width or direction marks)"
        )
    return None


def unseen_problem(text: str) -> str | None:
    """Why a text that must be the same to eye and machine is not ("expected ..., got ..."), or None."""
    if not _UNSEEN.search(text):
        return None
    return (
        "expected no control characters, zero-width characters or marks of direction, got "
        f"{text.encode('unicode_escape').decode()}"
    )


def name_problem(name: str) -> str | None:
    """Why a usable text is no name of a question or teacher, which stands on one line, or None."""
    if problem := unseen_problem(name):
        return problem
    if name != name.strip() or not name.isprintable():
        return f"expected a name on one line, without outer spaces or unusual ones, got {name!r}"
    return None


def teacher_name_problem(name: Any) -> str | None:
    """Why a teacher cannot be called so ("expected ..., got ..."), or None."""
    if problem := text_problem(name):
        return problem.replace("expected text", "expected a teacher's name", 1)
    if problem := name_problem(name):
        return problem
    if bad := [sign for sign in _MEANINGFUL if sign in name]:
        return (
            f"expected a teacher's name without {' '.join(_MEANINGFUL)} (--teachers and the names of rows "
            f"and runs use them), got {name!r}, which has {' '.join(bad)}: call the teacher otherwise"
        )
    if len(name) > LONGEST_NAME:
        return f"expected a teacher's name of at most {LONGEST_NAME} characters, got {len(name)}"
    return None


def name_key(name: str) -> str:
    """What two names share that differ in case or in Unicode's way of writing them only."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


class RepeatedKeys(dict[str, Any]):
    """An object of a JSON file in which keys stand twice (`repeated`); the last value is kept."""

    repeated: Sequence[str] = ()


def repeated_keys(value: Any) -> Iterator[str]:
    """Places of keys that stand twice in one object of a row ("rationales.ann")."""
    # A stack, as a row may be nested more deeply than functions may call one another.
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        place, inner = stack.pop()
        if isinstance(inner, RepeatedKeys):
            yield from (f"{place}.{key}" if place else key for key in inner.repeated)
        if isinstance(inner, Mapping):
            stack += [(f"{place}.{key}" if place else str(key), item) for key, item in inner.items()]
        elif isinstance(inner, list):
            stack += [(f"{place}[{number}]", item) for number, item in enumerate(inner, 1)]


def kind_of(value: Any) -> str:
    """A value's kind in words ("a list", "the number 7")."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isinf(value):
        return "a number that is too large"
    if isinstance(value, int | float):
        return f"the number {value!r}"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "text" if isinstance(value, str) else "null" if value is None else type(value).__name__


OnFault = Literal["stop", "drop"]


@dataclass(frozen=True)
class SourceRow:
    """One row as read, before anything is known to be right about it.

    Attributes:
        where: file and row, for messages ("mine.jsonl, row 3").
        data: the row's JSON value.
        places: teacher -> file and row of its rationale, where that is another file.
    """

    where: str
    data: Any
    places: Mapping[str, str] = field(default_factory=dict)


def content_id(text: str, length: int = 16) -> str:
    """An id that two copies of one question share, however they are spaced or punctuated."""
    return hashlib.sha256(normalised(text).encode()).hexdigest()[:length]


_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")


def words(text: str) -> list[str]:
    """The words of a text, as questions are compared."""
    matches = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word.replace(",", "") for word in matches]


@functools.lru_cache(maxsize=65536)
def normalised(text: str) -> str:
    """A text as questions are compared; a text without words is compared by its other characters."""
    return " ".join(words(text)) or " ".join(text.split())


def question_hash(text: str, salt: str) -> str:
    """Hash of a normalised question; two uses with different salts do not depend on one another."""
    return hashlib.sha256(f"{salt}/{normalised(text)}".encode()).hexdigest()
