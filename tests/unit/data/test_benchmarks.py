"""Upstream test files as rows: every layout, faulty rows, repeats, ids and order."""

from __future__ import annotations

from typing import Any

import pytest

from compact_bench.data.files.benchmarks import (
    Benchmark,
    benchmark_notes,
    chance,
    majority,
    parse_benchmark,
    shared_ids,
)
from compact_bench.data.files.formats import FORMATS
from compact_bench.data.files.rows import SourceRow, normalised


def parse(layout: str, *data: Any, **settings: Any) -> Benchmark:
    return parse_benchmark(layout, [SourceRow(f"f, row {n}", d) for n, d in enumerate(data, 1)], **settings)


def only(layout: str, data: Any) -> dict[str, Any]:
    found = parse(layout, data)
    assert not found.faults
    (item,) = found.rows
    return {key: value for key, value in item.items() if key != "id"}


ARC = {
    "instruction": "Please choose the correct answer to the question: Why: is it?\n\nAnswer1: one, or so "
    "Answer2: two Answer3: three\n\nAnswer format: answer1/answer2/answer3",
    "answer": "answer2",
}
PIQA = {
    "instruction": "Please choose the correct solution to the question: dresser\n\nSolution1: pin it \n\n"
    "Solution2: oil it\n\nAnswer format: solution1/solution2",
    "answer": "solution1",
}
WINO = {
    "instruction": "Please choose the correct answer to fill in the blank to complete the given sentence: "
    "Ann beat Bea so _ won.\n\nOption1: Ann Option2: Bea Answer format: option1/option2",
    "answer": "option2",
}
BOOLQ = {
    "instruction": "Please answer the following question with true or false, question: is it so?\n\n"
    "Answer format: true/false",
    "answer": "true",
}
CSQA = {"instruction": "Where? Answer Choices:\nA. a bank\nB. a mall\n", "label": "B"}


@pytest.mark.parametrize(
    ("layout", "data", "expected"),
    [
        ("svamp", {"Body": "He has 2.", "Question": "How many? ", "Answer": 2.0},
         ("He has 2. How many?", "2")),
        ("adapters_number", {"instruction": " How many ? ", "answer": "0.6666666666666666"},
         ("How many ?", "0.6666666667")),
        ("gsm8k", {"question": "How?", "answer": "so <<1+1=2>>\n#### 1,200"}, ("How?", "1200")),
        ("rows", {"question": "How?", "answer": 3}, ("How?", "3")),
        ("rows", {"question": "How?", "answer": "145.0"}, ("How?", "145")),
        ("rows", {"question": "Who?", "answer": " red cup lamp."}, ("Who?", "red cup lamp")),
    ],
)  # fmt: skip
def test_generation_layouts(layout: str, data: Any, expected: tuple[str, str]) -> None:
    assert only(layout, data) == {"question": expected[0], "answer": expected[1]}


@pytest.mark.parametrize(
    ("layout", "data", "question", "choices", "label"),
    [
        ("strategyqa", {"instruction": "Is it?", "label": "True"}, "Is it?", ["False", "True"], 1),
        ("csqa", CSQA, "Where?", ["a bank", "a mall"], 1),
        ("arc", ARC, "Why: is it?", ["one, or so", "two", "three"], 1),
        ("piqa", PIQA, "dresser", ["pin it", "oil it"], 0),
        ("boolq", BOOLQ, "Please answer the following question with true or false: is it so?",
         ["false", "true"], 1),
        ("winogrande", WINO,
         'Fill in the blank with "Ann" or "Bea" and write the whole sentence: Ann beat Bea so _ won.',
         ["Ann beat Bea so Ann won.", "Ann beat Bea so Bea won."], 1),
        ("rows", {"question": "Is it?", "choices": ["a", "b"], "label": 0}, "Is it?", ["a", "b"], 0),
    ],
)  # fmt: skip
def test_choice_layouts(layout: str, data: Any, question: str, choices: list[str], label: int) -> None:
    assert only(layout, data) == {"question": question, "choices": choices, "label": label}


