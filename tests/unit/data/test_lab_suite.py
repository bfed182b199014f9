"""A suite of the lab's world through the commands: truth, changes of the world, words the student knows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from compact_bench.core.errors import DataError, StudentError
from compact_bench.data.lab import neutral_passages
from compact_bench.evaluation.cache import read_items
from compact_bench.methods.compact.scores import thinking_token_ids
from compact_bench.runs.plan import run_key
from compact_bench.runs.session import Request, Session, session_of_record
from compact_bench.runs.store.store import Store
from compact_bench.training.branches import encode_question
from tests.tiny_suite import make_tiny_lab_student, write_rationales, write_tiny_lab
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small suite of the lab's world with a random student that knows its words."""
    folder = tmp_path_factory.mktemp("lab")
    return write_tiny_lab(folder, str(make_tiny_lab_student(folder / "student")))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Folders of one command, kept apart from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("cache", "store"):
            patch.setenv(f"COMPACT_BENCH_{name.upper()}", str(tmp_path / name))
        patch.setenv("COMPACT_BENCH_RESULTS", str(tmp_path))
        patch.setenv("COMPACT_BENCH_OFFLINE", "1")
        patch.delenv("COMPACT_BENCH_MIRROR", raising=False)
        patch.chdir(tmp_path)
        yield tmp_path


