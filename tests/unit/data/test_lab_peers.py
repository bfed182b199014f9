"""Pairs, reviews and feedback of the lab's teachers, against a second solver."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from compact_bench.core.answers import extract_answer, same_answer
from compact_bench.core.records import PeerReview, Question, RationalePair, fingerprint
from compact_bench.data.lab import TEACHERS, WorldSettings, training_questions
from compact_bench.data.lab.student.tokenizer import lab_tokenizer
from compact_bench.data.lab.world.problems import Chain
from compact_bench.data.lab.world.teachers import STYLES, chain_text
from compact_bench.data.suites import load_spec
from compact_bench.data.suites.generated import generated_questions
from compact_bench.data.suites.teacher_statistics import all_have_feedback, all_reviewed, some_have_pairs
from tests.unit.lab_solver import solve


@pytest.fixture(scope="module")
def pool() -> tuple[Question, ...]:
    return training_questions(WorldSettings(questions=800))


def accepted(question: Question, author: str) -> bool:
    scores = [r.score for r in question.reviews if r.author == author and r.score is not None]
    return bool(scores) and sum(scores) / len(scores) > 3


def test_a_pair_holds_the_teachers_own_rationale_and_one_on_a_similar_path(
    pool: tuple[Question, ...],
) -> None:
    origins: Counter[str] = Counter()
    for question in pool:
        answer, steps = solve(question.text)
        assert tuple(pair.teacher for pair in question.pairs) == tuple(TEACHERS)
        for pair, own in zip(question.pairs, question.rationales, strict=True):
            assert own.truth is not None
            assert (pair.origin == "corrupted") == own.truth.is_right
            assert own.text == (pair.chosen if own.truth.is_right else pair.rejected)
            assert pair.chosen == chain_text(Chain(tuple(steps), answer), STYLES[pair.teacher])
            assert not same_answer(extract_answer(pair.rejected), answer)
            origins[pair.origin] += 1
            shared = len(shared_start(pair))
            if pair.origin == "rectified" and own.truth.first_wrong_step is not None:
                # Whole steps before the wrong one are the same, in every style.
                assert shared >= sum(map(len, steps[: own.truth.first_wrong_step - 1]))
    assert min(origins.values()) > 500


def shared_start(pair: RationalePair) -> str:
    both = zip(pair.chosen, pair.rejected, strict=False)
    return "".join(a for a, _ in itertools.takewhile(lambda ab: ab[0] == ab[1], both))


def test_reviews_are_all_there_informative_and_imperfect(pool: tuple[Question, ...]) -> None:
    assert all_reviewed(pool)
    found: Counter[tuple[bool, bool]] = Counter()
    scores = [review.score for question in pool for review in question.reviews]
    for question in pool:
        assert len(question.reviews) == 12 == len({(r.author, r.reviewer) for r in question.reviews})
        for own in question.rationales:
            assert own.truth is not None
            found[own.truth.is_right, accepted(question, own.teacher)] += 1
    right = found[True, True] / (found[True, True] + found[True, False])
    wrong = found[False, True] / (found[False, True] + found[False, False])
    assert 0.8 < right < 0.98 and 0.05 < wrong < 0.3
    assert {score for score in scores if score is not None} == {1, 2, 3, 4, 5}
    assert 0.01 < scores.count(None) / len(scores) < 0.03


def mean_score(pool: tuple[Question, ...], reviewer: str, right: bool) -> float:
    scores = [
        review.score
        for question in pool
        for review in question.reviews
        for own in question.rationales
        if review.reviewer == reviewer and review.author == own.teacher and review.score is not None
        if own.truth is not None and own.truth.is_right == right
    ]
    return sum(scores) / len(scores)


def test_a_careful_reviewer_tells_right_from_wrong_better_than_a_fluent_one(
    pool: tuple[Question, ...],
) -> None:
    gaps = {name: mean_score(pool, name, True) - mean_score(pool, name, False) for name in TEACHERS}
    assert gaps["ponder"] > gaps["breezy"] + 0.5 and min(gaps.values()) > 0.5


def test_without_errors_reviews_are_never_far_off() -> None:
    world = WorldSettings(questions=200, review_error_rate=0, review_invalid_rate=0)
    for question in training_questions(world):
        for own in question.rationales:
            assert own.truth is not None
            # A specialist may be half convinced by what it would have said itself.
            scores = [r.score for r in question.reviews if r.author == own.teacher]
            assert all(isinstance(score, int) and (score >= 3) >= own.truth.is_right for score in scores)
            assert accepted(question, own.teacher) or not own.truth.is_right


def test_a_higher_rate_changes_further_reviews_and_nothing_else() -> None:
    few, many = (training_questions(WorldSettings(questions=200, review_error_rate=r)) for r in (0.1, 0.4))
    none = training_questions(WorldSettings(questions=200, review_error_rate=0.0))
    changed = [0, 0]
    for a, b, c in zip(few, many, none, strict=True):
        assert (a.rationales, a.pairs, a.feedback) == (b.rationales, b.pairs, b.feedback)
        for one, two, plain in zip(a.reviews, b.reviews, c.reviews, strict=True):
            # What a low rate has changed stays as it is.
            assert one in (two, plain)
            changed[0] += one != plain
            changed[1] += two != plain
    assert 150 < changed[0] < changed[1]
    invalid = training_questions(WorldSettings(questions=40, review_invalid_rate=1))
    assert {r.score for q in invalid for r in q.reviews} == {None}


def test_feedback_names_the_mistake_and_the_gold_answer_in_known_words(pool: tuple[Question, ...]) -> None:
    tokenizer = lab_tokenizer()
    texts = [pair.chosen for q in pool[:200] for pair in q.pairs]
    texts += [pair.rejected for q in pool[:200] for pair in q.pairs]
    assert all_have_feedback(pool)
    for question in pool:
        assert tuple(said.teacher for said in question.feedback) == tuple(TEACHERS)
        for said in question.feedback:
            assert said.text.count("{mistake}") == 1
            text = said.text.replace("{mistake}", question.gold_answer)
            assert extract_answer(text) == question.gold_answer
            texts.append(text)
    assert all(tokenizer.unk_token_id not in tokenizer(text)["input_ids"] for text in texts)


def test_chosen_teachers_speak_alone() -> None:
    spec = load_spec("lab@1")
    questions = generated_questions(spec, ["ponder", "abacus"])
    for question in questions:
        assert [p.teacher for p in question.pairs] == ["ponder", "abacus"]
        assert [f.teacher for f in question.feedback] == ["ponder", "abacus"]
        assert [(r.author, r.reviewer) for r in question.reviews] == [
            ("ponder", "abacus"),
            ("abacus", "ponder"),
        ]
    assert all_reviewed(questions) and some_have_pairs(questions)
    alone = generated_questions(spec, ["ponder"])
    assert not any(question.reviews for question in alone) and not all_reviewed(alone)


def test_rates_of_reviews_are_unsaid_at_their_default() -> None:
    plain, changed = WorldSettings().model_dump(), WorldSettings(review_error_rate=0.2).model_dump()
    assert not {"review_error_rate", "review_invalid_rate"} & set(plain)
    assert changed == {**plain, "review_error_rate": 0.2}
    assert WorldSettings.model_validate(changed).review_error_rate == 0.2


def test_same_seed_same_bytes() -> None:
    def mark(seed: int) -> str:
        questions = training_questions(WorldSettings(seed=seed, questions=60))
        pairs = [[p.chosen, p.rejected, p.origin] for q in questions for p in q.pairs]
        reviews = [[r.author, r.reviewer, r.score] for q in questions for r in q.reviews]
        return fingerprint([pairs, reviews, [f.text for q in questions for f in q.feedback]])

    # Written down, so that a change is noticed: it changes the results of the methods that read them.
    assert mark(1) == "8baa73717145bb26"
    assert mark(2) != mark(1)


def test_a_missing_review_is_noticed() -> None:
    (question, *_) = training_questions(WorldSettings(questions=8))
    short = Question("q", "t", "1", question.rationales, reviews=question.reviews[1:])
    assert not all_reviewed([question, short])
    # One that gave no valid score is there all the same.
    first = question.reviews[0]
    none = PeerReview(first.author, first.reviewer, None)
    assert all_reviewed([Question("q", "t", "1", question.rationales, reviews=(none, *question.reviews[1:]))])
