"""Ragged rationale sets: questions that lack teachers, teachers with several rationales for a question."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict

from compact_bench.core.records import Question, all_teachers

_SAMPLE_NAME = re.compile(r"#\d+$")
_LETTERS = re.compile(r"[\W_]+")

Texts = Mapping[str, Sequence[str]]
"""Teacher -> its rationales for one question."""


class Gaps(TypedDict):
    """How uneven a rationale set is.

    Keys:
        questions: how many there are.
        complete: questions with exactly one rationale of every teacher.
        lacking: teacher -> questions without a rationale of it; only those who lack any.
        several: teacher -> questions with more than one; only those who have any.
    """

    questions: int
    complete: int
    lacking: dict[str, int]
    several: dict[str, int]


def gaps(questions: Sequence[Question]) -> Gaps | None:
    """How uneven a rationale set is; None where every question has exactly one rationale of every teacher."""
    teachers = all_teachers(questions)
    counts = [Counter(rationale.teacher for rationale in question.rationales) for question in questions]
    lacking = {t: n for t in teachers if (n := sum(of[t] == 0 for of in counts))}
    several = {t: n for t in teachers if (n := sum(of[t] > 1 for of in counts))}
    if not lacking and not several:
        return None
    complete = sum(all(of[teacher] == 1 for teacher in teachers) for of in counts)
    return Gaps(questions=len(questions), complete=complete, lacking=lacking, several=several)


def gaps_sentence(found: Gaps) -> str:
    """The gaps in words: "teachers: bob lacks 2 of 9 questions; ada has several rationales for 1"."""
    total = found["questions"]
    parts = [f"{name} lacks {count} of {total} questions" for name, count in found["lacking"].items()]
    parts += [f"{name} has several rationales for {count}" for name, count in found["several"].items()]
    return f"teachers: {'; '.join(parts)}"


def sample_name_problem(name: str) -> str | None:
    """Why a name cannot be a teacher's where one may have several rationales, or None."""
    if _SAMPLE_NAME.search(name):
        return f"expected a teacher's name that does not end in # and a number, as samples' do, got {name!r}"
    return None


def repeated_text(texts: Sequence[str]) -> tuple[int, int] | None:
    """Numbers, from 1, of the first two texts that are the same; None where all differ."""
    first: dict[str, int] = {}
    for number, text in enumerate(texts, 1):
        before = first.setdefault(text.strip(), number)
        if before != number:
            return before, number
    return None


def misspelt(sets: Iterable[Texts]) -> dict[str, str]:
    """Name -> a more frequent one that it differs from by case, space or signs only, never in one question.

    Where questions may lack teachers, a slip of the pen would otherwise be one more teacher.
    """
    rows = [frozenset(texts) for texts in sets]
    counts = Counter(name for names in rows for name in names)
    by_letters: dict[str, list[str]] = {}
    for name, _ in counts.most_common():
        by_letters.setdefault(_LETTERS.sub("", name.casefold()), []).append(name)
    return {
        name: usual
        for usual, *others in by_letters.values()
        for name in others
        if not any({name, usual} <= names for names in rows)
    }
