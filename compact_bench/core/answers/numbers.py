"""Numbers as texts write them: 1,234.50, $3, 3/4, \\frac{3}{4}, 1 1/2, 3 x 10^5, 5 million."""

from __future__ import annotations

import math
import re
import unicodedata

NUMBER_TOLERANCE = 1e-4
"""Two numbers that are not both whole are one answer when they differ by at most this, absolutely or relative
to the gold one; whole ones when they are equal."""
LONGEST_NUMBER = 310
"""Characters; no float can hold a whole number that is longer, and it is compared as text."""

_SIGN = r"[-+−–]"  # noqa: RUF001
_MONEY = r"(?:US\$|\\?\$|[€£¥])"
# A comma, TeX's comma, or a fixed space between groups of three digits.
_DIGITS = r"(?:\d{1,3}(?:(?:,|\{,\}|,\\!|\\,|[\u00a0\u2009\u202f])\d{3})+|\d++)"
_PLAIN = rf"(?:{_DIGITS}(?:\.\d++)?|\.\d++)"
_FRACTION = (
    rf"\\[dtc]?frac\s?(?:\{{\s?(?P<top>{_SIGN}?{_PLAIN})\s?\}}\s?\{{\s?(?P<bottom>{_SIGN}?{_PLAIN})\s?\}}"
    r"|(?P<one_top>\d)\s?(?P<one_bottom>\d))"
)
_SIMPLE = r"(?P<n>\d++)/(?P<d>\d++)"
_GLYPH = "[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]"
_POWER = (
    r"(?:\s?(?:\\times|\\cdot|[×x*])\s?10\s?\^\s?(?:\{\s?(?P<power>[-−]?\d++)\s?\}|(?P<bare_power>[-−]?\d++))"  # noqa: RUF001
    r"|[eE](?P<e>[-+]?\d{1,3})(?!\w))"
)
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_SCALE = rf"\s(?P<scale>{'|'.join(_SCALES)})\b"
_VALUE = (
    rf"(?:(?P<whole>\d++)?\s?{_FRACTION}|(?P<mixed>\d++)\s{_SIMPLE}|(?P<before>\d++)?\s?(?P<glyph>{_GLYPH})"
    rf"|(?P<plain>{_PLAIN})(?:\s?/\s?(?P<over>\d++)|{_POWER})?)(?:{_SCALE})?"
)
# A minus after a digit or a bracket takes away; elsewhere it is a sign.
NUMBER = re.compile(
    rf"(?:(?<![\w)])(?<![\d)]\s)(?P<sign>{_SIGN}))?(?:{_MONEY}(?P<inner>{_SIGN})?)?\s?{_VALUE}"
)
"""A number anywhere in a text."""
_WHOLE = re.compile(
    rf"(?P<sign>{_SIGN})?\s?(?:{_MONEY}(?P<inner>{_SIGN})?)?\s?{_VALUE}\s?(?:\\?%|percent\b|[€£¥]|\^\{{?\\circ\}}?|°)?"
)
_SPACED = re.compile(rf"({_SIGN}?)(\d{{1,3}}(?: \d{{3}})+)")


def parse_number(text: str) -> float | None:
    """The number that the whole text is ("1,234.50", "$3", "3/4", "12%" -> 12), or None.

    A number that a float cannot hold is None too.
    """
    stripped = text.strip()
    if len(stripped) > LONGEST_NUMBER:
        return None
    match = _WHOLE.fullmatch(stripped)
    if match is not None:
        return number_value(match)
    spaced = _SPACED.fullmatch(stripped)
    return parse_number(spaced[1] + spaced[2].replace(" ", "")) if spaced else None


def number_value(match: re.Match[str]) -> float | None:
    """The value of a match of `NUMBER`, or None where it is none (x/0) or no float can hold it."""
    if match.end() - match.start() > LONGEST_NUMBER:
        return None
    size = _size(match)
    if size is None:
        return None
    if match["scale"]:
        size *= _SCALES[match["scale"]]
    minus = sum(part is not None and part in "-−–" for part in (match["sign"], match["inner"]))  # noqa: RUF001
    value = -size if minus == 1 else size
    return value if math.isfinite(value) else None


def _size(match: re.Match[str]) -> float | None:
    if match["plain"]:
        return _plain_size(match)
    if match["glyph"]:
        return _plain(match["before"]) + unicodedata.numeric(match["glyph"])
    whole = _plain(match["whole"] or match["mixed"])
    top = match["top"] or match["one_top"] or match["n"]
    bottom = _plain(match["bottom"] or match["one_bottom"] or match["d"])
    return whole + _plain(top) / bottom if bottom else None


def _plain_size(match: re.Match[str]) -> float | None:
    value = _plain(match["plain"])
    if match["over"]:
        bottom = _plain(match["over"])
        return value / bottom if bottom else None
    power = match["power"] or match["bare_power"] or match["e"]
    if power is None:
        return value
    exponent = int(power.replace("−", "-"))  # noqa: RUF001
    # By text, so that 1e23 is the float nearest to it and not a product of two.
    return float(f"{value!r}e{exponent}") if "e" not in repr(value) and abs(exponent) < 400 else None


def _plain(text: str | None) -> float:
    """A number of digits, separators and one point; 0 for None."""
    if text is None:
        return 0.0
    return float(re.sub(r"[^\d.+-]", "", text.replace("−", "-").replace("–", "-")))  # noqa: RUF001


def number_text(value: float) -> str:
    """A number's one way of writing: whole ones as such, others with up to ten significant digits."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.10g}"
