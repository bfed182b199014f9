"""A question and a rationale as chat text and tokens: where the prompt ends and the turn ends."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compact_bench.core.errors import StudentError

_FROZEN_DATE = "26 Jul 2024"
_TEMPLATE_SECONDS = 10.0
_MARK = "xyzzy"
"""A text that no template has of its own."""
_LONG_WORDS = 5_000
"""More than a question or a rationale has; a template that cuts texts cuts this one."""
_LARGEST = 10**6
"""No template of turns counts further; larger factors only make texts that fill the memory."""


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
    try:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=rationale is None, enable_thinking=False
        )
    except Exception as error:  # A template is a program of the folder's, and may raise anything.
        raise StudentError(
            f"the chat template of this student failed on a {' and an '.join(m['role'] for m in messages)} "
            f"turn: {first_line(error)}. Give the tokenizer a template for such turns without a system turn."
        ) from None
    return str(text)


def check_template(tokenizer: Any, name: str) -> None:
    """Try a chat template on a question and a rationale, for a limited time.

    Raises:
        StudentError: it fails, loses or cuts the question or the rationale, does not end, or computes what
            no template needs.
    """
    _check_numbers(tokenizer.chat_template, name)
    failed: list[Exception] = []

    def try_it() -> None:
        try:
            encode_row(tokenizer, "question", "answer")
            _check_texts(tokenizer)
        except (
            StudentError,
            ArithmeticError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
            OSError,
        ) as error:
            failed.append(error)

    # A thread, as a signal would take the place of the caller's own alarm and needs the main thread.
    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(_TEMPLATE_SECONDS)
    if thread.is_alive():
        stop = ctypes.pythonapi.PyThreadState_SetAsyncExc
        stop(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeoutError))
        raise StudentError(
            f"student {name!r}: expected its chat template to render two short turns within "
            f"{_TEMPLATE_SECONDS:g} s, got no end. Give the tokenizer a template that ends."
        )
    if failed:
        error = failed[0]
        what = str(error) if isinstance(error, StudentError) else first_line(error)
        raise StudentError(f"student {name!r}: {what}") from None


def _check_texts(tokenizer: Any) -> None:
    """Refuse a template that writes a reply twice, or does not keep a turn's whole text, long ones too."""
    if (count := chat_text(tokenizer, "question", _MARK).count(_MARK)) != 1:
        raise StudentError(
            f"the chat template of this student writes the reply {count} times: expected it once."
            " Give the tokenizer a template that does."
        )
    long = " ".join(f"{_MARK}{n}" for n in range(_LONG_WORDS))
    for whose, text in (
        ("user", chat_text(tokenizer, long, None)),
        ("user", chat_text(tokenizer, long, "answer")),
        ("assistant", chat_text(tokenizer, "question", long)),
    ):
        if long not in text:
            raise StudentError(
                f"the chat template of this student does not keep the {whose}'s text: expected one of "
                f"{len(long):,} characters verbatim in the rendered chat. Give the tokenizer a template that "
                "does."
            )


def _check_numbers(template: str, name: str) -> None:
    """Refuse powers and huge factors, which one operation, that nothing can stop, would be busy with."""
    from jinja2 import TemplateSyntaxError, nodes
    from transformers.utils.chat_template_utils import _compile_jinja_template

    try:
        tree = _compile_jinja_template("").environment.parse(template)
    except TemplateSyntaxError as error:
        raise StudentError(
            f"student {name!r}: its chat template is no template: {first_line(error)}."
        ) from None
    huge = [c.value for c in tree.find_all(nodes.Const) if isinstance(c.value, int) and c.value > _LARGEST]
    if huge or tree.find(nodes.Pow):
        raise StudentError(
            f"student {name!r}: its chat template computes {f'with {huge[0]}' if huge else 'powers'}, which "
            "no template of turns needs; it is refused, as such an operation may never end."
        )


def first_line(error: BaseException) -> str:
    """What an error of another library says first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _tokens(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    # The template writes its own special tokens; letting the tokenizer add more would double them.
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["input_ids"]), [(int(a), int(b)) for a, b in encoded["offset_mapping"]]


def prompt_ids(tokenizer: Any, question: str) -> list[int]:
    """Tokens of the prompt that a student answers: the user turn and the start of the assistant's."""
    return _tokens(tokenizer, chat_text(tokenizer, question, None))[0]


def encode_row(tokenizer: Any, question: str, rationale: str) -> ChatRow:
    """Tokenise question and rationale (without outer white space) as one chat text and find their borders.

    The row's prompt is `prompt_ids`, token by token. Thinking templates write another start of the
    assistant's turn where it is finished than where it is to be written ("<think>" is opened in the one and
    left out of the other); there the rationale follows the prompt that is asked.

    Raises:
        StudentError: the template loses or alters the rationale, or no token ends the turn.
    """
    text, asked = chat_text(tokenizer, question, rationale), chat_text(tokenizer, question, None)
    shared = _shared_length(text, asked)
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
    if (prompt := _tokens(tokenizer, asked)[0]) != ids[:first]:
        return _row_after(tokenizer, prompt, rationale, text[end:])
    return ChatRow(
        input_ids=tuple(ids[: stop + 1]),
        prompt_tokens=first,
        rationale_tokens=stop - first,
        spans=tuple((a - start, b - start) for a, b in offsets[first:stop]),
    )


def _row_after(tokenizer: Any, prompt: Sequence[int], rationale: str, closing: str) -> ChatRow:
    """The row of a prompt, the rationale, and what the template writes behind it."""
    ids, offsets = _tokens(tokenizer, rationale + closing)
    stop = next(i for i, (a, b) in enumerate(offsets) if a >= len(rationale) and b > a)
    return ChatRow(
        input_ids=(*prompt, *ids[: stop + 1]),
        prompt_tokens=len(prompt),
        rationale_tokens=stop,
        spans=tuple(offsets[:stop]),
    )


def _shared_length(first: str, second: str) -> int:
    for i, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return i
    return min(len(first), len(second))


def tokens_in_range(spans: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, ...]:
    """Indices of the tokens that overlap characters [start, end)."""
    return tuple(i for i, (a, b) in enumerate(spans) if b > start and a < end and b > a)
