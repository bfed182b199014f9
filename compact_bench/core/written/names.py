"""Names and texts that people give: what a name may hold, and how any text is shown without harm.

Control characters, line breaks and marks of writing direction can make a line look like another one, on a
terminal and in a page. A name with one is refused; in a text (an error that quotes a file, an answer of a
student) they are shown as Python writes them, as `\\x1b` or `\\u202e`.
"""

from __future__ import annotations

import re
import unicodedata

from compact_bench.core.errors import ConfigError

LONGEST_NAME = 100
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})
"""Categories of Unicode: control, format, surrogate, line or paragraph separator, private, unassigned."""
# These join letters and emojis into one sign, and change no line.
_JOINERS = frozenset("\u200c\u200d")
_QUICK = re.compile(r"[^\x20-\x7e]")


def _is_hidden(sign: str) -> bool:
    return sign not in _JOINERS and unicodedata.category(sign) in _HIDDEN


def shown(text: str, *, lines: bool = False) -> str:
    """Text in which nothing hides: control characters, direction marks and the like are written out.

    Args:
        lines: whether line breaks and tabs stay as they are.
    """

    def written_out(found: re.Match[str]) -> str:
        sign = found[0]
        if (lines and sign in "\n\t") or not _is_hidden(sign):
            return sign
        return sign.encode("unicode_escape").decode()

    return _QUICK.sub(written_out, text)


def unreadable(text: str, *, lines: bool = False) -> str:
    """The first character that a name may not hold, in words ("the control character U+001B"), or ""."""
    for found in _QUICK.finditer(text):
        sign = found[0]
        if _is_hidden(sign) and not (lines and sign in "\n\t"):
            return f"the hidden or control character U+{ord(sign):04X} at place {found.start() + 1}"
    return ""


def without_version(name: str) -> str:
    """A name without the "@N" of an earlier version that is kept beside the one in use: "lab" of "lab@1"."""
    return name.partition("@")[0]


def checked_name(what: str, name: str, *, longest: int = LONGEST_NAME) -> str:
    """A name that may be shown everywhere.

    Args:
        what: whose name, for the message ("teacher").
        longest: most characters.

    Raises:
        ConfigError: it is empty, too long, or holds a control character, line break or direction mark.
    """
    problem = ""
    if not name.strip():
        problem = "expected a name, got an empty one"
    elif len(name) > longest:
        problem = f"expected a name of at most {longest} characters, got {len(name)}"
    elif hidden := unreadable(name):
        problem = f"expected printable characters on one line, got {hidden}"
    if problem:
        raise ConfigError(f"{what} {shown(name)[:LONGEST_NAME]!r}: {problem}.")
    return name
