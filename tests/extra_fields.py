"""Tiny questions with what some methods need beyond rationales: pairs, reviews, feedback, mistakes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from compact_bench.core.answers import extract_answer, same_answer
from compact_bench.core.records import Feedback, PeerReview, Question, RationalePair

__all__ = ["with_feedback", "with_pairs", "with_reviews"]


def with_pairs(questions: Sequence[Question]) -> tuple[Question, ...]:
    """The same questions with a pair per teacher, whose texts differ in all that stands for the answer.

    Args:
        questions: questions whose answers are numbers.
    """
    return tuple(
        replace(q, pairs=tuple(_pair(q, r.teacher, r.text) for r in q.rationales)) for q in questions
    )


def _pair(question: Question, teacher: str, text: str) -> RationalePair:
    gold = question.gold_answer
    if same_answer(extract_answer(text), gold):
        return RationalePair(teacher, text, text.replace(gold, str(int(gold) + 2)), "corrupted")
    wrong = extract_answer(text) or ""
    return RationalePair(teacher, text.replace(wrong, gold), text, "rectified")


def with_reviews(questions: Sequence[Question], scores: dict[str, int | None]) -> tuple[Question, ...]:
    """The same questions with a review of every teacher by every other.

    Args:
        questions: the questions.
        scores: author -> what all others say.
    """
    return tuple(
        replace(
            q,
            reviews=tuple(PeerReview(a, b, scores[a]) for a, b in itertools.permutations(q.teachers, 2)),
        )
        for q in questions
    )


def with_feedback(questions: Sequence[Question], mistakes: Sequence[bool] = (True,)) -> tuple[Question, ...]:
    """The same questions with feedback of every teacher, and with a mistake on some.

    Args:
        questions: questions whose answers are numbers.
        mistakes: whether a question has a mistake, in turn.
    """
    return tuple(
        replace(
            q,
            feedback=tuple(Feedback(t, f"{t} says: not {{mistake}}. So it is more.") for t in q.teachers),
            mistake=f"The answer is {int(q.gold_answer) + 5}." if mistakes[n % len(mistakes)] else "",
        )
        for n, q in enumerate(questions)
    )
