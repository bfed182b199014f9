"""Whether a generation has steps: what a student wrote before it stated its answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_bench.core.answers import answer_span

HAS_STEPS = "has_steps"
"""Name of the measure in results and records: 1 for an item that was answered with steps, else 0."""

_SENTENCE_END = re.compile(r"[.!?]+(?=\s)|\n")
_NUMBERING = re.compile(r"\W*\d{1,3}\W*")


def has_steps(generation: str) -> bool:
    """Whether at least one sentence or line stands before the sentence that states the answer.

    The answer's sentence is that of the last statement which counts (docs/answers.md); where there is none,
    the last sentence. What follows it is no step; nor is a list's number or a rule of signs. A chain within
    the answer's own sentence is not seen.
    """
    text = generation.strip()
    span = answer_span(text)
    stated = len(text) if span is None else span[0]
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, stated)]
    before = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return any(map(_says_something, before))


def _says_something(sentence: str) -> bool:
    return any(sign.isalnum() for sign in sentence) and not _NUMBERING.fullmatch(sentence)


def measured_items(items: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, ...]]:
    """The measures of evaluated items, in their order: `HAS_STEPS` of generations, none of scored options."""
    written = [item["generation"] for item in items if "generation" in item]
    return {HAS_STEPS: tuple(float(has_steps(text)) for text in written)} if written else {}


def steps_rule() -> str:
    """What tells cached evaluations of another rule apart: the hash of this file."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
