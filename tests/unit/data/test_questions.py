"""Validation of rationale sets: what is accepted, and that every fault is named with file, row and field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import DataError, Fault
from compact_bench.core.records import Question, RationaleTruth
from compact_bench.data.files.readers import read_rows
from compact_bench.data.files.rows import SourceRow
from compact_bench.data.validation.questions import validate_questions


def row(number: int, **changes: Any) -> dict[str, Any]:
    base = {
        "id": f"q{number}",
        "question": f"How much is {number} and {number}?",
        "gold_answer": str(2 * number),
        "rationales": {"ann": f"It is {2 * number}. The answer is {2 * number}", "bob": f" {2 * number}"},
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def released(number: int, **changes: Any) -> dict[str, Any]:
    base = {"Question": f"Add {number} and 1.", "CoT": ["one way", "another way"], "Answer": str(number + 1)}
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def validate(rows: Sequence[Any], **settings: Any) -> tuple[tuple[Question, ...], tuple[Fault, ...]]:
    sources = [SourceRow(f"mine.json, row {n}", data) for n, data in enumerate(rows, 1)]
    return validate_questions(sources, "mine.json", **settings)


def faults_of(rows: Sequence[Any], **settings: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        validate(rows, **settings)
    assert all(str(fault) in str(caught.value) for fault in caught.value.faults)
    return [str(fault) for fault in caught.value.faults]


def test_our_form_keeps_texts_and_teacher_order() -> None:
    (first, second), faults = validate([row(1), row(2)])
    assert not faults
    assert first.teachers == second.teachers == ("ann", "bob")
    # Raw: the released variant reads the leading space.
    assert first.rationales[1].text == " 2"
    assert (first.id, first.gold_answer, first.source) == ("q1", "2", "mine.json, row 1")


def test_rationales_may_be_a_list_and_teachers_come_in_the_order_of_the_first() -> None:
    listed = [{"teacher": "bob", "text": "b"}, {"teacher": "ann", "text": "a"}]
    (_, second), _ = validate([row(1), row(2, rationales=listed)])
    assert [(r.teacher, r.text) for r in second.rationales] == [("ann", "a"), ("bob", "b")]


def test_the_released_form_names_teachers_by_position_or_as_told() -> None:
    (question,), _ = validate([released(4)])
    assert question.teachers == ("teacher_1", "teacher_2")
    assert (question.text, question.gold_answer) == ("Add 4 and 1.", "5")
    (question,), _ = validate([released(4)], teachers=("x", "y"))
    assert question.teachers == ("x", "y")


def test_named_teachers_choose_and_order_rationales() -> None:
    (question,), _ = validate([row(1)], teachers=("bob",))
    assert question.teachers == ("bob",)


def test_a_row_without_id_gets_one_from_its_words() -> None:
    (one,), _ = validate([row(1, id=...)])
    (other,), _ = validate([row(1, id=..., question="how MUCH is 1 and 1")])
    assert one.id == other.id and one.id.startswith("q-")


@pytest.mark.parametrize(("value", "text"), [(145, "145"), (145.0, "145"), (0.5, "0.5"), (" 3 ", " 3 ")])
def test_gold_answers_may_be_numbers(value: Any, text: str) -> None:
    (question,), _ = validate([row(1, gold_answer=value)])
    assert question.gold_answer == text


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (row(1, question=...), "mine.json, row 1, field 'question': expected it, got a row without it"),
        (row(1, gold_answer=...), "row 1, field 'gold_answer': expected it"),
        (row(1, rationales=...), "row 1, field 'rationales': expected it"),
        (row(1, question=" \n"), "field 'question': expected text, got an empty one"),
        (row(1, question=7), "field 'question': expected text, got the number 7"),
        (row(1, question=None), "field 'question': expected text, got null"),
        (row(1, question="\ud800"), "field 'question': expected valid Unicode, got a lone surrogate"),
        (row(1, gold_answer=""), "field 'gold_answer': expected text, got an empty one"),
        (row(1, gold_answer=float("nan")), "field 'gold_answer': expected text, got NaN"),
        (
            row(1, gold_answer=float("inf")),
            "field 'gold_answer': expected text, got a number that is too large",
        ),
        (row(1, gold_answer="nan"), "field 'gold_answer': expected an answer, got 'nan' as text"),
        (row(1, gold_answer=True), "field 'gold_answer': expected text, got true"),
        (row(1, id=[]), "field 'id': expected text, got a list"),
        (row(1, rationales="x"), "field 'rationales': expected an object or a list, got text"),
        (row(1, rationales={}), "field 'rationales': expected at least one rationale, got none"),
        (row(1, rationales=[]), "field 'rationales': expected at least one rationale, got none"),
        (row(1, rationales={"ann": "  ", "bob": "b"}), "field 'rationales.ann': expected text, got an empty"),
        (
            row(1, rationales={"ann": float("nan"), "bob": "b"}),
            "field 'rationales.ann': expected text, got NaN",
        ),
        (row(1, rationales={"": "a", "bob": "b"}), "expected a teacher's name, got an empty one"),
        (row(1, rationales=[{"teacher": "ann"}]), "field 'rationales[1].text': expected it"),
        (
            row(1, rationales=[{"teacher": 1, "text": "a"}]),
            "field 'rationales[1].teacher': expected a teacher's name",
        ),
        (row(1, rationales=["a"]), "field 'rationales[1]': expected an object with teacher and text"),
        (
            row(1, rationales=[{"teacher": "ann", "text": "a"}, {"teacher": "ann", "text": "b"}]),
            "expected one rationale of teacher 'ann', got two",
        ),
        (released(1, Answer=...), "field 'Answer': expected it"),
        (released(1, CoT=...), "field 'CoT': expected it"),
        (released(1, CoT="one"), "field 'CoT': expected a list of texts, got text"),
        (released(1, CoT=[]), "field 'CoT': expected at least one rationale"),
        (released(1, CoT=["a", ""]), "field 'CoT[2]': expected text, got an empty one"),
        ("text", "mine.json, row 1: expected an object with question, answer and rationales, got text"),
        (None, "mine.json, row 1: expected an object with question, answer and rationales, got null"),
    ],
)
def test_each_fault_is_named(bad: Any, fault: str) -> None:
    assert any(fault in found for found in faults_of([bad]))


@pytest.mark.parametrize(
    ("right", "fault"),
    [
        ([True, False], "field 'right': expected an object of teacher and true or false, got a list"),
        ({"ann": True}, "field 'right.bob': expected true or false, got nothing"),
        ({"ann": True, "bob": 1}, "field 'right.bob': expected true or false, got the number 1"),
        ({"ann": "yes", "bob": False}, "field 'right.ann': expected true or false, got text"),
        ({}, "field 'right.ann': expected true or false, got nothing"),
    ],
)
def test_a_wrong_truth_is_a_fault(right: Any, fault: str) -> None:
    assert any(fault in found for found in faults_of([row(1, right=right)]))


def test_a_row_may_say_which_rationales_are_really_right() -> None:
    questions, _ = validate([row(1, right={"ann": True, "bob": False}), row(2), row(3, right=None)])
    told = [r.truth for r in questions[0].rationales]
    assert told == [RationaleTruth(True, None, 0, ""), RationaleTruth(False, None, 0, "")]
    assert [r.truth for q in questions[1:] for r in q.rationales] == [None] * 4
    # Only the teachers that are used need one.
    (chosen,), _ = validate([row(1, right={"bob": True})], teachers=("bob",))
    assert chosen.rationales[0].truth == RationaleTruth(True, None, 0, "")


def test_every_fault_of_every_row_is_listed_and_nothing_else() -> None:
    bad = row(2, question="", gold_answer=None, rationales={"ann": "", "bob": "b"})
    found = faults_of([row(1), bad, "x", row(4)])
    assert len(found) == 4
    assert sum("row 2" in text for text in found) == 3


def test_k_that_differs_is_a_fault_of_the_minority() -> None:
    three = {"ann": "a", "bob": "b", "cy": "c"}
    (found,) = faults_of([row(1, rationales=three), row(2), row(3)])
    assert "row 1, field 'rationales'" in found
    assert "expected K = 2 rationales, of ann, bob" in found and "got 3, of ann, bob, cy" in found


def test_other_teachers_are_a_fault_though_k_is_the_same() -> None:
    (found,) = faults_of([row(1), row(2), row(3, rationales={"ann": "a", "zoe": "z"})])
    assert "row 3" in found and "zoe" in found


def test_told_teachers_must_all_be_there() -> None:
    (found,) = faults_of([row(1)], teachers=("ann", "cy"))
    assert "expected a rationale of teacher 'cy', got none" in found
    (found,) = faults_of([released(1)], teachers=("a", "b", "c"))
    assert "field 'CoT': expected 3 rationales (a, b, c), got 2" in found


def test_a_question_repeated_in_other_dress_is_a_fault_of_the_later_row() -> None:
    (found,) = faults_of([row(1), row(2), row(3, question="HOW MUCH is 1 and 1 ?")])
    assert found.startswith("mine.json, row 3, field 'question'") and "mine.json, row 1" in found


def test_decimals_do_not_make_a_question_another() -> None:
    questions, _ = validate([row(1, question="Add 1.5 to 2."), row(2, question="Add 15 to 2.")])
    assert len(questions) == 2


def test_a_repeated_id_is_a_fault() -> None:
    (found,) = faults_of([row(1), row(2, id="q1")])
    assert "row 2, field 'id'" in found


def count_words(question: str, rationale: str) -> int:
    return 3 + len(question.split()) + len(rationale.split())


def test_a_rationale_longer_than_the_longest_row_is_a_fault() -> None:
    long = row(2, rationales={"ann": "word " * 80, "bob": "b"})
    (found,) = faults_of([row(1), long], count_tokens=count_words, max_length_tokens=60)
    assert "rationale of 'ann'" in found and "row 2" in found
    assert "at most 60 tokens, got 89" in found


def test_a_row_of_just_the_longest_length_is_no_fault() -> None:
    rows = [row(1, rationales={"ann": "word " * 51, "bob": "b"})]
    assert count_words("How much is 1 and 1?", "word " * 51) == 60
    questions, _ = validate(rows, count_tokens=count_words, max_length_tokens=60)
    assert len(questions) == 1
    assert faults_of(rows, count_tokens=count_words, max_length_tokens=59)


def test_drop_leaves_out_the_faulty_and_lists_them() -> None:
    questions, faults = validate([row(1), row(2, gold_answer=None), row(3, id="q1"), row(4)], on_fault="drop")
    assert [q.id for q in questions] == ["q1", "q4"]
    assert [f.question_id for f in faults] == ["q2", "q1"]


def test_drop_with_nothing_left_raises() -> None:
    with pytest.raises(DataError, match="expected a sound question, got none"):
        validate([row(1, question="")], on_fault="drop")


def test_the_message_says_how_to_mend() -> None:
    with pytest.raises(DataError, match="--on-fault drop"):
        validate([row(1, question="")])


def test_nan_in_a_file_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "nan.json"
    file.write_text('[{"question": "q?", "gold_answer": NaN, "rationales": {"ann": NaN}}]')
    rows, _ = read_rows(file, "nan.json")
    with pytest.raises(DataError) as caught:
        validate_questions(rows, "nan.json")
    assert [f.where for f in caught.value.faults] == [
        "nan.json, row 1, field 'gold_answer'",
        "nan.json, row 1, field 'rationales.ann'",
    ]


def test_the_released_file_loads_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "sampled.json"
    file.write_text(json.dumps([released(n) for n in range(5)]))
    rows, faults = read_rows(file)
    questions, _ = validate_questions(rows, "sampled.json", read_faults=faults)
    assert [q.gold_answer for q in questions] == ["1", "2", "3", "4", "5"]
