"""Normalised text, the hash split, overlap, near duplicates."""

from __future__ import annotations

import hashlib
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compact_bench.core.errors import OverlapError
from compact_bench.core.records import Question
from compact_bench.data.files.rows import normalised, words
from compact_bench.data.validation.splits import (
    check_no_overlap,
    hash_order,
    near_duplicate_counts,
    near_duplicates,
    overlap_faults,
    split_validation,
)


def question(text: str, id: str = "") -> Question:
    return Question(id or text, text, "1", (), "mine.json")


QUESTIONS = [question(f"How much is {n} and {n + 1}?", f"q{n}") for n in range(60)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("John 's cat .", "JOHN'S cat", True),
        ("1,426 houses", "1426 houses", True),
        ("a  b\n c", "a b c", True),
        ("ﬁve", "five", True),
        ("6.8 gallons", "68 gallons", False),
        ("6.8 gallons", "6 8 gallons", False),
        ("two cats", "two dogs", False),
        ("???", "!!!", False),
    ],
)
def test_what_counts_as_one_text(one: str, other: str, same: bool) -> None:
    assert (normalised(one) == normalised(other)) is same


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


def test_the_split_is_fair_fixed_and_does_not_depend_on_order() -> None:
    training, validation = split_validation(QUESTIONS, 10)
    assert len(training) == 50 and len(validation) == 10
    assert {q.id for q in training} | {q.id for q in validation} == {q.id for q in QUESTIONS}
    mixed = list(QUESTIONS)
    random.Random(3).shuffle(mixed)
    assert split_validation(mixed, 10) == (training, validation)
    # The rule, spelt out: a release that moves the split must change the suites' versions.
    texts = {f"how much is {n} and {n + 1}": f"q{n}" for n in range(60)}
    by_hash = sorted(texts, key=lambda text: hashlib.sha256(f"validation/{text}".encode()).hexdigest())
    assert {q.id for q in validation} == {texts[text] for text in by_hash[:10]}


def test_punctuation_and_case_do_not_move_a_question() -> None:
    shouted = [question(q.text.upper().replace("?", " !"), q.id) for q in QUESTIONS]
    before, after = split_validation(QUESTIONS, 10), split_validation(shouted, 10)
    assert [q.id for q in before[1]] == [q.id for q in after[1]]
    assert [q.id for q in before[0]] == [q.id for q in after[0]]


def test_the_training_order_is_not_the_split_order() -> None:
    assert hash_order(QUESTIONS, "validation") != hash_order(QUESTIONS)


def items(*texts: str) -> list[dict[str, str]]:
    return [{"id": f"i{n}", "question": text} for n, text in enumerate(texts)]


def test_overlap_is_refused_with_the_ids() -> None:
    train, validation = QUESTIONS[:5], [*QUESTIONS[5:8], question("how MUCH is 2 and 3", "copy")]
    benchmarks = {"svamp": items("New?", "How much is 0 and 1"), "gsm8k": items("How much is 6 and 7 ?")}
    with pytest.raises(OverlapError) as caught:
        check_no_overlap(train, validation, benchmarks)
    text = str(caught.value)
    for part in ("'q0'", "svamp item i1", "'q6'", "gsm8k item i0", "'copy' is also training question 'q2'"):
        assert part in text
    assert [f.question_id for f in caught.value.faults] == ["q0", "q6", "copy"]
    assert "--on-fault drop" in text


def test_splits_apart_are_let_pass() -> None:
    check_no_overlap(QUESTIONS[:5], QUESTIONS[5:8], {"svamp": items("New?")})
    assert overlap_faults(QUESTIONS, {"svamp": items("How much is 99 and 1?")}) == []


TEN = "a b c d e f g h i j"


@pytest.mark.parametrize(
    ("test", "near"),
    [
        (TEN, True),
        (TEN + " 17", True),
        ("j i h g f e d c b a", True),
        # 9 of 10 words are not over 0.9.
        ("a b c d e f g h i", False),
        (TEN + " k", True),
        (TEN + " k l", False),
        ("x y z", False),
        ("", False),
        ("12 13", False),
    ],
)
def test_near_duplicates_share_over_nine_tenths_of_their_words_numbers_aside(test: str, near: bool) -> None:
    assert near_duplicates([test], [TEN + " 4", "p q r"]) == [near]


def brute_force(test: str, training: list[str]) -> bool:
    def of(text: str) -> set[str]:
        return {w for w in words(text) if not w[0].isdigit()}

    return any(10 * len(of(test) & of(t)) > 9 * len(of(test) | of(t)) for t in training)


sentences = st.lists(st.sampled_from("abcdefghijklmn"), max_size=24).map(" ".join)


@given(sentences, st.lists(sentences, max_size=6))
def test_near_duplicates_are_those_of_comparing_all_with_all(test: str, training: list[str]) -> None:
    assert near_duplicates([test], training) == [brute_force(test, training)]


def test_near_duplicates_are_counted_for_each_benchmark_and_quickly() -> None:
    counts = near_duplicate_counts({"one": [TEN, "x y"], "none": [], "two": ["p r q", TEN]}, [TEN, "p q r"])
    assert counts == {"one": 1, "none": 0, "two": 2}
    chosen = random.Random(1)
    many = [" ".join(f"w{chr(97 + chosen.randrange(26))}{chr(97 + chosen.randrange(26))}" for _ in range(30))
            for _ in range(4000)]  # fmt: skip
    start = time.perf_counter()
    near_duplicates(many[:2000], many[2000:])
    assert time.perf_counter() - start < 10
