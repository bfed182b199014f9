"""Values as they are written on the command line, and the rule that nothing is taken for something else.

A value is a number in decimal notation, true or false, null, a list in brackets, or text. There is no
octal, hexadecimal or sexagesimal number, no underscore within one, no date, no `yes` for true: what a person
did not write is never read, and a text that stands where a number is needed is refused by its field.
"""

from __future__ import annotations

import json
import math
import re
import types
from typing import Annotated, Any, Union, get_args, get_origin

from compact_bench.core.written.names import shown, unreadable

LARGEST = 2**63 - 1
"""Largest whole number that is taken: numpy, torch and parquet hold no larger one."""
LARGEST_COUNT = 2**31 - 1
"""Largest number of steps, tokens, rows and the like."""
LARGEST_SEED = 2**32 - 1
"""Largest seed: numpy's generators take no larger one."""
_MOST_DIGITS = 400
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL"), None),
}
# Nothing is given back once it is taken, so that no text takes longer than its length.
_ITEM = re.compile(r"""\s*+("(?:[^"\\]|\\.)*+"|'(?:[^']|'')*+'|[^\[\]{},"']++)\s*+(,|$)""")


def read_value(written: str, annotation: Any = Any) -> Any:
    """A value given as text.

    Args:
        annotation: type of the field that it is for; where that is text, or text or nothing, "2024" and
            "true" are text too.

    Raises:
        ValueError: it is empty, a list that is not closed, a text with an open quotation mark, a number that
            no float holds, or it holds control characters; the message begins with "expected".
    """
    text = written.strip()
    if not text:
        raise ValueError('expected a value, got none (an empty text is "")')
    if problem := unreadable(text):
        raise ValueError(f"expected plain text, got {problem}")
    if text[0] in "[{":
        return [_scalar(item, _is_text(annotation, items=True)) for item in _items(text)]
    return _scalar(text, _is_text(annotation))


def read_number(written: str) -> float:
    """A finite number in decimal notation.

    Raises:
        ValueError: it is none.
    """
    value = read_value(written)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {shown(written)!r}")
    return float(value)


def read_whole(written: str, largest: int = LARGEST) -> int:
    """A whole number from 0 to `largest`, in decimal digits alone.

    Raises:
        ValueError: it is none, or larger.
    """
    text = written.strip()
    if not text.isascii() or not text.isdecimal() or (len(text) > 1 and text[0] == "0"):
        raise ValueError(f"expected a whole number, got {shown(written)!r}")
    if len(text) > _MOST_DIGITS or int(text) > largest:
        raise ValueError(f"expected a whole number up to {largest}, got {text[:40]}")
    return int(text)


def number_text(value: float) -> str:
    """A number as `read_number` reads it back, to the bit: "3", "0.2"."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _is_text(annotation: Any, *, items: bool = False) -> bool:
    """Whether a field, or every item of it, takes text and no number or truth value."""
    kinds = _kinds(annotation)
    if items:
        lists = [kind for kind in kinds if get_origin(kind) in (tuple, list)]
        return bool(lists) and all(_is_text(get_args(kind)[0]) for kind in lists if get_args(kind))
    return str in kinds and not {int, float, bool} & set(kinds)


def _kinds(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [kind for one in get_args(annotation) for kind in _kinds(one)]
    return [annotation]


def _items(text: str) -> list[str]:
    inner = text[1:-1].strip()
    if text[0] != "[" or text[-1] != "]":
        raise ValueError("expected a list as [a, b], and nothing nested")
    items, place = [], 0
    while place < len(inner):
        found = _ITEM.match(inner, place)
        if found is None or (found[2] == "," and found.end() == len(inner)):
            raise ValueError("expected a list as [a, b], and nothing nested")
        items.append(found[1].strip())
        place = found.end()
    return items


def _scalar(text: str, is_text: bool) -> Any:
    if text[0] in "\"'":
        return _quoted(text)
    if text in _WORDS and (not is_text or _WORDS[text] is None):
        return _WORDS[text]
    if is_text or not _DECIMAL.fullmatch(text):
        return text
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"expected a number of at most {_MOST_DIGITS} digits, got {len(text)}")
    if _WHOLE.fullmatch(text):
        return int(text)
    number = float(text)
    if math.isinf(number) or (number == 0.0 and re.search("[1-9]", re.split("[eE]", text)[0])):
        raise ValueError(f"expected a number that a float can hold, got {text}")
    return number


def _quoted(text: str) -> str:
    mark = text[0]
    if mark == "'" and len(text) > 1 and text[-1] == mark and "'" not in text[1:-1].replace("''", ""):
        return text[1:-1].replace("''", "'")
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError(f"expected one text between quotation marks, got {shown(text)}") from None
    assert isinstance(value, str)
    if problem := unreadable(value, lines=True):
        raise ValueError(f"expected plain text, got {problem}")
    return value


def not_as_written(given: Any, taken: Any) -> str | None:
    """Why a value that was taken is not the one given ("expected ..."), or None where it is the same.

    A truth value is no number, a text is neither, and a number is taken as it is or not at all. Of lists and
    mappings every item counts; what else a type makes of a value (a path of a text) is its own affair.
    """
    if isinstance(given, list | tuple) and isinstance(taken, list | tuple):
        pairs = zip(given, taken, strict=False)
        return next((problem for a, b in pairs if (problem := not_as_written(a, b))), None)
    if isinstance(given, dict) and isinstance(taken, dict):
        named = ((value, taken.get(name)) for name, value in given.items())
        return next((problem for a, b in named if (problem := not_as_written(a, b))), None)
    if isinstance(taken, int) and not isinstance(taken, bool) and abs(taken) > LARGEST:
        return f"expected a whole number up to {LARGEST}"
    if type(given) is type(taken) or _kind(given) == "" or _kind(taken) == "":
        return None
    if _kind(given) != _kind(taken):
        return f"expected {_kind(taken)}, got {_kind(given)}"
    # int(given) == given is exact in Python, whatever the sizes.
    return None if given == taken else "expected a number that is stored as it is written"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "text" if isinstance(value, str) else ""
