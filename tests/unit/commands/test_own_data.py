"""What is written of a user's own data and student: nothing of the suite's that is not true of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from compact_bench.commands.data_card import _copies_sentence
from compact_bench.core.records import Question
from compact_bench.data.validation.near_copies import copies_note, near_copies
from compact_bench.runs.session import Session
from compact_bench.runs.store.store import Store
from tests.unit.command import Done, run_command

Capture = pytest.CaptureFixture[str]
CARD = (
    "The 699 questions of Quibblesworth are the training split. Ada and Bob almost certainly saw the gold "
    "answer. Thinking words are nearly absent."
)
STUDENT_CARD = "Studentina, near the floor on exact match before training, ships with the suite."
SUITES_OWN = (
    *(sentence.strip(" .") for sentence in CARD.split(". ")),
    STUDENT_CARD.strip("."),
    "699 questions",
    "Quibblesworth",
    "Studentina",
    "Sums with rationales of made-up teachers",
    "Ada the Great",
    "Bob the Brief",
    "in a test of five seeds",
)


def with_cards(suite: Path) -> Path:
    """The tiny suite with prose about its own data, teachers and student."""
    text = suite.read_text(encoding="utf-8")
    text = re.sub(r"^card = .*$", f"card = {json.dumps(CARD)}", text, flags=re.M)
    prose = (
        f"student_title = {json.dumps('Studentina, the small')}\nstudent_card = {json.dumps(STUDENT_CARD)}\n"
    )
    text = text.replace("[training]", f"{prose}\n[training]", 1)
    text = text.replace('name = "ada"', 'name = "ada"\ntitle = "Ada the Great"')
    text = text.replace('name = "bob"', 'name = "bob"\ntitle = "Bob the Brief"')
    text = text.replace('note = "a test"', 'note = "in a test of five seeds"')
    suite.write_text(text, encoding="utf-8")
    return suite


def own_rows(names: Sequence[str] = ("ada", "best"), count: int = 8) -> list[dict[str, Any]]:
    """Questions with \\boxed answers of the first teacher, none of the last in the first two questions."""
    return [
        {
            "id": f"jar-{n}",
            "question": f"A jar holds {n} red and {n + 2} blue marbles. How many is that?",
            "gold_answer": str(2 * n + 2),
            "rationales": {
                name: f"It is \\boxed{{{2 * n + 2}}}." if not place else "No idea." if n < 6 else f"So {n}."
                for place, name in enumerate(names)
            },
        }
        for n in range(4, 4 + count)
    ]


def write(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def written(folder: Path) -> dict[str, str]:
    """Every text that the command wrote beside the store, by its path."""
    found = [*folder.glob("RESULTS*"), *folder.glob("results/*"), *folder.glob("*.md"), *folder.glob("*.svg")]
    return {str(p.relative_to(folder)): p.read_text(encoding="utf-8") for p in found if p.suffix != ".png"}


def reproduce(capsys: Capture, suite: Path, *more: str | Path) -> Done:
    words = ("reproduce", "--suite", suite, "--profile", "smoke", "--threads", "1", "--workers", "1")
    return run_command(capsys, *words, *more)


def test_no_page_of_own_data_says_what_is_true_of_the_suite_only(
    suite: Path, student_folder: Callable[..., Path], tmp_path: Path, capsys: Capture
) -> None:
    own = write(tmp_path / "mine.jsonl", own_rows())
    student = student_folder("qwen2")
    more = ("--rationales", own, "--student", student, "--reproduction", tmp_path / "reproduction.md")
    more += ("--methods", "zero_shot,single_teacher,uniform,compact")
    done = reproduce(capsys, with_cards(suite), *more)
    assert done.code == 0, done.err
    pages = written(tmp_path)
    assert {"RESULTS.md", "RESULTS.tex", "reproduction.md", "results/about.md", "results/data.md"} <= set(
        pages
    )
    for name, text in {**pages, "terminal": done.out + done.err}.items():
        for sentence in SUITES_OWN:
            assert sentence not in text, f"{name}: {sentence}"
    about = pages["results/about.md"]
    assert (
        f"mine.jsonl, {own.stat().st_size:,} bytes, sha256 {hashlib.sha256(own.read_bytes()).hexdigest()}"
        in about
    )
    # 8 questions, two of them (two sevenths) for validation; the profile trains on 4.
    draws = "6 to train on, of which every seed of profile smoke draws 4, 2 set aside for validation"
    assert f"Questions: 8; {draws}" in about
    assert "| ada | 8 | 100.0 | 100.0 |" in about
    assert "| best | 8 | 0.0 | 0.0 |" in about, "a last number is no stated answer of a rationale"
    assert "No near copy of a test question was found" in about
    assert str(student) in about
    # Of its three items the profile asks two.
    assert "| SVAMP | in distribution | exact_match | 2 of 3 |" in about
    assert "# Results: mine.jsonl, on the benchmarks of suite tiny" in pages["RESULTS.md"]
    assert "Training data mine.jsonl, benchmarks of suite tiny" in pages["RESULTS.tex"].replace(r"\_", "_")
    assert "- Suite: mine.jsonl, on the benchmarks of suite tiny" in pages["reproduction.md"]
    assert "Fixed on 2026" not in pages["RESULTS.md"] and "version 2 of the lab" not in pages["RESULTS.md"]
    # The report command, from the store alone, says the same.
    again = run_command(capsys, "report", "--suite", suite, "--profile", "smoke", *more)
    assert again.code == 0, again.err
    assert written(tmp_path) == pages


def test_another_student_alone_leaves_out_what_is_said_of_the_suites(
    suite: Path, student_folder: Callable[..., Path], tmp_path: Path, capsys: Capture
) -> None:
    with_cards(suite)
    words = ("--methods", "zero_shot", "--student", student_folder("qwen2"))
    assert reproduce(capsys, suite, *words).code == 0
    for name, text in written(tmp_path).items():
        assert "Studentina" not in text and "five seeds" not in text, name
    about = written(tmp_path)["results/about.md"]
    assert "Quibblesworth" in about, "what is said of the data holds"
    assert re.search(r"differ from it in:\n\n- student: .*not the suite's", about)
    assert re.search(r"## Student\n\n\S.*; fingerprint of its weights and tokenizer: [0-9a-f]{8,}\.", about)
    assert reproduce(capsys, suite, "--methods", "zero_shot").code == 0
    about = written(tmp_path)["results/about.md"]
    assert STUDENT_CARD in about and "differ from it" not in about
    assert "five seeds" in written(tmp_path)["RESULTS.md"]


def test_fewer_teachers_and_other_settings_are_told_before_the_card(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    with_cards(suite)
    words = ("--methods", "zero_shot", "--teachers", "bob", "--set", "eval.items_per_task=1")
    assert reproduce(capsys, suite, *words).code == 0
    about = written(tmp_path)["results/about.md"]
    assert "- teachers: bob only, in this order" in about and "- settings: eval.items_per_task=1" in about
    assert about.index("- teachers: bob") < about.index("Quibblesworth")


def near(rows: list[dict[str, Any]], tmp_path: Path) -> Path:
    """A rationale file with three near copies of SVAMP items of the tiny suite."""
    first = "Please solve: Ann finds 11 pears and then 5 more pears. How many pears is that?"
    second = "Ann finds 15 pears and then 7 further pears. How many pears is that?"
    third = "Joe sees 19 coins and then 9 more coins. How many coins is that in all?"
    for row, text in zip(rows, (first, second, third), strict=False):
        row["question"] = text
    return write(tmp_path / "mine.jsonl", rows)


def test_near_copies_are_told_before_training_and_on_every_page(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    own = near(own_rows(count=12), tmp_path)
    words = ("--rationales", own, "--methods", "uniform")
    done = reproduce(capsys, suite, *words)
    assert done.code == 0, done.err
    warning = done.err.index("Warning: 3 of 12 training and validation questions are near copies")
    assert warning < done.err.index("runs to do")
    for pair in (
        "'jar-4': svamp item pears-0",
        "'jar-5': svamp item pears-1",
        "'jar-6': addsub item coins-2",
    ):
        assert pair in done.err
        assert pair in written(tmp_path)["results/about.md"]
    assert "3 of 12 training and validation questions are near copies" in written(tmp_path)["RESULTS.md"]
    (record,) = Store(tmp_path / "store").records()
    pairs = record.provenance["suite_notes"]["near_copies"]["pairs"]
    assert [pair[:2] for pair in pairs] == [
        ["jar-4", "svamp item pears-0"],
        ["jar-5", "svamp item pears-1"],
        ["jar-6", "addsub item coins-2"],
    ]
    assert record.provenance["request"]["on_overlap"] == "keep"


def test_the_share_told_of_near_copies_is_one_that_all_of_them_have() -> None:
    """Four of five words are a copy, and fewer than the share that longer ones are asked for."""
    row = {"id": "i1", "question": "Could llamas birth 2 crias?"}
    copies = near_copies([Question("q1", "Could llamas lose 2 crias?", "")], {"t": [row]})
    notes = {"questions": 1, "near_copies": copies_note(copies)}
    sentence = _copies_sentence(cast(Session, SimpleNamespace(data_notes=notes)))
    assert "at least 80 % of a test question's words" in sentence


def test_on_overlap_refuses_or_drops_by_id(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    own = near(own_rows(count=12), tmp_path)
    words = ("--rationales", own, "--methods", "uniform")
    refused = reproduce(capsys, suite, *words, "--on-overlap", "refuse")
    assert refused.code == 3 and "Traceback" not in refused.err
    assert "mine.jsonl, row 1: question 'jar-4'" in refused.err and "svamp item pears-0" in refused.err
    assert not Store(tmp_path / "store").records()
    dropped = reproduce(capsys, suite, *words, "--on-overlap", "drop")
    assert dropped.code == 0 and "Warning: 3 of" not in dropped.err
    pages = written(tmp_path)
    assert "Questions: 9;" in pages["results/about.md"]
    assert all(f"question 'jar-{n}'" in pages["results/data.md"] for n in (4, 5, 6))
    assert "--on-overlap drop" in pages["RESULTS.md"]


def test_exact_copies_are_refused_whatever_is_kept_and_dropped_when_asked(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    rows = own_rows(count=12)
    rows[0]["question"] = "Ann finds 11 pears and then 5 more pears. How many pears is that?"
    words = ("--rationales", write(tmp_path / "mine.jsonl", rows), "--methods", "uniform")
    assert reproduce(capsys, suite, *words, "--on-overlap", "keep").code == 3
    assert reproduce(capsys, suite, *words, "--on-overlap", "drop").code == 0
    assert "Questions: 11;" in written(tmp_path)["results/about.md"]


def test_an_empty_file_name_never_trains_on_the_suites_own(
    suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    done = reproduce(capsys, suite, "--rationales", "", "--methods", "uniform")
    assert done.code == 2 and "--rationales: expected a file" in done.err
    assert not Store(tmp_path / "store").records()


def test_a_suite_file_that_extends_another_inherits_nothing_said_of_its_data(tmp_path: Path) -> None:
    from compact_bench.data.suites import load_spec

    write(tmp_path / "own.jsonl", own_rows())
    file = tmp_path / "mine.toml"
    file.write_text('extends = "svamp"\nname = "mine"\n[training]\nfile = "own.jsonl"\n')
    spec = load_spec(file)
    assert spec.title == "mine, with benchmarks of suite svamp" and not spec.card
    assert spec.student_card and spec.student_title
    file.write_text('extends = "svamp"\nname = "mine"\nstudent = "other"\n[training]\nfile = "own.jsonl"\n')
    assert not load_spec(file).student_card and not load_spec(file).student_title
    file.write_text('extends = "lab"\nname = "mine"\n[training.world]\nslip_rate = 0.1\n')
    assert load_spec(file).card == load_spec("lab").card


def test_an_own_suite_tells_its_student(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    """A suite of the user's own without a card of its student: RESULTS.md sends its reader to the page."""
    assert reproduce(capsys, suite, "--methods", "zero_shot").code == 0
    about = written(tmp_path)["results/about.md"]
    assert re.search(r"## Student\n\n\S.*; fingerprint of its weights and tokenizer: [0-9a-f]{8,}\.", about)


def test_the_command_names_a_store_of_its_own_and_the_page_its_own_file(
    suite: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ("--methods", "zero_shot", "--store", "s1", "--reproduction", "out repro.md", "--output", ".")
    assert reproduce(capsys, suite, *more).code == 0
    pages = written(tmp_path)
    assert " --store s1\n" in pages["RESULTS.md"]
    assert "--store s1 --reproduction 'out repro.md'\n" in pages["out repro.md"]
    assert "reproduction.md" not in pages["out repro.md"]
    # A path of this machine alone means nothing to another reader.
    more = ("--methods", "zero_shot", "--store", str(tmp_path / "s1"), "--output", ".")
    assert reproduce(capsys, suite, *more).code == 0
    assert "--store" not in written(tmp_path)["RESULTS.md"]
