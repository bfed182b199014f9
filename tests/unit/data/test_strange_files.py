"""Rationale files as attackers and accidents write them: refused with row and field, or read rightly."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import ConfigError, DataError
from compact_bench.core.records import Question
from compact_bench.data.files.benchmarks import parse_benchmark
from compact_bench.data.files.readers import read_rows
from compact_bench.data.validation.questions import validate_questions
from compact_bench.data.validation.splits import overlap_faults

ROW = (
    '{"question": "How much is 2 and 3?", "gold_answer": "5", "rationales": {"ann": "It is 5.", "bob": "5"}}'
)


def read(content: bytes | str, folder: Path, **settings: Any) -> tuple[Question, ...]:
    file = folder / "mine.jsonl"
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    rows, faults = read_rows(file, "mine")
    return validate_questions(rows, "mine", read_faults=faults, **settings)[0]


def faults_of(content: bytes | str, folder: Path, **settings: Any) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(content, folder, **settings)
    str(caught.value).encode()
    return [str(fault) for fault in caught.value.faults]


def row(**changes: Any) -> str:
    return json.dumps({**json.loads(ROW), **changes})


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        (
            '{"question": "q", "question": "p", "gold_answer": "1", "rationales": {"a": "b"}}',
            "question",
            "twice",
        ),
        (
            '{"question": "q", "gold_answer": "1", "rationales": {"a": "b", "a": "c"}}',
            "rationales.a",
            "twice",
        ),
        (
            '{"question": "q","gold_answer": "1", "rationales": [{"teacher": "a", "text": "", "text": "b"}]}',
            "rationales[1].text",
            "twice",
        ),
        (row(question="\u200b\u200d\ufeff"), "question", "cannot be seen"),
        (row(rationales={"ann": "\u200b \u2060", "bob": "b"}), "rationales.ann", "cannot be seen"),
        (row(rationales={"ann": "\x00\x01", "bob": "b"}), "rationales.ann", "cannot be seen"),
        (row(rationales={"ann": "\u3164\u2800", "bob": "b"}), "rationales.ann", "cannot be seen"),
        (row(rationales={"ann": "\ud800", "bob": "b"}), "rationales.ann", "lone surrogate"),
        (row(gold_answer="1\u200b5"), "gold_answer", "zero-width"),
        (row(gold_answer=10**400), "gold_answer", "too large"),
        (row(gold_answer="1" + "0" * 400), "gold_answer", "too large"),
        (ROW.replace('"5"', "1" + "0" * 6000, 1), "gold_answer", "too large"),
        (ROW.replace('"5"', "1e999", 1), "gold_answer", "too large"),
        (ROW.replace('"5"', "NaN", 1), "gold_answer", "NaN"),
        (ROW.replace('"5"', "-Infinity", 1), "gold_answer", "too large"),
        (row(gold_answer="-inf"), "gold_answer", "'-inf'"),
        (row(gold_answer=True), "gold_answer", "got true"),
        (row(gold_answer=[5]), "gold_answer", "got a list"),
        (row(id=1.5), "id", "got the number 1.5"),
        (row(id=10**400), "id", "too large"),
        (row(id="a\nb"), "id", "one line"),
        (row(id="a\u202eb"), "id", "direction"),
        (row(rationales="text"), "rationales", "got text"),
        (row(rationales={"ann": None, "bob": {}}), "rationales.bob", "got an object"),
    ],
)
def test_what_a_row_may_not_hold_is_refused_with_row_and_field(
    tmp_path: Path, text: str, place: str, problem: str
) -> None:
    faults = faults_of(f"{ROW.replace('2 and 3', '7 and 8')}\n{text}\n", tmp_path)
    assert any(f"mine, row 2, field '{place}'" in fault and problem in fault for fault in faults), faults


@pytest.mark.parametrize(
    "name",
    ["", " ", " ann", "ann ", "a\nb", "a\x1b[2Jb", "a\u202eb", "a\u200bb", "\ud800", "a\u00a0b", "x" * 101]
    + [f"a{sign}b" for sign in ",@:[]{}"],
)
@pytest.mark.parametrize("listed", [False, True])
def test_names_that_could_be_taken_for_something_else_are_refused(
    tmp_path: Path, name: str, listed: bool
) -> None:
    rationales: Any = [{"teacher": name, "text": "b"}] if listed else {name: "b"}
    (fault,) = faults_of(row(rationales=rationales), tmp_path)
    assert "mine, row 1, field 'rationales" in fault
    assert fault.isprintable()


@pytest.mark.parametrize(
    "name", ["best", "each", "all", "oracle", "uniform", "教師", "Zoë (level 4)", "org/model-7b"]
)
def test_names_that_mean_nothing_else_are_used_as_they_are(tmp_path: Path, name: str) -> None:
    (question,) = read(row(rationales={name: "b"}), tmp_path)
    assert question.teachers == (name,)


@pytest.mark.parametrize(("first", "second"), [("Ann", "ann"), ("Zo\u00eb", "Zoe\u0308"), ("\ufb01n", "fin")])
def test_names_that_differ_in_case_or_form_only_are_refused(tmp_path: Path, first: str, second: str) -> None:
    other = row(question="What is 9?", rationales={first: "a"})
    faults = faults_of(f"{other}\n{row(rationales={second: 'a'})}", tmp_path)
    assert any("mine, row 2" in fault and "case or form" in fault for fault in faults)
    assert any(
        "case or form" in fault for fault in faults_of(row(rationales={first: "a", second: "b"}), tmp_path)
    )


@pytest.mark.parametrize("names", [("a", "a"), ("a", "A"), ("a:b", "c"), ("a\u202e", "c")])
def test_names_given_with_teachers_are_held_to_the_same_rules(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="--teachers"):
        read('{"Question": "q", "CoT": ["a", "b"], "Answer": "1"}', tmp_path, teachers=names)


def test_a_row_of_both_forms_is_refused(tmp_path: Path) -> None:
    both = {**json.loads(ROW), "Question": "How much is 4 and 4?", "CoT": ["a", "b"], "Answer": "8"}
    faults = faults_of(json.dumps(both), tmp_path)
    assert any(
        "one form, got question, gold_answer, rationales beside Question, Answer, CoT" in f for f in faults
    )


def test_all_faults_of_a_row_and_a_file_are_told_together(tmp_path: Path) -> None:
    bad = '{"id": "a\\u202eb", "id": "x", "question": null, "gold_answer": NaN, "rationales": {"a,b": ""}}'
    faults = faults_of(f"{ROW}\n{bad}\nnothing\n", tmp_path)
    fields = {
        field for field in ("id", "question", "gold_answer", "rationales.a,b") if f"'{field}'" in str(faults)
    }
    assert fields == {"id", "question", "gold_answer", "rationales.a,b"}
    assert any("row 3: not JSON" in fault for fault in faults)


def test_marks_of_other_systems_change_nothing(tmp_path: Path) -> None:
    plain = read(f"{ROW}\n", tmp_path)
    for content in (f"\ufeff{ROW}\n", f"{ROW}\r\n\r\n", f"\n{ROW}"):
        assert [(q.id, q.text, q.rationales) for q in read(content, tmp_path)] == [
            (q.id, q.text, q.rationales) for q in plain
        ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (ROW.encode("utf-16"), "UTF-16"),
        (ROW.encode("utf-16-le"), "UTF-16"),
        (ROW.encode("utf-32"), "UTF-16"),
        (gzip.compress(ROW.encode()), "gzip"),
        (b"PK\x03\x04rest", "zip"),
        (b"PAR1rest", "parquet"),
        (ROW.encode("latin-1").replace(b"It", b"\xe9t"), "save the file as UTF-8"),
        (b"\xef\xbb\xbf", "empty file"),
    ],
)
def test_a_file_that_is_no_text_in_utf8_is_refused_in_plain_words(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    (fault,) = faults_of(content, tmp_path)
    assert problem in fault


def test_a_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="a pipe"):
        read_rows(pipe)


@pytest.mark.parametrize("depth", [900, 200_000])
def test_deep_nesting_is_one_rows_fault(tmp_path: Path, depth: int) -> None:
    deep = f'{{"question": "q", "gold_answer": "1", "rationales": {"[" * depth}{"]" * depth}}}'
    faults = faults_of(f"{ROW}\n{deep}\n", tmp_path)
    assert any("mine, row 2" in fault for fault in faults)


def test_a_line_of_many_megabytes_takes_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    (question,) = read(row(rationales={"ann": "word " * 2_000_000}), tmp_path)
    assert len(question.rationales[0].text) == 10_000_000
    assert time.monotonic() - started < 20


def test_a_zero_width_character_hides_no_overlap() -> None:
    hidden = Question("q1", "How mu\u200bch is 2 and\u00ad 3?", "5")
    (fault,) = overlap_faults([hidden], {"svamp": [{"id": "i1", "question": "How much is 2 and 3?"}]})
    assert "svamp item i1" in str(fault)


def test_repeated_keys_of_benchmark_rows_are_faults(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text('{"question": "q", "answer": "1", "answer": "2"}\n{"question": "p", "answer": "1"}\n')
    rows, _ = read_rows(file, "items")
    parsed = parse_benchmark("rows", rows)
    assert [row["question"] for row in parsed.rows] == ["p"]
    assert "field 'answer'" in str(parsed.faults[0]) and "twice" in str(parsed.faults[0])


@pytest.mark.parametrize("value", [[1], True, 1.5, float("nan"), "a\nb", "a\u202eb", " ", "\u200b"])
def test_ids_of_benchmark_rows_are_names(tmp_path: Path, value: Any) -> None:
    file = tmp_path / "items.jsonl"
    rows = [{"id": value, "question": "q", "answer": "1"}, {"id": 7, "question": "p", "answer": "1"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    parsed = parse_benchmark("rows", read_rows(file, "items")[0])
    assert [row["id"] for row in parsed.rows] == ["7"]
    (fault,) = parsed.faults
    assert fault.where == "items, row 1, field 'id'"
