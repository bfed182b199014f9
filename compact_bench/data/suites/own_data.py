"""What is counted in a user's own rationale file, for the card that stands in place of a suite's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compact_bench.core.answers import same_answer
from compact_bench.core.records import Question
from compact_bench.data.suites.teacher_statistics import stated_answer


def own_data_notes(path: Path, questions: Sequence[Question], trained: int) -> dict[str, Any]:
    """Facts about a rationale file, as plain data.

    Args:
        path: the file, which has been read.
        questions: all of it that was not left out, training and validation together.
        trained: how many of them the profile trains on.

    Returns:
        sha256, bytes, trained, question_words (fewest, median, most), right_known (of how many rationales it
        is known if they are really right) and teachers: name -> rationales, readable (how many state an
        answer), gold (how many of these state the gold answer) and words (fewest, median, most).
    """
    content = path.expanduser().read_bytes()
    by_teacher: dict[str, list[tuple[str, str]]] = {}
    for question in questions:
        for rationale in question.rationales:
            by_teacher.setdefault(rationale.teacher, []).append((rationale.text, question.gold_answer))
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "trained": trained,
        "question_words": _spread([len(question.text.split()) for question in questions]),
        "right_known": sum(r.truth is not None for q in questions for r in q.rationales),
        "teachers": {name: _teacher(texts) for name, texts in by_teacher.items()},
    }


def _teacher(texts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    read = [(stated_answer(text), gold) for text, gold in texts]
    return {
        "rationales": len(texts),
        "readable": sum(answer is not None for answer, _ in read),
        "gold": sum(answer is not None and same_answer(answer, gold) for answer, gold in read),
        "words": _spread([len(text.split()) for text, _ in texts]),
    }


def _spread(counts: Sequence[int]) -> list[int]:
    """Fewest, median (the lower of two) and most."""
    ordered = sorted(counts)
    return [ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]] if ordered else []