def request_of(suite: Path, folder: Path, **changes: object) -> Request:
    plain = Request(
        suite=str(suite), profile="smoke", cache=folder / "cache", store=folder / "store", offline=True
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def test_a_table_of_a_changed_world(suite: Path, home: Path, capsys: Capture) -> None:
    words = ("--suite", suite, "--profile", "smoke", "--world", "slip_rate=1.0", "--world", "seed=3")
    done = run_command(
        capsys, "reproduce", *words, "--methods", "zero_shot,compact", "--threads", "1", "--quiet"
    )
    assert done.code == 0, done.err
    store = Store(home / "store")
    record = store.find_one("compact@1")
    assert record.status == "done" and record.training["optimiser_steps"] == 2
    assert record.provenance["request"]["world"] == ["slip_rate=1.0", "seed=3"]
    facts = record.provenance["suite_notes"]["teacher_facts"]
    assert facts["teachers"]["breezy"]["really_right"] == 0.0
    text = (home / "RESULTS.md").read_text(encoding="utf-8")
    assert "--world slip_rate=1.0 --world seed=3" in text
    page = (home / "results" / "teachers.md").read_text(encoding="utf-8")
    assert "## Teachers as measured" in page and "| breezy | 0.0 |" in page
    # Answers of several words are generated, extracted and scored like numbers.
    items = read_items(
        store.evaluations_dir, record.weights["final"], record.evaluations["lab_reverse"]["cache_key"]
    )
    assert all(len(str(item["gold"]).split()) >= 3 for item in items)
    # The run's own world is opened again from its record.
    again = session_of_record(record, request_of(suite, home))
    world = again.spec.training.world
    assert world is not None and (world.slip_rate, world.seed) == (1.0, 3)
    assert again.suite_info.has_truth and again.neutral_passages == neutral_passages()


def test_worlds_are_different_data(suite: Path, tmp_path: Path) -> None:
    benches = [
        Session(request_of(suite, tmp_path, world=world))
        for world in ((), ("slip_rate=0.5",), ("slip_rate=0.2",), ("seed=2",))
    ]
    plain, same, slip, seed = (run_key(session, "uniform", "", 1) for session in benches)
    # 0.5 is the suite's own rate, so its runs are the same runs.
    assert plain.hash == same.hash
    assert len({plain.suite_fingerprint, slip.suite_fingerprint, seed.suite_fingerprint}) == 3


def test_what_is_known_of_a_set_is_remembered(suite: Path, tmp_path: Path) -> None:
    assert Session(request_of(suite, tmp_path)).suite_info.has_truth
    again = Session(request_of(suite, tmp_path))
    info = again.suite_info
    assert info.has_truth and info.has_pairs and info.has_reviews and info.has_feedback
    assert "data" not in vars(again)
    alone = Session(request_of(suite, tmp_path, teachers=("ponder",))).suite_info
    assert alone.has_pairs and alone.has_feedback and not alone.has_reviews


def test_rationales_of_the_lab_are_whole_words_with_answers(suite: Path, tmp_path: Path) -> None:
    session = Session(request_of(suite, tmp_path))
    tokenizer, longest = session.base.tokenizer, session.base.model.config.max_position_embeddings
    thinking = {tokenizer.decode([i]) for i in thinking_token_ids(tokenizer)}
    assert {"Wait", "So", "Hmm"} <= thinking and tokenizer.unk_token not in thinking
    for question in (*session.data.training, *session.data.validation):
        encoded = encode_question(session.base, question)
        assert tokenizer.decode(list(encoded.gold_ids)) == question.gold_answer
        for branch, rationale in zip(encoded.branches, question.rationales, strict=True):
            said = tokenizer.decode([branch.input_ids[place] for place in branch.answer_positions])
            assert said == branch.predicted_answer and len(branch.input_ids) < longest
            # Right reasoning ends in a right answer; a wrong one may reach it by chance.
            assert rationale.truth is not None and branch.is_right >= rationale.truth.is_right


def mine(folder: Path, suite: Path, *, right: bool) -> Path:
    """Rationales of two of the lab's teachers as a user's file, with or without the truth."""
    questions = Session(request_of(suite, folder, teachers=("ponder", "breezy"))).data.training
    path = write_rationales(folder / "mine.jsonl", questions)
    if right:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row, question in zip(rows, questions, strict=True):
            row["right"] = {r.teacher: r.truth is not None and r.truth.is_right for r in question.rationales}
        path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_users_rationales_have_the_truth_they_say(suite: Path, tmp_path: Path) -> None:
    for right in (False, True):
        file = mine(tmp_path, suite, right=right)
        info = Session(request_of(suite, tmp_path, rationales=str(file))).suite_info
        assert info.teachers == ("ponder", "breezy") and info.has_truth is right


def test_words_that_the_student_does_not_know_are_refused(
    suite: Path, tmp_path: Path, home: Path, capsys: Capture
) -> None:
    file = tmp_path / "own.jsonl"
    row = {"question": "A box holds 6 eggs.", "gold_answer": 6, "rationales": {"ada": "The answer is 6."}}
    file.write_text(
        "".join(json.dumps({**row, "question": f"{row['question']} {n}"}) + "\n" for n in range(9))
    )
    with pytest.raises(DataError, match="the student's tokenizer does not know every word"):
        Session(request_of(suite, tmp_path, rationales=str(file))).data  # noqa: B018
    done = run_command(capsys, "explain", file, "--suite", suite, "--profile", "smoke")
    assert done.code == 3 and "'eggs'" in done.err and "--student" in done.err


def test_explain_shows_a_question_of_the_world(suite: Path, home: Path, capsys: Capture) -> None:
    done = run_command(capsys, "explain", "--suite", suite, "--profile", "smoke", "--threads", "1")
    assert done.code == 0, done.err
    assert all(name in done.out for name in ("abacus", "atlas", "ponder", "breezy", "gold answer"))


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("run", "uniform", "--world", "slip_rat=0.2"), 2, "did you mean slip_rate?"),
        (("report", "--world", "slip_rate=2"), 2, "slip_rate"),
        (("prefetch", "--world", "slip_rate"), 2, "expected key=value"),
        (("explain", "--suite", "svamp", "--world", "slip_rate=0.2"), 2, "expected a suite whose questions"),
        (("reproduce", "--profile", "lit"), 2, "unknown profile 'lit'"),
    ],
)
def test_the_lab_is_the_default_suite_and_wrong_worlds_are_refused(
    words: tuple[str, ...], code: int, part: str, home: Path, capsys: Capture
) -> None:
    done = run_command(capsys, *words)
    assert done.code == code and part in done.err
    assert not (home / "store").exists()


def test_the_labs_suite_needs_nothing_fetched(suite: Path, home: Path, capsys: Capture) -> None:
    done = run_command(capsys, "prefetch", "--suite", suite, "--profile", "smoke", "--offline")
    assert done.code == 0, done.err
    assert [line.partition(":")[0] for line in done.err.splitlines()] == [
        f"student {suite.parent / 'student'}"
    ]


def test_a_lab_student_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from compact_bench.students import student as students

    monkeypatch.setattr(students, "shipped_folder", lambda version: tmp_path / f"weights_{version}")
    with pytest.raises(StudentError, match="install the package again"):
        students.resolve_student(students.LAB_STUDENT)
    weights = tmp_path / "weights_2"
    make_tiny_lab_student(weights)
    folder = students.resolve_student(students.LAB_STUDENT)
    assert folder == weights and len(students.student_revision(folder)) == 16


def test_show_lab_tells_what_its_teachers_are_like(
    home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = run_command(capsys, "show", "lab")
    assert done.code == 0, done.err
    for text in (
        "Really right, %",
        "What this suite cannot say",
        "Longer chains",
        "than the right one on",
    ):
        assert text in done.out, text
    assert "Really right" not in run_command(capsys, "show", "svamp").out
