"""Kinds of values, by the documentation alone, and what a text given for one of them means.

Nothing here imports the product: names, types and bounds are written down by hand from its documentation
(`show settings`, docs/suites.md, docs/method-compact.md), so that a field whose type silently changes is seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

REFUSE = object()
"""No value: the text must be refused."""


@dataclass(frozen=True)
class Meaning:
    """What a text plainly means.

    Attributes:
        values: readings that are right; `REFUSE` among them where refusing is right too.
    """

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Int:
    """A whole number in bounds."""

    low: float = -math.inf
    high: float = math.inf

    def accepts(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Real:
    """A finite number in bounds; whole numbers are numbers."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def accepts(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        try:
            number = float(value)
        except OverflowError:
            return False
        above = number > self.low if self.open_low else number >= self.low
        below = number < self.high if self.open_high else number <= self.high
        return math.isfinite(number) and above and below


@dataclass(frozen=True)
class Bool:
    """true or false."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)


@dataclass(frozen=True)
class Choice:
    """One of some words."""

    words: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.words


@dataclass(frozen=True)
class OrNull:
    """What another kind takes, or null."""

    kind: Any

    def accepts(self, value: Any) -> bool:
        return value is None or self.kind.accepts(value)


@dataclass(frozen=True)
class ListOf:
    """A list of what another kind takes."""

    kind: Any
    least: int = 0

    def accepts(self, value: Any) -> bool:
        return isinstance(value, list) and len(value) >= self.least and all(map(self.kind.accepts, value))


@dataclass(frozen=True)
class Word:
    """Any text that is seen."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and bool(value.strip())


@dataclass(frozen=True)
class OneOf:
    """What any of some kinds takes."""

    kinds: tuple[Any, ...]

    def accepts(self, value: Any) -> bool:
        return any(kind.accepts(value) for kind in self.kinds)


