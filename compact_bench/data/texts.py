"""Whether a value that was read is a usable text, and what to call it where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["kind_of", "text_problem"]


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
