"""What a row may hold beyond rationales: pairs, reviews, feedback and a student's mistake.

{"pairs": [{"teacher", "chosen", "rejected", "origin"}, ...],
"reviews": [{"author", "reviewer", "score"}, ...],
"feedback": {teacher: text} or [{"teacher", "text"}, ...],
"mistake": text}; each may be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compact_bench.core.answers import extract_answer, same_answer
from compact_bench.core.records import Feedback, PeerReview, RationalePair
from compact_bench.data.files.rows import kind_of, text_problem

Complain = Callable[[str, str], None]
"""Takes a problem and the field that has it."""

_ORIGINS = ("corrupted", "rectified")
_BEST = 5


@dataclass(frozen=True)
class QuestionExtras:
    """What a row holds beyond rationales; see `Question`."""

    pairs: tuple[RationalePair, ...] = ()
    reviews: tuple[PeerReview, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    mistake: str = ""


def read_extras(
    data: Mapping[str, Any], gold: str | None, wanted: Sequence[str], complain: Complain
) -> QuestionExtras:
    """Read the optional fields of a row; faults go to `complain`, and what has them is left out.

    Args:
        gold: its gold answer, or None where that is faulty.
        wanted: the teachers that are used, empty for all; what others said is left out.
    """
    reader = _Reader(_named_teachers(data.get("rationales")), wanted, complain)
    return QuestionExtras(
        pairs=reader.pairs(data.get("pairs")),
        reviews=reader.reviews(data.get("reviews")),
        feedback=reader.feedback(data.get("feedback")),
        mistake=reader.mistake(data.get("mistake"), gold),
    )


def _named_teachers(rationales: Any) -> frozenset[str]:
    if isinstance(rationales, Mapping):
        return frozenset(rationales)
    items = rationales if isinstance(rationales, list) else []
    names = [item.get("teacher") for item in items if isinstance(item, Mapping)]
    return frozenset(name for name in names if isinstance(name, str))


@dataclass(frozen=True)
class _Reader:
    """Reads the fields of one row, which has rationales of these teachers."""

    teachers: Collection[str]
    wanted: Sequence[str]
    complain: Complain

    def pairs(self, value: Any) -> tuple[RationalePair, ...]:
        pairs = []
        for place, item in self._objects(value, "pairs", ("teacher", "chosen", "rejected", "origin")):
            sound = self._teacher(item["teacher"], f"{place}.teacher")
            for name in ("chosen", "rejected"):
                sound &= self._text(item[name], f"{place}.{name}")
            if item["origin"] not in _ORIGINS:
                got = repr(item["origin"]) if isinstance(item["origin"], str) else kind_of(item["origin"])
                self.complain(f"expected {' or '.join(_ORIGINS)}, got {got}", f"{place}.origin")
                sound = False
            if sound and item["chosen"].strip() == item["rejected"].strip():
                self.complain("expected another text than the chosen one, got the same", f"{place}.rejected")
                sound = False
            if sound and self._used(item["teacher"]):
                pairs.append(RationalePair(item["teacher"], item["chosen"], item["rejected"], item["origin"]))
        return tuple(pairs)

    def reviews(self, value: Any) -> tuple[PeerReview, ...]:
        reviews: dict[tuple[str, str], PeerReview] = {}
        for place, item in self._objects(value, "reviews", ("author", "reviewer", "score")):
            author, reviewer = item["author"], item["reviewer"]
            sound = self._teacher(author, f"{place}.author")
            sound &= self._teacher(reviewer, f"{place}.reviewer")
            if sound and author == reviewer:
                self.complain(f"expected another teacher than the author {author!r}", f"{place}.reviewer")
                sound = False
            score = item["score"]
            if score is not None and (isinstance(score, bool) or score not in range(1, _BEST + 1)):
                got = kind_of(score)
                self.complain(
                    f"expected a whole number from 1 to {_BEST}, or null, got {got}", f"{place}.score"
                )
                sound = False
            if not sound:
                continue
            if (author, reviewer) in reviews:
                self.complain(f"expected one score of {reviewer!r} for {author!r}, got two", place)
            elif self._used(author, reviewer):
                reviews[author, reviewer] = PeerReview(
                    author, reviewer, None if score is None else int(score)
                )
        return tuple(reviews.values())

    def feedback(self, value: Any) -> tuple[Feedback, ...]:
        items: list[tuple[str, Mapping[str, Any]]]
        if isinstance(value, Mapping):
            items = [(f"feedback.{name}", {"teacher": name, "text": text}) for name, text in value.items()]
        else:
            items = self._objects(value, "feedback", ("teacher", "text"))
        by_teacher: dict[str, Feedback] = {}
        for place, item in items:
            name = item["teacher"]
            sound = self._teacher(name, place)
            if not self._text(item["text"], place) or not sound:
                continue
            if name in by_teacher:
                self.complain(f"expected one feedback of teacher {name!r}, got two", place)
            elif self._used(name):
                by_teacher[name] = Feedback(name, item["text"])
        return tuple(by_teacher.values())

    def mistake(self, value: Any, gold: str | None) -> str:
        if value is None or not self._text(value, "mistake"):
            return ""
        if gold is not None and same_answer(extract_answer(value), gold):
            self.complain(f"expected a wrong answer, got the gold answer {gold!r}", "mistake")
            return ""
        return str(value)

    def _objects(self, value: Any, name: str, fields: Sequence[str]) -> list[tuple[str, Mapping[str, Any]]]:
        """Place and object of every item of a list that has these fields."""
        if value is None:
            return []
        if not isinstance(value, list):
            self.complain(f"expected a list of objects with {', '.join(fields)}, got {kind_of(value)}", name)
            return []
        objects = []
        for number, item in enumerate(value, 1):
            place = f"{name}[{number}]"
            if not isinstance(item, Mapping):
                self.complain(f"expected an object with {', '.join(fields)}, got {kind_of(item)}", place)
            elif missing := [field for field in fields if field not in item]:
                self.complain(f"expected {', '.join(missing)}, got an object without", place)
            else:
                objects.append((place, item))
        return objects

    def _text(self, value: Any, place: str) -> bool:
        problem = text_problem(value)
        if problem:
            self.complain(problem, place)
        return problem is None

    def _teacher(self, name: Any, place: str) -> bool:
        if not self._text(name, place):
            return False
        if name not in self.teachers:
            self.complain(f"expected a teacher who has a rationale here, got {name!r}", place)
        return name in self.teachers

    def _used(self, *names: str) -> bool:
        return not self.wanted or all(name in self.wanted for name in names)
