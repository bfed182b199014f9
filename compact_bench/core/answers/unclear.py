"""What names numbers or options and still states none of them: several, a bound, arithmetic left undone."""

from __future__ import annotations

import re

_NUMBER = r"(?:[-+−]\s?)?(?:\\?[$€£])?\d"  # noqa: RUF001
_TEXT = re.compile(r"\\(?:text|mathrm|textrm)\s?\{([^{}]{0,20})\}|\\[ ,;:!]")
_CONTEXT = 60
"""Characters on either side that are looked at, so that reading stays linear."""
_BEFORE = re.compile(
    r"(?:\b(?:no|not)\s+)?\b(?:more|less|fewer|greater|larger|smaller|higher|lower)\s+than(?:\s+or\s+equal\s+to)?\s*$"
    r"|\b(?:at\s+(?:least|most|minimum|maximum)|up\s+to|between|exceeding|a\s+(?:minimum|maximum)\s+of)\s*$"
    r"|\b(?:anything|everything|all|any)\s+(?:but|except)\s*$|\b(?:far\s+from|hardly|none\s+of)\s*$"
    r"|\b(?:half\s+of|twice|double|triple|(?:square|cube)\s+root\s+of|sum\s+of|product\s+of|quotient\s+of"
    r"|difference\s+(?:of|between)|if|unless)\s*$|\|\s*$",
    re.IGNORECASE,
)
_AFTER = re.compile(
    rf"[kKMB]\b|\s?(?:k|bn|mn|crores?|lakhs?)\b|\s+(?:dozens?|gross)\b|,\d|\s*[,;]\s*{_NUMBER}|\s+\d|\s*,?\s*(?:and|or|to|through)\s+(?:maybe\s+|perhaps\s+)?{_NUMBER}"
    rf"|\s+[A-Za-z]+,?\s+or\s+(?:maybe\s+|perhaps\s+)?{_NUMBER}"
    r"|\s+(?:years?|weeks?|days?|hours?|minutes?|feet|foot|dollars?)\s+(?:and\s+)?\d"
    rf"|\s*(?:±|\\pm\b|\+-|\+/-)|\s*\||!|\s*\*\*\s*\d|\s+(?:factorial|squared|cubed)\b"
    rf"|\s+(?:times|x|×|plus|minus|multiplied\s+by|divided\s+by|of(?:\s+the)?|(?:more|less|fewer)\s+than)\s+{_NUMBER}",  # noqa: RUF001
)
_MINUS = re.compile(r"(?:^|\s)(?P<minus>(?:minus|negative)\s+)$", re.IGNORECASE)
_OTHER = re.compile(
    rf"[,;]\s+(?:no,?|or|actually,?)\s+(?:maybe\s+|perhaps\s+)?{_NUMBER}[\d.,]*\s*(?:$|[.!?)])", re.IGNORECASE
)
_BOTH = re.compile(
    r"(?:yes|no|true|false)\W{1,3}(?:but|and|or)\s+(?:also\s+)?(?:yes|no|true|false)\b", re.IGNORECASE
)
_OPTIONS = re.compile(r"(?:(?:and|or|&|,|/)\s*)*[(\[]?[A-H][)\]]?(?=\W|$)")
_JOINED = re.compile(r"(?:and|or|&|/)(?=\W)")
_DENIED = re.compile(
    r"(?:is|was|seems)\s+(?:wrong|incorrect|mistaken|not\b)|(?:is|was)n['’]t\b|can(?:not|['’]t|\s+not)\b",  # noqa: RUF001
    re.IGNORECASE,
)
_EXCLUDED = re.compile(
    r"(?:(?:anything|everything|all|any)\s+(?:but|except)|far\s+from|hardly|none\s+of)\s+(?=[(\[$]?(?:\d|[A-H]\b))",
    re.IGNORECASE,
)


_CALLED_WRONG = re.compile(
    r"(?:[(\[]?[A-H][)\]]?|(?i:yes|no|true|false))\s+(?:(?:is|was|seems)\s+(?:wrong|incorrect|mistaken"
    r"|not\s+(?:right|correct|true|(?:the|my|our)\s+(?:\w+\s)?answer))|(?:is|was)n['’]t\s+(?:right|correct|true)"  # noqa: RUF001
    r"|can(?:not|['’]t|\s+not)\s+be\s+(?:right|correct|true))\b"  # noqa: RUF001
)


def minus_before(text: str, start: int, at: int) -> int:
    """Where "minus" or "negative" before a number at `at` begins, or `at` where there is neither."""
    match = _MINUS.search(text[max(start, at - 12) : at])
    return at if match is None else at - len(match["minus"])


def is_unclear(text: str, start: int, end: int, at: int, to: int) -> bool:
    """Whether text[start:end] does not state the number text[at:to] that it names first."""
    before = text[max(start, at - _CONTEXT) : at]
    after = _TEXT.sub(lambda m: m[1] or " ", text[to : min(end, to + _CONTEXT)])
    after = re.sub(r"^\s?\\?%", "", after)
    return _BEFORE.search(before) is not None or _AFTER.match(after) is not None


def names_another(text: str, start: int, end: int) -> bool:
    """Whether what follows a number and a comma in text[start:end] puts another one in its place."""
    return _OTHER.match(text[start : min(end, start + _CONTEXT)]) is not None


def is_both(piece: str) -> bool:
    """Whether the text says yes and no."""
    return _BOTH.match(piece) is not None


def is_excluded(piece: str) -> bool:
    """Whether the text says what the answer is not: "anything but 5", "all but B", "B is incorrect"."""
    return _EXCLUDED.match(piece) is not None or _CALLED_WRONG.match(piece) is not None


def is_no_option(mark: str, rest: str) -> bool:
    """Whether an option's letter is not the answer: another follows, or it is called wrong.

    Args:
        mark: the letter as it is written, with what closes it.
        rest: what follows it.
    """
    rest = rest.lstrip()
    joined = mark.rstrip().endswith(",") or rest.startswith(",") or _JOINED.match(rest) is not None
    return _DENIED.match(rest) is not None or (joined and _OPTIONS.match(rest) is not None)
