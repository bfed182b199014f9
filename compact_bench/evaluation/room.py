"""Whether every prompt of a suite, with its answer, fits into the student's context: asked before training.

The harness cuts what is too long on the left, without a word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import EvalSettings
from compact_bench.students.chat import prompt_ids

Rows = Sequence[Mapping[str, Any]]
_SHOWN = 10
_SPARE_TOKENS = 16
"""What a tokenizer may add of its own."""


class Harness(Protocol):
    """What is asked of the harness's model object."""

    max_length: int

    def tok_encode(self, text: str) -> Sequence[int]:
        """Tokens of a text."""


def check_room(tokenizer: Any, task: str, rows: Rows, settings: EvalSettings, context_tokens: int) -> None:
    """Refuse a packaged task's items that do not fit.

    Args:
        context_tokens: the longest sequence that the student reads.

    Raises:
        ConfigError: task, items, their tokens and the limit.
    """
    around = len(prompt_ids(tokenizer, "x"))

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    def faults() -> Iterator[tuple[str, int]]:
        for row in rows:
            answers = [f"The answer is {choice}" for choice in row.get("choices", ())]
            longest = max(map(_most, answers), default=settings.max_new_tokens)
            if around + _most(row["question"]) + longest + _SPARE_TOKENS <= context_tokens:
                yield str(row["id"]), 0
                continue
            answer_tokens = max(map(count, answers), default=settings.max_new_tokens)
            yield str(row["id"]), len(prompt_ids(tokenizer, row["question"])) + answer_tokens

    _refuse(f"task {task}", faults(), context_tokens, "Lower eval.max_new_tokens or leave these items out.")


def check_own_room(
    place: str, ids: Sequence[str], requests: Sequence[Sequence[tuple[str, Any]]], harness: Harness
) -> None:
    """Refuse a user's own task's items that do not fit.

    Args:
        place: task and file.
        requests: per item, in the order of `ids`, its requests as the harness has them: the prompt, and the
            decoding settings or the option that is scored.

    Raises:
        ConfigError: place, items, their tokens and the limit.
    """

    def faults() -> Iterator[tuple[str, int]]:
        for name, of_item in zip(ids, requests, strict=True):
            # An option's prompt is that of the item's other options.
            count = _remembered(lambda text: len(harness.tok_encode(text)))
            needed = 0
            for prompt, rest in of_item:
                length = int(rest["max_gen_toks"]) if isinstance(rest, Mapping) else None
                most = _most(prompt) + (_most(rest) if length is None else length)
                if most + _SPARE_TOKENS > harness.max_length:
                    needed = max(needed, count(prompt) + (count(rest) if length is None else length))
            yield name, needed

    mend = "Ask with fewer examples, lower max_gen_toks, or leave these items out."
    _refuse(place, faults(), harness.max_length, mend)


def _refuse(place: str, needed: Iterator[tuple[str, int]], context_tokens: int, mend: str) -> None:
    faults = [
        f"{name}, number {number} ({tokens} tokens)"
        for number, (name, tokens) in enumerate(needed, 1)
        if tokens > context_tokens
    ]
    if faults:
        more = ", ..." if len(faults) > _SHOWN else ""
        raise ConfigError(
            f"{place}: expected prompt and answer within the student's context of {context_tokens} tokens, "
            f"got more for {len(faults)} item(s): {', '.join(faults[:_SHOWN])}{more}. "
            f"{mend}"
        )


def _most(text: str) -> float:
    """How many tokens a text can have: of ASCII at most one a character. So most need no tokenizer."""
    return len(text) if text.isascii() else math.inf


def _remembered(count: Callable[[str], int]) -> Callable[[str], int]:
    known: dict[str, int] = {}

    def remembered(text: str) -> int:
        if text not in known:
            known[text] = count(text)
        return known[text]

    return remembered
