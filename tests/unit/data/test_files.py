"""Reading rows: JSON, JSONL, hub datasets and upstream files of one teacher each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import ConfigError, DataError
from compact_bench.data.files.readers import HubSet, read_hub_rows, read_rows
from compact_bench.data.files.rows import SourceRow
from compact_bench.data.files.upstream import UpstreamFile, UpstreamRules, join_upstream
from compact_bench.data.validation.questions import validate_questions


def problem_of(file: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_rows(file, "mine")
    (fault,) = caught.value.faults
    return str(fault)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", b"[{]", "not JSON"),
        ("a.json", b'[{"question": "q"', "not JSON"),
        ("a.json", b'{"question": "q"}', "expected a list of questions, got dict"),
        ("a.json", b"3", "expected a list of questions, got int"),
        ("a.json", b"[]", "got an empty list"),
        ("a.json", b"", "got an empty file"),
        ("a.jsonl", b" \n\n", "got an empty file"),
        ("a.json", b"\xff\xfe\x00", "expected UTF-8 text, got byte 0"),
        ("a.json", b"[" * 100_000, "not JSON: nested too deeply"),
        ("a.jsonl", b"nothing", "mine, row 1: not JSON"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_whole(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert problem in problem_of(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in problem_of(tmp_path / "none.json")
    assert "mine: expected a file" in problem_of(tmp_path)


def test_the_line_of_a_json_error_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('[\n{"question": "q"},\n{"question": }\n]')
    assert "line 3" in problem_of(file)


def test_bad_lines_of_jsonl_are_faults_and_the_others_rows(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    # A line separator inside a string ends no row.
    file.write_text('{"n": "one\u2028two"}\n\n{"n": \n{"n": 4}\n', encoding="utf-8")
    rows, faults = read_rows(file, "a.jsonl")
    assert [(r.where, r.data["n"]) for r in rows] == [
        ("a.jsonl, row 1", "one\u2028two"),
        ("a.jsonl, row 4", 4),
    ]
    assert [f.where for f in faults] == ["a.jsonl, row 3"]


def test_json_lines_called_json_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    lines = tmp_path / "lines.json"
    lines.write_text('{"n": 1}\n{"n": 2}\n', encoding="utf-8-sig")
    assert [r.data["n"] for r in read_rows(lines)[0]] == [1, 2]


def hub_folder(folder: Path) -> Path:
    folder.mkdir()
    rows: list[dict[str, Any]] = [
        {"q": "How much is 1 and 1?", "a": "2", "big": "two, as 1 + 1 = 2", "small": "2"},
        {"q": "How much is 2 and 2?", "a": "4", "big": "four", "small": None},
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


COLUMNS = {"question": "q", "gold_answer": "a", "rationales.big": "big", "rationales.small": "small"}


@pytest.mark.filterwarnings("default")
def test_a_hub_dataset_is_read_through_mapped_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = str(hub_folder(tmp_path / "set"))
    rows = read_hub_rows(HubSet(name=folder, columns=COLUMNS))
    questions, faults = validate_questions(rows, "hub", teachers=("big", "small"), on_fault="drop")
    assert [(q.text, q.gold_answer, q.teachers) for q in questions] == [
        ("How much is 1 and 1?", "2", ("big", "small"))
    ]
    assert [str(f) for f in faults] == [
        f"{folder}, train, row 2, field 'rationales': expected a rationale of teacher 'small', got none"
    ]
    with pytest.raises(ConfigError, match="expected columns nope, got q, a, big, small"):
        read_hub_rows(HubSet(name=folder, columns={"question": "nope"}))
    with pytest.raises(DataError, match="expected split 'test'"):
        read_hub_rows(HubSet(name=folder, split="test"))


def test_a_hub_dataset_may_say_which_rationales_are_right(tmp_path: Path) -> None:
    rows = [
        {"question": f"Add {n}.", "gold_answer": n, "rationales": {"a": "x"}, "right": {"a": known}}
        for n, known in enumerate((True, False, None))
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found, _ = validate_questions(read_hub_rows(HubSet(name=str(tmp_path))), "hub")
    told = [question.rationales[0].truth for question in found]
    assert [truth and truth.is_right for truth in told] == [True, False, None]


def test_a_hub_dataset_must_be_pinned() -> None:
    with pytest.raises(ConfigError, match="expected a revision"):
        read_hub_rows(HubSet(name="someone/something"))


def upstream(name: str, *pairs: tuple[str, Any]) -> UpstreamFile:
    rows = [
        SourceRow(f"{name}, row {n}", {"instruction": question, "output": output})
        for n, (question, output) in enumerate(pairs, 1)
    ]
    return UpstreamFile(name, tuple(rows))


GOLD = upstream("gold", ("Add 1 and 1.", "2"), ("Add 2 and 2.", "4"), ("Add 3 and 3.", "6"))
FULL = upstream("full", ("Add 3 and 3 .", "c"), ("Add 1 and 1", "a"), ("add 2 and 2", "b"))
LAME = upstream("lame", ("Add 1 and 1.", "<t>x"), ("Add 1 and 1", "y"), ("Add 2 and 2.", "z"), ("Else?", "e"))


def test_upstream_files_are_joined_by_the_words_of_the_question() -> None:
    joined = join_upstream(GOLD, {"full": FULL}, UpstreamRules(), "add")
    assert not joined.faults and not joined.excluded and not joined.treated
    questions, _ = validate_questions(joined.rows, "add", teachers=("full",))
    assert [(q.id, q.rationales[0].text) for q in questions] == [
        ("add-1", "a"),
        ("add-2", "b"),
        ("add-3", "c"),
    ]


def test_faults_that_no_rule_covers_are_all_reported() -> None:
    joined = join_upstream(GOLD, {"full": FULL, "lame": LAME}, UpstreamRules(), "add")
    assert sorted(str(f) for f in joined.faults) == [
        "lame, row 2, field 'instruction': expected a question once, got the one of lame, row 1 again",
        "lame, row 4, field 'instruction': expected a question of the gold file, got another",
        "lame: expected a rationale of 'lame' for 'Add 3 and 3.', got none",
    ]


def test_known_faults_are_treated_as_the_rules_say() -> None:
    who = frozenset({"lame"})
    rules = UpstreamRules(missing=who, extra=who, repeated=who, stray={"lame": ("<t>",)})
    joined = join_upstream(GOLD, {"full": FULL, "lame": LAME}, rules, "add")
    assert not joined.faults
    assert [f.question_id for f in joined.excluded] == ["add-3"]
    assert len(joined.treated) == 2
    assert [row.data["rationales"]["lame"] for row in joined.rows] == ["x", "z"]


def test_a_rule_covers_only_its_teachers() -> None:
    rules = UpstreamRules(missing=frozenset({"full"}))
    joined = join_upstream(GOLD, {"full": FULL, "lame": LAME}, rules, "add")
    assert any("got none" in str(f) for f in joined.faults)


def test_a_bad_upstream_rationale_is_named_by_its_own_file() -> None:
    bad = upstream("bad", ("Add 1 and 1.", ""), ("Add 2 and 2.", None), ("Add 3 and 3.", "c"))
    joined = join_upstream(GOLD, {"bad": bad}, UpstreamRules(), "add")
    with pytest.raises(DataError) as caught:
        validate_questions(joined.rows, "add", teachers=("bad",))
    assert [f.where for f in caught.value.faults] == [
        "bad, row 1, field 'rationales.bad'",
        "bad, row 2, field 'rationales.bad'",
    ]
