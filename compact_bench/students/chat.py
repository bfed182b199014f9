"""A question and a rationale as chat text and tokens: where the prompt ends and the turn ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compact_bench.core.errors import StudentError

_FROZEN_DATE = "26 Jul 2024"


def freeze_dates(template: str) -> str:
    """A chat template whose dates are always the same day, so that a prompt does not change overnight.

    Returns:
        The template, with `date_string` and `strftime_now` pinned where it reads them.
    """
    head = ""
    if "strftime_now" in template and "macro strftime_now" not in template:
        head += "{%- macro strftime_now(format) -%}" + _FROZEN_DATE + "{%- endmacro %}"
    if "date_string" in template and not template.startswith("{%- set date_string"):
        head += '{%- set date_string = "' + _FROZEN_DATE + '" %}'
    return head + template


@dataclass(frozen=True)
class ChatRow:
    """One branch as tokens, cut after its end-of-turn token.

    Attributes:
        input_ids: prompt, rationale and end-of-turn token.
        prompt_tokens: how many tokens stand before the rationale's first.
        rationale_tokens: how many tokens the rationale has, end-of-turn excluded.
        spans: character range [start, end) of every rationale token, counted from the rationale's start.
    """

    input_ids: tuple[int, ...]
    prompt_tokens: int
    rationale_tokens: int
    spans: tuple[tuple[int, int], ...]


def chat_text(tokenizer: Any, question: str, rationale: str | None) -> str:
    """The chat template over a user turn, and an assistant turn unless `rationale` is None."""
    messages = [{"role": "user", "content": question}]
    if rationale is not None:
        messages.append({"role": "assistant", "content": rationale})
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=rationale is None, enable_thinking=False
    )
    return str(text)


def _tokens(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    # The template writes its own special tokens; letting the tokenizer add more would double them.
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["input_ids"]), [(int(a), int(b)) for a, b in encoded["offset_mapping"]]


def prompt_ids(tokenizer: Any, question: str) -> list[int]:
    """Tokens of the prompt that a student answers: the user turn and the start of the assistant's."""
    return _tokens(tokenizer, chat_text(tokenizer, question, None))[0]


def encode_row(tokenizer: Any, question: str, rationale: str) -> ChatRow:
    """Tokenise question and rationale (without outer white space) as one chat text and find their borders.

    Raises:
        StudentError: the template loses or alters the rationale, or no token ends the turn.
    """
    text = chat_text(tokenizer, question, rationale)
    shared = _shared_length(text, chat_text(tokenizer, question, None))
    start = text.find(rationale, shared)
    if start < 0:
        start = text.rfind(rationale)
    if not rationale or start < 0:
        raise StudentError(
            f"the chat template of this student does not keep the assistant's text {rationale[:40]!r}: "
            "expected it verbatim in the rendered chat. Give the tokenizer a template that does."
        )
    end = start + len(rationale)
    ids, offsets = _tokens(tokenizer, text)
    inside = tokens_in_range(offsets, start, end)
    after = [i for i, (a, b) in enumerate(offsets) if a >= end and b > a]
    if not after:
        raise StudentError(
            "no end-of-turn token was found after the assistant's text: expected the chat template to close "
            "the turn (for example with <|im_end|>, <|eot_id|>, <end_of_turn> or the end-of-sequence token)."
        )
    first, stop = inside[0], after[0]
    return ChatRow(
        input_ids=tuple(ids[: stop + 1]),
        prompt_tokens=first,
        rationale_tokens=stop - first,
        spans=tuple((a - start, b - start) for a, b in offsets[first:stop]),
    )


def _shared_length(first: str, second: str) -> int:
    for i, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return i
    return min(len(first), len(second))


def tokens_in_range(spans: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, ...]:
    """Indices of the tokens that overlap characters [start, end)."""
    return tuple(i for i, (a, b) in enumerate(spans) if b > start and a < end and b > a)
