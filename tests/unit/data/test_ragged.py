"""Ragged sets: questions that lack teachers and teachers with several rationales, where a set may be so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from compact_bench.core.errors import DataError
from compact_bench.core.records import Question, Rationale, all_teachers, taught_by
from compact_bench.data.files.rows import SourceRow
from compact_bench.data.suites.teacher_statistics import answer_counts, right_answers, teacher_facts
from compact_bench.data.validation.questions import validate_questions
from compact_bench.data.validation.ragged import gaps, gaps_sentence


def row(number: int, rationales: Any, **changes: Any) -> dict[str, Any]:
    fields = {"id": f"q{number}", "question": f"What is {number} and 1?", "gold_answer": str(number + 1)}
    return {**fields, "rationales": rationales, **changes}


def read(rows: Sequence[Any], *, ragged: bool = True, **settings: Any) -> tuple[Question, ...]:
    sources = [SourceRow(f"mine.json, row {n}", data) for n, data in enumerate(rows, 1)]
    return validate_questions(sources, "mine.json", ragged=ragged, **settings)[0]


def problems(rows: Sequence[Any], **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(rows, **settings)
    return str(caught.value)


def names(question: Question) -> list[tuple[str, str, str]]:
    return [(r.name, r.teacher, r.text) for r in question.rationales]


MIXED = [
    row(1, {"bob": "b1"}),
    row(2, {"ann": ["a2", "A2"], "bob": "b2"}),
    row(3, [{"teacher": "bob", "text": "b3"}, {"teacher": "ann", "text": "a3"}]),
    row(4, {"bob": "b4", "ann": "a4"}),
    row(
        5,
        [
            {"teacher": "cyd", "text": "c5"},
            {"teacher": "cyd", "text": "C5"},
            {"teacher": "ann", "text": "a5"},
        ],
    ),
]


def test_teachers_may_lack_questions_and_have_several_rationales() -> None:
    questions = read(MIXED)
    # The order of the set that most rows have comes first, whatever a row's own.
    assert all_teachers(questions) == ("ann", "bob", "cyd")
    assert [names(q) for q in questions] == [
        [("bob", "bob", "b1")],
        [("ann#1", "ann", "a2"), ("ann#2", "ann", "A2"), ("bob", "bob", "b2")],
        [("ann", "ann", "a3"), ("bob", "bob", "b3")],
        [("ann", "ann", "a4"), ("bob", "bob", "b4")],
        [("ann", "ann", "a5"), ("cyd#1", "cyd", "c5"), ("cyd#2", "cyd", "C5")],
    ]
    assert questions[1].teachers == ("ann", "bob")
    assert [q.id for q in taught_by(questions, "cyd")] == ["q5"]


def test_what_is_missing_is_counted() -> None:
    found = gaps(read(MIXED))
    assert found == {
        "questions": 5,
        "complete": 0,
        "lacking": {"ann": 1, "bob": 1, "cyd": 4},
        "several": {"ann": 1, "cyd": 1},
    }
    assert gaps_sentence(found) == (
        "teachers: ann lacks 1 of 5 questions; bob lacks 1 of 5 questions; cyd lacks 4 of 5 questions; "
        "ann has several rationales for 1; cyd has several rationales for 1"
    )
    assert gaps(read(MIXED[2:4])) is None
    assert answer_counts(read(MIXED))["ann"]["rationales"] == 5


@pytest.mark.parametrize(
    ("text", "wrong", "none"),
    [
        ("The answer is 5.", 0, 0),
        ("The answer is 6.", 1, 0),
        ("We start with 5 apples, and I am not sure.", 0, 1),
        ("Question 6 cannot be solved.", 0, 1),
        ("The answer is 5. That is wrong.", 0, 1),
    ],
)
def test_what_states_no_answer_is_neither_right_nor_wrong(text: str, wrong: int, none: int) -> None:
    question = Question("q1", "How many?", "5", (Rationale("ann", text),))
    counts = answer_counts([question])["ann"]
    assert counts == {"rationales": 1, "wrong_by_last_answer": wrong, "no_answer": none}
    assert right_answers(counts) == 1 - wrong - none


def test_a_set_that_may_not_be_ragged_is_refused_as_before() -> None:
    text = problems(MIXED, ragged=False)
    assert "row 1, field 'rationales': expected K = 2 rationales, of ann, bob" in text
    assert "row 2, field 'rationales.ann': expected" in text
    assert "row 5, field 'rationales[2].text': expected one rationale of teacher 'cyd', got two" in text


def test_rows_of_one_question_are_its_samples() -> None:
    rows = [row(1, {"ann": "a"}), row(2, {"ann": "x"}), row(1, {"ann": "other", "bob": "b"})]
    first, second = read(rows)
    assert names(first) == [("ann#1", "ann", "a"), ("ann#2", "ann", "other"), ("bob", "bob", "b")]
    assert names(second) == [("ann", "ann", "x")]
    # Another id, another gold answer or the same text again is a mistake.
    assert "question once" in problems([row(1, {"ann": "a"}), row(1, {"ann": "b"}, id="q9")])
    assert "question once" in problems([row(1, {"ann": "a"}), row(1, {"ann": "b"}, gold_answer="7")])
    assert "expected other texts, got number 1 again as number 2" in problems(
        [row(1, {"ann": "a"}), row(1, {"ann": " a"})]
    )


@pytest.mark.parametrize(
    ("rationales", "problem"),
    [
        ({"ann": []}, "rationales.ann': expected at least one text, got an empty list"),
        ({"ann": ["a", 3]}, "rationales.ann[2]': expected"),
        ({"ann": ["a", ""]}, "rationales.ann[2]': expected"),
        ({"ann": ["a", "a "]}, "rationales.ann': expected other texts, got number 1 again as number 2"),
        ({"ann#2": "a"}, "does not end in # and a number"),
        ({}, "expected at least one rationale, got none"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(rationales: Any, problem: str) -> None:
    assert problem in problems([row(1, {"ann": "a", "bob": "b"}), row(2, rationales)])


def test_a_misspelt_teacher_is_no_new_one() -> None:
    rows = [row(1, {"gpt-4o": "a"}), row(2, {"gpt-4o": "b"}), row(3, {"GPT 4o": "c"})]
    assert "expected 'gpt-4o', as other questions have, got 'GPT 4o'; is it the same teacher?" in problems(
        rows
    )
    # Beside each other they are two teachers.
    assert len(all_teachers(read([*rows[:2], row(3, {"GPT 4o": "c", "gpt-4o": "d"})]))) == 2


def test_truth_of_several_rationales_is_a_list() -> None:
    (question,) = read([row(1, {"ann": ["a", "b"], "bob": "c"}, right={"ann": [True, False], "bob": True})])
    assert [r.truth.is_right for r in question.rationales if r.truth] == [True, False, True]
    text = problems([row(1, {"ann": ["a", "b"]}, right={"ann": True})])
    assert "field 'right.ann': expected 2 of true or false, got 1" in text


def test_chosen_teachers_leave_questions_without_them_out() -> None:
    sources = [SourceRow(f"row {n}", data) for n, data in enumerate(MIXED, 1)]
    questions, left_out = validate_questions(sources, "mine", ragged=True, teachers=("cyd",))
    assert [q.id for q in questions] == ["q5"]
    assert [f.question_id for f in left_out] == ["q1", "q2", "q3", "q4"]
    assert "no rationale of cyd" in left_out[0].problem
    assert "expected a rationale of teacher 'eve', got none in any question" in problems(
        MIXED, teachers=("ann", "eve")
    )


def test_rationales_without_names_stay_complete() -> None:
    released = [
        {"Question": f"What is {n} and 1?", "Answer": str(n + 1), "CoT": ["a", "b", "c"][: 3 - (n == 2)]}
        for n in range(1, 4)
    ]
    assert "expected K = 3 rationales" in problems(released)


def test_teachers_are_measured_over_what_they_have() -> None:
    rows = [
        row(1, {"ann": "The answer is 2.", "bob": "The answer is 3."}, right={"ann": True, "bob": False}),
        row(
            2,
            {"ann": ["The answer is 3.", "So it is. The answer is 9."]},
            right={"ann": [True, False]},
        ),
        row(3, {"bob": "The answer is 4.", "cyd": "The answer is 4."}, right={"bob": True, "cyd": True}),
    ]
    facts = teacher_facts(read(rows))
    assert facts is not None
    shares = {name: facts["teachers"][name]["really_right"] for name in ("ann", "bob", "cyd")}
    assert shares == {"ann": 2 / 3, "bob": 0.5, "cyd": 1.0}
    # Of ann and cyd no question has both.
    assert facts["disagreement"] == {"ann+bob": 1.0, "bob+cyd": 0.0}
