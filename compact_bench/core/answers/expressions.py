"""Whether two expressions have one value, by math-verify (the extra `math`)."""

from __future__ import annotations

import importlib.util
import logging
import re
from functools import lru_cache

from compact_bench.core.errors import ConfigError

LONGEST_EXPRESSION = 200
# math-verify stops what takes long by a signal, which only a main thread can, and which makes a verdict a
# matter of the machine's load. What could take long is not given to it instead.
_TOO_LARGE = re.compile(
    r"\d{16}|\^\s?\{?\s?-?\d{3}|\^[^{}]*\^|\^\{[^{}]*[\^!]|!|\\(?:binom|sum|prod|int|lim)"
)


def math_is_installed() -> bool:
    """Whether the extra `math` is there."""
    return importlib.util.find_spec("math_verify") is not None


@lru_cache(maxsize=4096)
def equal_expressions(predicted: str, gold: str) -> bool:
    """Whether two expressions that differ as texts have one value.

    Expressions of over 200 characters, with numbers of over 15 digits, exponents of three digits, towers of
    powers, factorials, sums or integrals are compared as texts only.

    Raises:
        ConfigError: the extra `math` is not installed.
    """
    if not math_is_installed():
        raise ConfigError(
            f"expected the extra `math`, which compares expressions such as the gold answer {gold!r}, got an "
            "environment without it. pip install 'compact-bench[math]'"
        )
    if any(len(text) > LONGEST_EXPRESSION or _TOO_LARGE.search(text) for text in (predicted, gold)):
        return False
    from math_verify import parse, verify

    # It warns that its time-outs are off.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    a, b = (parse(f"${text}$", parsing_timeout=None, raise_on_error=False) for text in (predicted, gold))
    return bool(verify(b, a, timeout_seconds=None, raise_on_error=False))
