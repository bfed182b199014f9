"""Answers as text: where a text states one, how it is written, and when two are the same.

One reader serves training (answer spans, filters, truth), gold answers and evaluation. Its rule, and how
often it is wrong, is in docs/answers.md. Every reading takes time linear in the text.
"""

from compact_bench.core.answers.comparing import (
    answer_problem,
    canonical_answer,
    needs_math,
    numeric_match,
    same_answer,
)
from compact_bench.core.answers.numbers import NUMBER_TOLERANCE, parse_number
from compact_bench.core.answers.statements import ANSWER_PHRASE, answer_span, canonical_text, extract_answer

__all__ = [
    "ANSWER_PHRASE",
    "NUMBER_TOLERANCE",
    "answer_problem",
    "answer_span",
    "canonical_answer",
    "canonical_text",
    "extract_answer",
    "needs_math",
    "numeric_match",
    "parse_number",
    "same_answer",
]