@dataclass(frozen=True)
class Text:
    """Any text at all; a blank one says nothing and harms no number."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str)


def right_values(kind: Any, readings: Sequence[Any]) -> list[Any]:
    """The values that a field may have after it was given a text of these readings, `REFUSE` among them where
    refusing is right: always where no reading fits, never where the only reading does.
    """
    fitting = [value for value in readings if value is not REFUSE and kind.accepts(value)]
    # 2.0 is the whole number 2 to some and a fraction to others; both are told from the text.
    whole = [
        int(v)
        for v in readings
        if isinstance(v, float) and math.isfinite(v) and v == int(v) and abs(v) < 1e15
    ]
    near = [value for value in whole if kind.accepts(value) and not fitting]
    # 0 and 1 are how some write false and true.
    near += [bool(v) for v in readings if v in (0, 1) and not isinstance(v, bool) and kind == Bool()]
    # A number or a truth value in quotes can be read as what it says.
    plain = {"3": 3, "true": True}
    near += [plain[v] for v in readings if isinstance(v, str) and v in plain and kind.accepts(plain[v])]
    if not fitting:
        return [*near, REFUSE]
    return [*fitting, REFUSE] if REFUSE in readings or (len(fitting) < len(readings)) else fitting


_TEXTS: dict[str, tuple[Any, ...]] = {
    "0": (0,), "1": (1,), "2": (2,), "7": (7,), "40": (40,), "-1": (-1,), "-3": (-3,),
    "0.0": (0.0,), "0.5": (0.5,), "1.0": (1.0,), "2.5": (2.5,), "-0.5": (-0.5,), "0.999": (0.999,),
    "1e-4": (1e-4,), "1E-4": (1e-4,), "2e0": (2.0,), "1.5e-3": (1.5e-3,), "-1e-9": (-1e-9,), ".5": (0.5, REFUSE),
    "5.": (5.0, REFUSE), "+3": (3, REFUSE), "-0": (0, REFUSE), "-0.0": (0.0, REFUSE),
    "1e308": (1e308, REFUSE), "1e400": (REFUSE,), "-1e400": (REFUSE,), "1e-400": (REFUSE, 0.0),
    "9" * 400: (REFUSE,), "9" * 5000: (REFUSE,), "99999999999999999999": (10**20 - 1, REFUSE),
    ".inf": (REFUSE,), "-.inf": (REFUSE,), "inf": (REFUSE,), "Infinity": (REFUSE,), "nan": (REFUSE,),
    ".nan": (REFUSE,), "NaN": (REFUSE,), ".NaN": (REFUSE,),
    "true": (True,), "false": (False,), "True": (True, REFUSE), "FALSE": (False, REFUSE), "yes": (True, REFUSE),
    "no": (False, REFUSE), "on": (True, REFUSE), "off": (False, REFUSE), "y": (REFUSE,),
    "null": (None,), "~": (None, REFUSE), "None": (REFUSE,), "": (REFUSE, None), " ": (REFUSE, None),
    "auto": ("auto",), "none": ("none",), "float32": ("float32",), "bfloat16": ("bfloat16",), "float16": ("float16",),
    "packed": ("packed",), "single_pass": ("single_pass",), "lean": ("lean",), "harness": ("harness",),
    "AUTO": ("AUTO",), "mean": ("mean",), "sum": ("sum",), "all-linear": ("all-linear",), "q_proj": ("q_proj",),
    "[]": ([], REFUSE), "[q_proj]": (["q_proj"],), "[q_proj, v_proj]": (["q_proj", "v_proj"],), "[1]": ([1],),
    "[retention]": (["retention"],), "[retention, in_distribution]": (["retention", "in_distribution"],),
    "[true]": ([True],), "[null]": ([None],), "[[1]]": ([[1]],), "[1, 2": (REFUSE,), "1, 2": (REFUSE,),
    "{}": (REFUSE,), "{a: 1}": (REFUSE,), "a: 1": (REFUSE,), ",": (REFUSE,), "1,5": (REFUSE,), "1.000,5": (REFUSE,),
    "'5'": (5, "5", REFUSE), '"0.5"': (0.5, "0.5", REFUSE), "'true'": (True, "true", REFUSE),
    "0x10": (16, REFUSE), "0b11": (3, REFUSE), "0o17": (15, REFUSE), "010": (10, REFUSE), "007": (7, REFUSE),
    "1_000": (1000, REFUSE), "1:30": (REFUSE,), "190:20:30": (REFUSE,), "1:30.5": (REFUSE,),
    "2024-01-01": (REFUSE,), "2024-01-01 10:00:00": (REFUSE,), "=": (REFUSE,), "<<": (REFUSE,),
    "5%": (REFUSE,), "1/2": (REFUSE,), "two": (REFUSE,), "3 4": (REFUSE,), "--5": (REFUSE,), "1e": (REFUSE,),
    "e": (REFUSE,), "1e5e5": (REFUSE,), "\u0663": (3, REFUSE), "\uff15": (5, REFUSE), "\u00bd": (REFUSE,),
    "\u22125": (-5, REFUSE), "1\u00a0000": (REFUSE,), "\x00": (REFUSE,), "5\x00": (REFUSE,), "5\n": (5, REFUSE),
    "5\n6": (REFUSE,), "\x1b[31m5": (REFUSE,), "\u202e5": (REFUSE,), "5 # five": (5, REFUSE), "&a 5": (5, REFUSE),
    "*a": (REFUSE,), "&a [*a]": (REFUSE,), "!!int 5": (5, REFUSE), "!!float 5": (5.0, REFUSE),
    "!!python/object/apply:os.getcwd []": (REFUSE,), "!!binary aGVsbG8=": (REFUSE,), "!!set {a}": (REFUSE,),
    "|": (REFUSE,), ">\n 5": (REFUSE, "5", 5), "- 5": (REFUSE, [5]), "? a": (REFUSE,), "@": (REFUSE,), "`": (REFUSE,),
    "%YAML 1.1": (REFUSE,), "---\n5": (5, REFUSE), "5\n---\n6": (REFUSE,), "a" * 100_000: (REFUSE,),
    "[" * 3000: (REFUSE,), "{" * 3000: (REFUSE,), "[" * 500 + "]" * 500: (REFUSE,), "\ud800": (REFUSE,),
    "../x": ("../x",), "$HOME": ("$HOME",), "<b>": ("<b>",), "\U0001f600": ("\U0001f600",),
}  # fmt: skip
TEXTS = {text: Meaning(values) for text, values in _TEXTS.items()}
"""Texts that a user might give for a value, with what they mean."""


def meaning(text: str) -> tuple[Any, ...]:
    """The readings of a text of `TEXTS`; a text with a reading as a word is also that word."""
    return TEXTS[text].values
