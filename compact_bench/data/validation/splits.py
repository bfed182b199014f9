"""Splits that do not depend on file order, and the checks that no question stands in two of them.

Questions are compared by their words: lower case, without punctuation or spacing, numbers kept whole and
without thousands separators ("1,426" and "1426" are one word, "6.8" is not "6 8").
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from compact_bench.core.errors import Fault, OverlapError
from compact_bench.core.records import Question, all_teachers
from compact_bench.data.files.rows import normalised, question_hash, visible, words
from compact_bench.data.files.task_yaml import texts_of

NEAR_DUPLICATE_SHARE = 0.9
"""Two questions are near duplicates when they share more than this of their distinct words."""

_OVERLAP_MEND = (
    "take these questions out of the training file, or pass --on-fault drop to leave them out and list them."
)


WANTED_VALIDATION_QUESTIONS = 200
"""By so many a choice is made: the standard error of an accuracy of 50 % is then 3.5 pp."""


def hash_order(questions: Iterable[Question], salt: str = "order") -> tuple[Question, ...]:
    """Questions in an order that is fair and always the same, so that the first n are a sample."""
    return tuple(sorted(questions, key=lambda q: (question_hash(q.text, salt), q.id)))


def split_validation(
    questions: Sequence[Question], count: int
) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Set aside `count` validation questions, chosen by a hash of the normalised question.

    Returns:
        Training and validation questions, each in hash order.
    """
    assert 0 <= count < len(questions), f"cannot set {count} of {len(questions)} questions aside"
    by_hash = hash_order(questions, "validation")
    return hash_order(by_hash[count:]), hash_order(by_hash[:count])


def drawn_questions(pool: Sequence[Question], count: int, seed: int) -> tuple[Question, ...]:
    """The `count` questions of a training pool that a seed draws, in hash order.

    They are the first ones by a hash of the seed and the normalised question, so that neither the order of
    a file nor the method, the settings or the machine decides which they are. Where teachers lack questions,
    the first question of each teacher comes before all others: no draw is without one of the teachers.
    """
    assert 0 < count <= len(pool), f"cannot draw {count} of {len(pool)} questions"
    ranked = hash_order(pool, f"drawn by seed {seed}")
    first = {next(q.id for q in ranked if teacher in q.teachers) for teacher in all_teachers(pool)}
    return hash_order(sorted(ranked, key=lambda q: q.id not in first)[:count])


def overlap_faults(
    questions: Iterable[Question], benchmarks: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Fault]:
    """Questions of a rationale set that are also benchmark items (task name -> rows), by normalised text."""
    items: dict[str, list[str]] = {}
    for task, rows in benchmarks.items():
        for row in rows:
            for key in {_key(text) for text in texts_of(row)}:
                items.setdefault(key, []).append(f"{task} item {row['id']}")
    return [
        Fault(
            question.source or "training questions",
            f"question {question.id!r}: expected no benchmark item, got {', '.join(items[key])}",
            question.id,
        )
        for question in questions
        if (key := _key(question.text)) in items
    ]


def check_no_overlap(
    training: Sequence[Question],
    validation: Sequence[Question],
    benchmarks: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Refuse a question that stands in two of the training, validation and test splits.

    Raises:
        OverlapError: lists the offending ids.
    """
    faults = overlap_faults([*training, *validation], benchmarks)
    trained = {_key(q.text): q.id for q in training}
    faults += [
        Fault(
            q.source or "validation questions",
            f"validation question {q.id!r} is also training question {trained[key]!r}",
            q.id,
        )
        for q in validation
        if (key := _key(q.text)) in trained
    ]
    if faults:
        raise OverlapError(f"{len(faults)} question(s) stand in two splits", faults, _OVERLAP_MEND)


def _key(text: str) -> str:
    """What two copies of a question share, zero-width characters put into one of them or not."""
    return normalised(visible(text))


def near_duplicates(
    tests: Sequence[str], training: Sequence[str], share: float = NEAR_DUPLICATE_SHARE
) -> list[bool]:
    """Which test questions share more than `share` with a training question: template transfer, nothing new.

    Two questions are compared by their sets of distinct words, numbers aside: words in both, over words
    in either.

    Returns:
        One truth value per test question.
    """
    test_sets, training_sets = [_word_set(t) for t in tests], [_word_set(t) for t in training]
    frequency = Counter(word for word_set in training_sets for word in word_set)
    rarest: dict[str, list[frozenset[str]]] = {}
    for word_set in training_sets:
        for word in _prefix(word_set, frequency, share):
            rarest.setdefault(word, []).append(word_set)
    return [
        any(
            _share_exceeds(word_set, other, share)
            for word in _prefix(word_set, frequency, share)
            for other in rarest.get(word, ())
        )
        for word_set in test_sets
    ]


def near_duplicate_counts(
    tests: Mapping[str, Sequence[str]], training: Sequence[str], share: float = NEAR_DUPLICATE_SHARE
) -> dict[str, int]:
    """How many questions of each benchmark share more than `share` with a training question."""
    hits = iter(near_duplicates([text for texts in tests.values() for text in texts], training, share))
    return {task: sum(next(hits) for _ in texts) for task, texts in tests.items()}


def _word_set(text: str) -> frozenset[str]:
    return frozenset(word for word in words(text) if not word[0].isdigit())


def _prefix(word_set: frozenset[str], frequency: Mapping[str, int], share: float) -> list[str]:
    """The rarest words, so many that two sets without one of these in common cannot share enough.

    Source: prefix filtering of set-similarity joins (Chaudhuri et al. 2006). It saves comparing every
    test question with every training question.
    """
    length = len(word_set) - math.ceil(share * len(word_set)) + 1
    return sorted(word_set, key=lambda word: (frequency.get(word, 0), word))[:length]


def _share_exceeds(first: frozenset[str], second: frozenset[str], share: float) -> bool:
    shared = len(first & second)
    # In thousandths, as whole numbers: 9 of 10 words are not "over 0.9", whatever 9/10 rounds to.
    return shared * 1000 > (len(first) + len(second) - shared) * round(share * 1000)