@pytest.mark.parametrize(
    ("layout", "data", "problem"),
    [
        ("svamp", {"Body": "x", "Answer": 1.0}, "field 'Question': expected it"),
        ("svamp", {"Body": "x", "Question": "y", "Answer": "many"}, "field 'Answer': expected a number"),
        (
            "svamp",
            {"Body": "x", "Question": "y", "Answer": float("nan")},
            "field 'Answer': expected a number",
        ),
        ("adapters_number", {"instruction": "", "answer": "1"}, "field 'instruction': expected text"),
        ("gsm8k", {"question": "How?", "answer": "no mark"}, "expected a number after '####'"),
        ("strategyqa", {"instruction": "Is it?", "label": "yes"}, "expected True or False, got 'yes'"),
        ("csqa", {**CSQA, "label": "E"}, "field 'label': expected one of the lettered options"),
        ("csqa", {"instruction": "Where?", "label": "A"}, "field 'label'"),
        ("arc", {**ARC, "answer": "answer4"}, "expected one of answer1, answer2, answer3, got 'answer4'"),
        ("arc", {**ARC, "instruction": "Why?"}, "expected options numbered from 1, got []"),
        ("winogrande", {**WINO, "instruction": WINO["instruction"].replace("_", "x")}, "expected one blank"),
        ("boolq", {**BOOLQ, "answer": "yes"}, "expected true or false"),
        ("boolq", {**BOOLQ, "instruction": "is it so?"}, "expected it to start with"),
        ("rows", {"question": "Is it?", "choices": ["a"], "label": 0}, "field 'choices'"),
        ("rows", {"question": "Is it?", "choices": ["a", "a "], "label": 0}, "field 'choices'"),
        (
            "rows",
            {"question": "Who?", "answer": "room 5"},
            "got 'room 5', which the answer rule reads as '5'",
        ),
        ("rows", {"question": "Who?", "answer": "U.S. army"}, "reads as 'U.S'"),
        ("rows", {"question": "Who?", "answer": " "}, "field 'answer': expected text, got an empty one"),
        ("rows", {"question": "Who?", "answer": True}, "field 'answer': expected text, got true"),
        ("rows", {"question": "Is it?", "choices": ["a", "b"], "label": True}, "field 'label'"),
        ("rows", {"question": "Is it?"}, "field 'answer'"),
        ("rows", ["Is it?"], "f, row 1: expected an object, got list"),
    ],
)
def test_a_faulty_row_is_reported_and_the_others_kept(layout: str, data: Any, problem: str) -> None:
    found = parse(layout, data)
    assert not found.rows
    assert problem in str(found.faults[0]) and str(found.faults[0]).startswith("f, row 1")


def number(question: str, answer: str) -> dict[str, str]:
    return {"instruction": question, "answer": answer}


def test_a_repeated_question_counts_once_and_a_contradicting_one_is_a_fault() -> None:
    found = parse("adapters_number", number("Add 1.", "2"), number("add 1", "2.0"), number("Add 1 !", "3"))
    assert [row["answer"] for row in found.rows] == ["2"]
    assert found.repeats == 1
    assert [str(f) for f in found.faults] == [
        "f, row 3: the same question or id as f, row 1 with another answer"
    ]


def test_one_question_with_other_options_is_another_item() -> None:
    other = {**PIQA, "instruction": PIQA["instruction"].replace("oil it", "wax it")}
    found = parse("piqa", PIQA, other, PIQA)
    assert (len(found.rows), found.repeats, found.faults) == (2, 1, ())


def test_training_questions_in_the_test_file_are_no_items() -> None:
    found = parse(
        "adapters_number", number("Add 1.", "2"), number("Add 2.", "3"), excluding={normalised("add 2")}
    )
    assert [row["question"] for row in found.rows] == ["Add 1."]


def test_order_and_ids_do_not_depend_on_the_file() -> None:
    data = [number(f"Add {n}.", str(n)) for n in range(30)]
    rows = parse("adapters_number", *data).rows
    assert rows == parse("adapters_number", *reversed(data)).rows
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert [row["answer"] for row in rows] != [str(n) for n in range(30)]


def test_two_benchmarks_give_a_shared_question_one_id() -> None:
    first = parse("adapters_number", number("He has 1,000 .", "1"), number("Other.", "2")).rows
    second = parse("adapters_number", number("He has 1000", "1.0"), number("Third.", "3")).rows
    shared = shared_ids(first, second)
    assert len(shared) == 1
    notes = benchmark_notes({"a": Benchmark(first, (), 0), "b": Benchmark(second, (), 3)})
    assert notes["shared_items"] == {"a+b": list(shared)}
    assert notes["items"] == {"a": 2, "b": 2} and notes["repeats"] == {"b": 3}


def test_own_ids_are_kept_and_must_be_unique() -> None:
    rows = [{"id": "x", "question": "One?", "answer": "1"}, {"id": "x", "question": "Two?", "answer": "2"}]
    found = parse("rows", *rows)
    assert [row["id"] for row in found.rows] == ["x"] and len(found.faults) == 1


def test_chance_and_majority() -> None:
    rows = [{"choices": ["a"] * n, "label": label} for n, label in ((2, 0), (4, 3), (4, 0), (2, 0))]
    assert chance(rows) == pytest.approx(0.375)
    assert majority(rows) == 0.75


def test_every_layout_is_tried_above() -> None:
    tried = {
        "svamp",
        "adapters_number",
        "gsm8k",
        "rows",
        "strategyqa",
        "csqa",
        "arc",
        "piqa",
        "boolq",
        "winogrande",
    }
    assert set(FORMATS.packaged) == tried
