"""Training questions that are test questions in other words: a line put in front, a word changed.

A test question and a training question are near copies when all numbers of the test question stand in the
other as often, and all but one of its words, or a share of at least `COPIED_SHARE` of them, stand there in
the same order and not far apart. Numbers count, written as digits or as words: questions made from one
template with other numbers are no copies.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from compact_bench.core.errors import Fault, OverlapError
from compact_bench.core.records import Question
from compact_bench.data.files.rows import OnFault, visible, words
from compact_bench.data.files.task_yaml import texts_of
from compact_bench.data.validation.splits import overlap_faults

OnOverlap = Literal["refuse", "drop", "keep"]
Rows = Mapping[str, Sequence[Mapping[str, Any]]]
COPIED_SHARE = 0.85
"""Share of a test question's words, in order, from which on a training question is a near copy of it."""
COPIED_SPAN = 1.5
"""Between the first and the last of these words may be so many words, of the training question, for each."""
_MEND = (
    "take these questions out of the training file, or pass --on-overlap drop to leave them out and list "
    "them, or --on-overlap keep to train on them all the same."
)
_FEWEST_WORDS = 5
"""Shorter test questions are compared word for word only: one word of four is a quarter of the question."""
_LONGEST = 2000
"""In longer questions the order is not looked at, which would take the product of both lengths."""
_WRITTEN = """
zero:0 one:1 two:2 three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 eleven:11 twelve:12 thirteen:13
fourteen:14 fifteen:15 sixteen:16 seventeen:17 eighteen:18 nineteen:19 twenty:20 thirty:30 forty:40 fifty:50
sixty:60 seventy:70 eighty:80 ninety:90 hundred:100 thousand:1000 dozen:12 half:0.5 twice:2 double:2 thrice:3
triple:3
"""
_NUMBER_WORDS = dict(pair.split(":") for pair in _WRITTEN.split())


@dataclass(frozen=True)
class NearCopy:
    """A training or validation question and the test item that it nearly is.

    Attributes:
        where: file and row of the question.
        item: task and id of the item.
        share: of the item's words, in order, in [0, 1].
    """

    question_id: str
    where: str
    item: str
    share: float

    @property
    def fault(self) -> Fault:
        """The same as a fault of the question."""
        share = f"{self.share:.0%} of its words"
        problem = f"expected no near copy of a test question, got one of {self.item} ({share})"
        return Fault(self.where, f"question {self.question_id!r}: {problem}", self.question_id)


def find_overlaps(
    questions: Sequence[Question], benchmarks: Rows, on_fault: OnFault, on_overlap: OnOverlap
) -> tuple[list[Fault], tuple[NearCopy, ...]]:
    """What is to be left out of the questions for being test questions, or nearly; and the copies that stay.

    What is a test question word for word, and is not left out, is not among the copies: it is refused.

    Args:
        questions: training and validation questions.
        benchmarks: task -> rows.
        on_fault: "drop" leaves out what is a test question word for word.
        on_overlap: "drop" leaves these and near copies out, "refuse" raises on near copies.

    Raises:
        OverlapError: there are near copies and `on_overlap` is "refuse".
    """
    exact = overlap_faults(questions, benchmarks)
    same = {fault.question_id for fault in exact}
    left_out = exact if "drop" in (on_fault, on_overlap) else []
    copies = near_copies([question for question in questions if question.id not in same], benchmarks)
    if copies and on_overlap == "refuse":
        faults = [copy.fault for copy in copies]
        raise OverlapError(f"{len(faults)} question(s) are near copies of test questions", faults, _MEND)
    if on_overlap == "drop":
        return [*left_out, *(copy.fault for copy in copies)], ()
    return left_out, tuple(copies)


def copies_note(copies: Sequence[NearCopy]) -> dict[str, Any]:
    """Near copies as plain data: share asked for, how many questions, and [question, item, share] of each."""
    pairs = [[copy.question_id, copy.item, round(copy.share, 3)] for copy in copies]
    return {"share": COPIED_SHARE, "questions": len(pairs), "pairs": pairs}


