"""One row of a file as it was read: usable texts, normalised words, ids by content."""

from __future__ import annotations

import functools
import hashlib
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


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
    return None


def kind_of(value: Any) -> str:
    """A value's kind in words ("a list", "the number 7")."""
    if isinstance(value, bool):
        return "true" if value else "false"
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
