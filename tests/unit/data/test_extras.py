"""Pairs, reviews, feedback and mistakes of a user's rows: what is accepted, and every fault by its field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import DataError
from compact_bench.core.records import Feedback, PeerReview, Question, RationalePair
from compact_bench.data.files.readers import HubSet, read_hub_rows, read_rows
from compact_bench.data.files.rows import SourceRow
from compact_bench.data.validation.questions import validate_questions

PAIR: dict[str, Any] = {"teacher": "bob", "chosen": "It is 2.", "rejected": "It is 3.", "origin": "rectified"}
REVIEWS: list[dict[str, Any]] = [
    {"author": "ann", "reviewer": "bob", "score": 4},
    {"author": "bob", "reviewer": "ann", "score": None},
]


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": "q1",
        "question": "How much is 1 and 1?",
        "gold_answer": "2",
        "rationales": {"ann": "The answer is 2", "bob": "The answer is 3"},
        **changes,
    }


def validate(rows: Sequence[Any], **settings: Any) -> tuple[Question, ...]:
    sources = [SourceRow(f"mine.json, row {n}", data) for n, data in enumerate(rows, 1)]
    return validate_questions(sources, "mine.json", **settings)[0]


def faults_of(data: dict[str, Any], **settings: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        validate([data], **settings)
    return [str(fault) for fault in caught.value.faults]


FULL = row(
    pairs=[PAIR, {**PAIR, "teacher": "ann", "origin": "corrupted"}],
    reviews=REVIEWS,
    feedback={"ann": "Not {mistake}, but 2.", "bob": "No."},
    mistake="The answer is 11.",
)


def test_all_of_it_is_read() -> None:
    (question,) = validate([FULL])
    assert question.pairs == (
        RationalePair("bob", "It is 2.", "It is 3.", "rectified"),
        RationalePair("ann", "It is 2.", "It is 3.", "corrupted"),
    )
    assert question.reviews == (PeerReview("ann", "bob", 4), PeerReview("bob", "ann", None))
    assert question.feedback == (Feedback("ann", "Not {mistake}, but 2."), Feedback("bob", "No."))
    assert question.mistake == "The answer is 11."


def test_none_of_it_is_needed_and_nulls_are_none() -> None:
    nulls = dict.fromkeys(("pairs", "reviews", "feedback", "mistake"))
    plain, null = (validate([data])[0] for data in (row(), row(**nulls)))
    assert plain == null and not (plain.pairs or plain.reviews or plain.feedback or plain.mistake)


def test_feedback_may_be_a_list_and_a_score_a_float() -> None:
    listed = [{"teacher": "ann", "text": "No."}]
    (question,) = validate([row(feedback=listed, reviews=[{**REVIEWS[0], "score": 4.0}])])
    assert question.feedback == (Feedback("ann", "No."),)
    assert question.reviews == (PeerReview("ann", "bob", 4),) and isinstance(question.reviews[0].score, int)


def test_only_what_chosen_teachers_said_is_kept() -> None:
    (question,) = validate([FULL], teachers=("ann",))
    assert [p.teacher for p in question.pairs] == ["ann"] and question.reviews == ()
    assert [f.teacher for f in question.feedback] == ["ann"] and question.mistake


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"pairs": {}}, "field 'pairs': expected a list of objects with teacher, chosen"),
        (
            {"pairs": ["x"]},
            "field 'pairs[1]': expected an object with teacher, chosen, rejected, origin, got text",
        ),
        (
            {"pairs": [PAIR, {"teacher": "bob"}]},
            "field 'pairs[2]': expected chosen, rejected, origin, got an object",
        ),
        (
            {"pairs": [{**PAIR, "teacher": "eve"}]},
            "'pairs[1].teacher': expected a teacher who has a rationale here",
        ),
        ({"pairs": [{**PAIR, "teacher": 3}]}, "'pairs[1].teacher': expected text, got the number 3"),
        ({"pairs": [{**PAIR, "chosen": " "}]}, "field 'pairs[1].chosen': expected text, got an empty one"),
        ({"pairs": [{**PAIR, "rejected": None}]}, "field 'pairs[1].rejected': expected text, got null"),
        (
            {"pairs": [{**PAIR, "rejected": " It is 2."}]},
            "'pairs[1].rejected': expected another text than the",
        ),
        (
            {"pairs": [{**PAIR, "origin": "made"}]},
            "'pairs[1].origin': expected corrupted or rectified, got 'made'",
        ),
        (
            {"pairs": [{**PAIR, "origin": None}]},
            "'pairs[1].origin': expected corrupted or rectified, got null",
        ),
        (
            {"reviews": "5"},
            "field 'reviews': expected a list of objects with author, reviewer, score, got text",
        ),
        (
            {"reviews": [{**REVIEWS[0], "score": 0}]},
            "'reviews[1].score': expected a whole number from 1 to 5, or",
        ),
        (
            {"reviews": [{**REVIEWS[0], "score": 4.5}]},
            "'reviews[1].score': expected a whole number from 1 to 5",
        ),
        ({"reviews": [{**REVIEWS[0], "score": True}]}, "or null, got true"),
        ({"reviews": [{**REVIEWS[0], "score": [3]}]}, "or null, got a list"),
        (
            {"reviews": [{**REVIEWS[0], "reviewer": "ann"}]},
            "'reviews[1].reviewer': expected another teacher than",
        ),
        ({"reviews": [{**REVIEWS[0], "author": "eve"}]}, "'reviews[1].author': expected a teacher who has a"),
        (
            {"reviews": [REVIEWS[0], REVIEWS[0]]},
            "'reviews[2]': expected one score of 'bob' for 'ann', got two",
        ),
        ({"feedback": "No."}, "field 'feedback': expected a list of objects with teacher, text, got text"),
        ({"feedback": {"eve": "No."}}, "field 'feedback.eve': expected a teacher who has a rationale here"),
        ({"feedback": {"ann": ""}}, "field 'feedback.ann': expected text, got an empty one"),
        (
            {"feedback": [{"teacher": "ann", "text": "a"}] * 2},
            "'feedback[2]': expected one feedback of teacher 'ann'",
        ),
        ({"mistake": 7}, "field 'mistake': expected text, got the number 7"),
        (
            {"mistake": "So the answer is 2.0."},
            "field 'mistake': expected a wrong answer, got the gold answer '2'",
        ),
    ],
)
def test_each_fault_is_named(changes: dict[str, Any], fault: str) -> None:
    found = faults_of(row(**changes))
    assert len(found) == 1 and fault in found[0], found


def test_faults_of_all_fields_are_told_together() -> None:
    bad = row(
        gold_answer=None,
        pairs=[{"teacher": "eve", "chosen": "", "rejected": 1, "origin": "x"}],
        reviews=[{"author": "ann", "reviewer": "ann", "score": 9}],
        feedback={"eve": None},
        mistake="",
    )
    assert len(faults_of(bad)) == 1 + 4 + 2 + 2 + 1


def count_words(question: str, text: str) -> int:
    return len(question.split()) + len(text.split())


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_texts_of_pairs_are_held_against_the_longest_row(side: str) -> None:
    long = row(pairs=[{**PAIR, side: "word " * 50}])
    (found,) = faults_of(long, count_tokens=count_words, max_length_tokens=50)
    assert (
        f"{side} text of 'bob': expected a row (prompt and {side} text) of at most 50 tokens, got 56" in found
    )


def test_a_file_and_a_hub_set_hold_them(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    second = row(id="q2", question="How much is 2 and 0?", feedback={"ann": "No."})
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, [FULL, second])))
    rows, faults = read_rows(folder / "train.jsonl")
    questions, _ = validate_questions(rows, "mine", read_faults=faults)
    hub, _ = validate_questions(read_hub_rows(HubSet(name=str(folder))), "hub")
    assert [(q.pairs, q.reviews, q.feedback, q.mistake) for q in questions] == [
        (q.pairs, q.reviews, q.feedback, q.mistake) for q in hub
    ]
    assert hub[1].feedback == (Feedback("ann", "No."),) and not hub[1].pairs
