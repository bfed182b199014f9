"""Rows and rationales, or texts of pairs, that are longer than a student or a suite allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compact_bench.errors import Fault
from compact_bench.records import Question

__all__ = ["CountTokens", "length_faults", "long_rationale_faults"]

CountTokens = Callable[[str, str], int]
"""(question, rationale) -> tokens of the whole row: prompt, rationale and end of turn."""


def length_faults(
    question: Question, count_tokens: CountTokens, limit: int, places: Mapping[str, str] | None = None
) -> list[Fault]:
    """Rows of one question that are longer than the student's rows may be.

    Args:
        question: the question.
        count_tokens: counts the tokens of a row.
        limit: longest row, in tokens.
        places: teacher -> file and row of its rationale, where that is not the question's.
    """
    return _too_long(question, count_tokens, limit, places or {}, whole_row=True)


def long_rationale_faults(
    question: Question, count_tokens: CountTokens, limit: int, places: Mapping[str, str] | None = None
) -> list[Fault]:
    """Rationales of one question that are longer than a suite allows, prompt not counted; see above."""
    return _too_long(question, count_tokens, limit, places or {}, whole_row=False)


def _too_long(
    question: Question, count_tokens: CountTokens, limit: int, places: Mapping[str, str], *, whole_row: bool
) -> list[Fault]:
    faults = []
    # No token is shorter than a byte, so most rows need no tokenizer; the margin is for the end of turn.
    texts = [(r.teacher, "rationale", r.text) for r in question.rationales]
    texts += [(p.teacher, "chosen text", p.chosen) for p in question.pairs]
    texts += [(p.teacher, "rejected text", p.rejected) for p in question.pairs]
    longest = max((len(text.encode()) for _, _, text in texts), default=0) + 16
    if longest <= limit and not whole_row:
        return []
    prompt_tokens = count_tokens(question.text, "")
    if whole_row and prompt_tokens + longest <= limit:
        return []
    for teacher, kind, text in texts:
        tokens = count_tokens(question.text, text) - (0 if whole_row else prompt_tokens)
        if tokens > limit:
            what = f"row (prompt and {kind})" if whole_row else kind
            problem = f"expected a {what} of at most {limit} tokens, got {tokens}"
            where = places.get(teacher, question.source)
            faults.append(Fault(f"{where}, {kind} of {teacher!r}", problem, question.id))
    return faults