@dataclass(frozen=True)
class _Text:
    tokens: tuple[str, ...]
    counts: Counter[str]
    numbers: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> _Text:
        tokens = tuple(_NUMBER_WORDS.get(word, word) for word in words(visible(text)))
        counts = Counter(tokens)
        return cls(tokens, counts, tuple(token for token in counts if token[0].isdigit()))


def near_copies(
    questions: Sequence[Question],
    benchmarks: Rows,
    share: float = COPIED_SHARE,
) -> list[NearCopy]:
    """Every question that is a near copy of a test item, in their order, with the nearest of such items.

    An index of words keeps this from comparing every pair.

    Args:
        questions: training and validation questions.
        benchmarks: task -> rows.
        share: see `COPIED_SHARE`.
    """
    texts = [_Text.of(question.text) for question in questions]
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        for token in text.counts:
            places.setdefault(token, []).append(place)
    nearest: dict[int, NearCopy] = {}
    for task, rows in benchmarks.items():
        for row in rows:
            # In a prompt of the user's own, what is asked may be a small part; the fields have it alone.
            for test in map(_Text.of, dict.fromkeys(texts_of(row))):
                for place, measured in _copies_of(test, texts, places, share):
                    if place not in nearest or measured > nearest[place].share:
                        question = questions[place]
                        where = question.source or "training questions"
                        nearest[place] = NearCopy(question.id, where, f"{task} item {row['id']}", measured)
    return [nearest[place] for place in sorted(nearest)]


def _copies_of(
    test: _Text, texts: Sequence[_Text], places: Mapping[str, Sequence[int]], share: float
) -> Iterator[tuple[int, float]]:
    """Places of the near copies of a text, each with the share of the text's words that it holds."""
    needed = min(len(test.tokens) - 1, math.ceil(share * len(test.tokens)))
    for place in _candidates(test, places, needed):
        if (copied := _copied_words(test, texts[place], needed)) >= needed:
            yield place, copied / len(test.tokens)


def _candidates(test: _Text, places: Mapping[str, Sequence[int]], needed: int) -> Iterable[int]:
    """Questions that could hold enough of a test question's words.

    Source: prefix filtering of set-similarity joins (Chaudhuri et al. 2006).
    """
    if len(test.tokens) < _FEWEST_WORDS:
        return ()
    by_rarity = sorted(test.counts, key=lambda token: (len(places.get(token, ())), token))
    # Whoever lacks more tokens than these, counted as often as they stand, holds too few of the others.
    spare = len(test.tokens) - needed
    prefix: list[str] = []
    for token in by_rarity:
        prefix.append(token)
        spare -= test.counts[token]
        if spare < 0:
            break
    having = [places.get(token, ()) for token in prefix]
    if test.numbers:
        # Every number must be there, so that the rarest alone may decide.
        of_number = min((places.get(number, ()) for number in test.numbers), key=len)
        if len(of_number) <= sum(map(len, having)):
            return of_number
    return sorted({place for some in having for place in some})


def _copied_words(test: _Text, other: _Text, needed: int) -> int:
    """How many of a test question's words the other has in the same order, not far apart; 0 where too few."""
    # A plain dictionary's `get`: a Counter is slow at what it lacks.
    count_of = other.counts.get
    if any(count_of(number, 0) < test.counts[number] for number in test.numbers):
        return 0
    shared = sum(min(count, count_of(token, 0)) for token, count in test.counts.items())
    if shared < needed or len(other.tokens) > _LONGEST:
        return shared if shared >= needed else 0
    matcher = difflib.SequenceMatcher(None, test.tokens, other.tokens, autojunk=False)
    *blocks, _ = matcher.get_matching_blocks()
    copied = sum(block.size for block in blocks)
    span = blocks[-1].b + blocks[-1].size - blocks[0].b if blocks else 0
    return copied if span <= COPIED_SPAN * len(test.tokens) else 0
