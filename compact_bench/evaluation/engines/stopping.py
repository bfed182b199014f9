"""When a generation is over: its end tokens, and stop sequences in its text.

The harness stops a batch when every row of it shows a stop sequence, and cuts the texts afterwards. A row can
only be ended on its own where that changes no text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

_UNSETTLED = 8
"""Characters at the end of a text that its next token can still change: unfinished bytes, joined spaces."""


def stop_ids(model: Any) -> tuple[int, ...]:
    """The tokens that end a student's generations, from its own generation settings."""
    known = model.generation_config.eos_token_id
    return (known,) if isinstance(known, int) else tuple(known or ())


def stopping_reason(model: Any, tokenizer: Any, until: Sequence[str]) -> str:
    """Why a row's end depends on the other rows of the harness's batch, or ""."""
    ids = stop_ids(model)
    if tokenizer.eos_token_id not in ids:
        return (
            f"the tokenizer's end token {tokenizer.eos_token!r} does not end the student's generations "
            f"(eos_token_id {list(ids)})"
        )
    special = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    special |= {n: str(token) for n, token in tokenizer.added_tokens_decoder.items() if token.special}
    others = [token for number, token in special.items() if number not in ids]
    for stop in until:
        for token in others:
            if _may_overlap(stop, token):
                return f"stop sequence {stop!r} may be written with the special token {token!r}"
    for first, second in permutations(until, 2):
        if _cuts_later(first, second):
            return f"where the stop sequences {first!r} and {second!r} overlap, the cut moves with more text"
    return ""


def _may_overlap(stop: str, token: str) -> bool:
    shared = range(1, min(len(stop), len(token)) + 1)
    ends = any(stop[:n] == token[-n:] or stop[-n:] == token[:n] for n in shared)
    return ends or stop in token or token in stop


def _cuts_later(first: str, second: str) -> bool:
    """Whether `second` can begin inside `first` and end elsewhere."""
    return any(
        first[n:].startswith(second[: len(first) - n]) and n + len(second) != len(first)
        for n in range(1, len(first))
    )


def is_over(decode: Callable[[Sequence[int]], str], until: Sequence[str]) -> Callable[[Sequence[int]], bool]:
    """Whether more tokens cannot change the text that is left when it is cut at its stop sequences.

    Returns:
        A function of a row's new tokens.
    """
    until = [stop for stop in until if stop]
    if not until:
        return lambda new: False

    def over(new: Sequence[int]) -> bool:
        text = decode(list(new))[:-_UNSETTLED]
        return any(stop in text for stop in until)

    return over
