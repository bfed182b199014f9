"""The work of benchmarks, memory of fresh processes, and the command `bench step`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compact_bench.commands.bench.contenders.contenders import CONTENDERS
from compact_bench.commands.bench.contenders.memory import peak_during
from compact_bench.commands.bench.contenders.runners import ProcessRunner
from compact_bench.commands.bench.contenders.work import Work, suite_work, synthetic_work, work_facts
from compact_bench.commands.bench.measuring.results import StepResult
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.commands.bench.step import bench_step
from compact_bench.core.answers import extract_answer
from compact_bench.core.errors import ConfigError, DataError
from compact_bench.core.settings import LoraSettings
from compact_bench.students.student import LAB_STUDENT, Student, load_student
from tests import tiny
from tests.unit.bench_runner import LocalRunner, quick_ceiling
from tests.unit.command import run_command

__all__ = ["quick_ceiling"]

Load = Callable[..., Student]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def student(load_tiny: Load) -> Student:
    return load_tiny("llama", "chatml")


def build(student: Student, **changes: Any) -> Work:
    asked = {"suite": "tiny", "teachers": 2, "count": 1} | changes
    return suite_work(tiny.questions(7, teachers=4), student.tokenizer, **asked)


def test_the_questions_are_those_of_median_length(student: Student) -> None:
    pool = tiny.questions(7, teachers=4)

    def size(question: Any) -> int:
        return 2 * len(question.text) + sum(len(r.text) for r in question.rationales[:2])

    ordered = sorted(pool, key=lambda q: (size(q), q.id))
    assert [q.id for q in build(student).questions] == [ordered[3].id]
    assert [q.id for q in build(student, count=3).questions] == [q.id for q in ordered[2:5]]
    with pytest.raises(ConfigError, match="expected 1 to 7, the training questions of suite tiny, got 8"):
        build(student, count=8)


def test_rationales_are_those_of_the_suite(student: Student) -> None:
    (question,) = build(student, teachers=4).questions
    (original,) = [q for q in tiny.questions(7, teachers=4) if q.id == question.id]
    assert question == original


def test_more_teachers_than_there_are_borrow_texts_and_keep_the_answer(student: Student) -> None:
    work = build(student, teachers=11)
    (question,) = work.questions
    names = question.teachers
    assert len(set(names)) == 11 and names[4:6] == ("ada-2", "bob-2") and names[10] == "cyd-3"
    assert len({r.text for r in question.rationales}) == 11
    for rationale in question.rationales[4:]:
        assert extract_answer(rationale.text) == question.gold_answer
    assert "rationales beyond the 4 teachers" in work.origin


@pytest.mark.parametrize("tokens", [12, 40, 400])
def test_rationales_of_a_chosen_length(student: Student, tokens: int) -> None:
    work = build(student, teachers=6, count=2, rationale_tokens=tokens)
    facts = work_facts(student, work, 2560)
    for lengths in facts.rationale_tokens:
        assert all(abs(n - tokens) <= 3 for n in lengths), lengths
    for question in work.questions:
        for rationale in question.rationales:
            assert rationale.text.count("The answer is") == 1
        # No two are the same, unless they are too short to differ.
        assert len({r.text for r in question.rationales}) == 6 or tokens == 12
    assert f"about {tokens} tokens" in work.origin


def test_a_length_without_room_is_refused(student: Student) -> None:
    with pytest.raises(ConfigError, match="--rationale-tokens: expected more than the answer's own sentence"):
        build(student, rationale_tokens=2)


def test_facts_count_what_rows_have(student: Student) -> None:
    work = build(student, teachers=3, count=2)
    facts = work_facts(student, work, 2560)
    assert facts.teachers == 3 and len(facts.prompt_tokens) == 2
    rows = [p + n + 1 for p, r in zip(facts.prompt_tokens, facts.rationale_tokens, strict=True) for n in r]
    assert facts.tokens == sum(rows)
    assert facts.packed_tokens == facts.tokens - 2 * sum(facts.prompt_tokens)
    with pytest.raises(DataError, match="expected at most 20"):
        work_facts(student, work, 20)


def test_work_travels_as_json(student: Student) -> None:
    work = build(student, teachers=3, count=2)
    assert Work.from_data(json.loads(json.dumps(work.to_data()))) == work


@pytest.mark.parametrize("name", ["tiny", LAB_STUDENT])
def test_random_words_have_about_the_length_asked_for(student: Student, name: str) -> None:
    chosen = student if name == "tiny" else load_student(LAB_STUDENT, dtype="float32", device="cpu")
    work = synthetic_work(chosen.tokenizer, teachers=3, count=2, rationale_tokens=60)
    facts = work_facts(chosen, work, 2560)
    assert len(work.questions) == 2 and facts.teachers == 3
    assert all(55 <= n <= 75 for lengths in facts.rationale_tokens for n in lengths), facts.rationale_tokens
    assert work == synthetic_work(chosen.tokenizer, teachers=3, count=2, rationale_tokens=60)
    assert work != synthetic_work(chosen.tokenizer, teachers=3, count=2, rationale_tokens=60, seed=1)


# ------------------------------------------------------------------------------------------------- memory


def test_the_peak_grows_with_what_is_allocated() -> None:
    def act() -> int:
        block = bytearray(64 * 1024**2)
        block[::4096] = b"x" * len(block[::4096])
        return len(block)

    size, found = peak_during(act)
    assert size == 64 * 1024**2
    assert found.whole_peak_bytes >= found.peak_bytes >= found.before_bytes > 0
    assert 60 * 1024**2 <= found.step_bytes <= 90 * 1024**2


def test_a_fresh_process_makes_turns_and_tells_their_memory(
    student_folder: Callable[..., Path], load_tiny: Load
) -> None:
    folder = student_folder("llama", "chatml")
    settings = StepSettings(student=str(folder), device="cpu", threads=1, lora=LoraSettings(dropout=0.0))
    long = build(load_tiny("llama", "chatml"), teachers=8, rationale_tokens=600)
    with ProcessRunner(settings) as runner:
        runner.prepare("long", CONTENDERS["released"], long)
        runner.prepare("short", CONTENDERS["ours"], Work((tiny.question(),), ""))
        turns = [runner.turn("long"), runner.turn("short")]
        # A contender that cannot be had is an answer, not an end.
        with pytest.raises(ConfigError, match=r"Did you mean 'ours'"):
            runner.prepare("odd", replace(CONTENDERS["ours"], name="our"), long)
        again = runner.turn("short")
    # Log-probabilities and probabilities are 8 rows of more than 600 positions of more than 400 words.
    assert turns[0].memory.step_bytes > 2 * 8 * 600 * 400 * 4
    assert (
        50e6 < turns[0].memory.before_bytes < turns[0].memory.peak_bytes <= turns[0].memory.whole_peak_bytes
    )
    assert turns[0].seconds > turns[1].seconds > 0.0
    assert again.loss == turns[1].loss


def test_a_process_that_cannot_begin_says_why() -> None:
    settings = StepSettings(student="no-such-folder/really/not", device="cpu")
    with pytest.raises(ConfigError, match="no such folder"), ProcessRunner(settings):
        pytest.fail("it began")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL; memory may have run out"),
        ("raise ValueError('no luck')", "ended with status 1: ValueError: no luck"),
        ("print('half a', end='')", "ended with status 0: no message"),
    ],
)
def test_a_process_that_dies_is_an_error(command: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def other(words: list[str], **options: Any) -> Any:
        return start([words[0], "-c", command], **options)

    monkeypatch.setattr("compact_bench.core.processes.subprocess.Popen", other)
    settings = StepSettings(student="tiny", device="cpu")
    with pytest.raises(ConfigError, match=text), ProcessRunner(settings):
        pytest.fail("it began")


# ------------------------------------------------------------------------------------------------ command


def test_the_command_measures_without_any_download(tmp_path: Path, capsys: Capture, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        bench_step, "__kwdefaults__", {**bench_step.__kwdefaults__, "open_runner": LocalRunner}
    )
    place, file = tmp_path / "out", tmp_path / "deep" / "step.json"
    words = ["bench", "step", "--synthetic", "--rationale-tokens", "12", "--teachers", "2", "--repeats", "1"]
    words += ["--contenders", "ours,released", "--device", "cpu", "--offline"]
    words += ["--set", "train.head=at_once", "--dropout", "0", "--output", str(place), "--json", str(file)]
    done = run_command(capsys, *words)
    assert done.code == 0, done.err
    assert "speed / released" in " ".join(done.out.split()) and "random words" in done.out
    result = StepResult.read(file.read_text(), "file")
    assert result == StepResult.read((place / "bench_step.json").read_text(), "file")
    assert result.settings.student == LAB_STUDENT and result.settings.train.head == "at_once"
    assert result.settings.lora.dropout == 0.0 and result.settings.train.dtype == "float32"
    assert [c.name for c in result.contenders] == ["ours", "released"] and result.repeats == 1
    assert (place / "bench_step.md").read_text().startswith("# Training step\n")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--contenders", "ours,relased"], 2, "Did you mean 'released'"),
        (["--repeats", "0"], 2, "'--repeats'"),
        (["--teachers", "0"], 2, "'--teachers'"),
        (["--dtype", "float8"], 2, "--dtype"),
        (["--set", "head=mad"], 2, "--set"),
        (["--set", "colour=red"], 2, "names no setting"),
        (["--device", "abacus"], 2, "--device"),
        (["--student", "no/such/folder"], 4, "no such folder"),
        (["--teachers", "10000000"], 2, "too little memory"),
    ],
)
def test_wrong_input_is_one_clear_error(
    words: list[str], code: int, text: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "10000000" in words:
        # As many teachers would take long to write down; a small machine shows the same.
        words = ["--teachers", "2"]
        monkeypatch.setattr(
            "compact_bench.commands.bench.measuring.need.available_memory_bytes", lambda: 10_000_000
        )
    done = run_command(capsys, "bench", "step", "--synthetic", "--offline", *words)
    assert done.code == code
    assert text in " ".join(done.err.replace("│", " ").split())
    assert done.out == ""
