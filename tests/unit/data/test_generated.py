"""Questions, items, truth and facts of a generated world, as a suite loads them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import DataError, UnknownNameError
from compact_bench.core.records import (
    Feedback,
    PeerReview,
    Question,
    Rationale,
    RationalePair,
    RationaleTruth,
)
from compact_bench.data.files.sources import Sources
from compact_bench.data.lab import TEACHERS, WorldSettings
from compact_bench.data.suites import SuiteSpec, load_spec, with_world
from compact_bench.data.suites.generated import generated_questions
from compact_bench.data.suites.loading import load_suite_data
from compact_bench.data.suites.suite_data import SuiteData
from compact_bench.data.suites.teacher_statistics import teacher_facts
from compact_bench.results.report.sections.teachers import teacher_tables, teachers_markdown
from tests.tiny_suite import write_tiny_lab


@pytest.fixture
def spec(tmp_path: Path) -> SuiteSpec:
    return load_spec(write_tiny_lab(tmp_path / "suite"))


def load(spec: SuiteSpec, **settings: Any) -> SuiteData:
    return load_suite_data(spec, Sources(Path("nowhere"), offline=True), **settings)


def test_a_world_gives_questions_items_and_truth(spec: SuiteSpec) -> None:
    data = load(spec, profile="smoke")
    assert (len(data.training), len(data.validation)) == (8, 4) and data.excluded == ()
    assert data.has_truth
    assert all(q.teachers == tuple(TEACHERS) and q.family for q in data.training)
    assert {task: len(rows) for task, rows in data.benchmarks.items()} == {
        "lab_ring": 4, "lab_longer": 4, "lab_reverse": 4, "lab_opposites": 4,
    }  # fmt: skip
    for rows in data.benchmarks.values():
        assert [row["id"] for row in rows] == sorted({row["id"] for row in rows})
    assert data.notes["items"]["lab_longer"] == 4
    assert data.notes["chance"] == {"lab_opposites": 0.25}
    assert load(spec, profile="smoke") == data
    json.dumps(data.notes, allow_nan=False)


def test_teachers_of_a_world_can_be_chosen_and_ordered(spec: SuiteSpec) -> None:
    data = load(spec, teachers=["breezy", "abacus"])
    assert {q.teachers for q in data.training} == {("breezy", "abacus")}
    with pytest.raises(UnknownNameError, match="Did you mean 'breezy'"):
        load(spec, teachers=["breezi"])
    unnamed = spec.model_copy(update={"teachers": ()})
    assert generated_questions(unnamed)[0].teachers == tuple(TEACHERS)


def test_the_fingerprint_covers_the_world_its_truth_and_its_items(spec: SuiteSpec) -> None:
    first = load(spec, profile="smoke").fingerprint
    assert load(spec, profile="smoke", benchmarks=["lab_ring"]).fingerprint == first
    found = {first}
    for change in ("slip_rate=0.9", "seed=2", "longest_long_steps=7", "ponder_error_rate=0.051"):
        found.add(load(with_world(spec, (change,)), profile="smoke").fingerprint)
    ring = spec.benchmarks[0].model_copy(update={"items": 5})
    found.add(load(spec.model_copy(update={"benchmarks": (ring, *spec.benchmarks[1:])})).fingerprint)
    assert len(found) == 6


def test_the_fingerprint_covers_what_is_known_of_a_rationale() -> None:
    from compact_bench.data.suites.fingerprint import data_fingerprint

    spec = load_spec("svamp").model_copy(update={"benchmarks": ()})
    truths = (None, RationaleTruth(True, None, 2, "terse"), RationaleTruth(False, 2, 2, "terse"))
    made = [Question("q", "How many?", "2", (Rationale("ann", "The answer is 2", t),)) for t in truths]
    made.append(dataclasses.replace(made[0], family="ring"))
    assert len({data_fingerprint(spec, [question], []) for question in made}) == 4


def test_the_fingerprint_of_a_suite_without_truth_is_what_it_was() -> None:
    from compact_bench.data.suites.fingerprint import data_fingerprint

    questions = [Question("q", "How many?", "2", (Rationale("ann", "The answer is 2"),))]
    # As computed before rationales could carry a truth: finished runs keep their keys.
    first = load_spec("svamp").model_copy(update={"version": 1})
    assert data_fingerprint(first, questions, questions) == "f00d196e2ffdc9e9"


def test_the_fingerprint_covers_pairs_reviews_feedback_and_mistakes() -> None:
    from compact_bench.data.suites.fingerprint import data_fingerprint

    spec = load_spec("svamp").model_copy(update={"benchmarks": ()})
    plain = Question("q", "How many?", "2", (Rationale("ann", "The answer is 2"),))
    pair = RationalePair("ann", "The answer is 2", "The answer is 3", "corrupted")
    made = [
        plain,
        dataclasses.replace(plain, pairs=(pair,)),
        dataclasses.replace(plain, pairs=(dataclasses.replace(pair, origin="rectified"),)),
        dataclasses.replace(plain, reviews=(PeerReview("ann", "bob", 3),)),
        dataclasses.replace(plain, reviews=(PeerReview("ann", "bob", None),)),
        dataclasses.replace(plain, feedback=(Feedback("ann", "No."),)),
        dataclasses.replace(plain, mistake="3"),
    ]
    assert len({data_fingerprint(spec, [question], []) for question in made}) == len(made)


def test_more_than_the_world_has_is_refused(spec: SuiteSpec) -> None:
    uncovered = spec.benchmarks[0].model_copy(update={"task": "lab_uncovered", "items": 40})
    spec = with_world(spec, ("shortest_steps=1", "longest_steps=1"))
    with pytest.raises(DataError, match="expected 40 different questions"):
        load(spec.model_copy(update={"benchmarks": (uncovered,)}))


def count_words(question: str, rationale: str) -> int:
    return 4 + len(question.split()) + len(rationale.split())


def test_rows_longer_than_the_longest_stop_or_are_dropped(spec: SuiteSpec) -> None:
    with pytest.raises(DataError, match=r"lab, \w+, \d steps, rationale of 'ponder': expected a row"):
        load(spec, count_tokens=count_words, max_length_tokens=70)
    data = load(spec, count_tokens=count_words, max_length_tokens=70, on_fault="drop")
    assert data.excluded and len(data.training) + len(data.validation) < 12


def test_rows_of_pairs_are_held_against_the_longest_too(spec: SuiteSpec) -> None:
    def count(question: str, text: str) -> int:
        return 500 if text.startswith("Clearly") and text not in own else 20

    own = {r.text for q in generated_questions(spec) for r in q.rationales}
    with pytest.raises(
        DataError, match=r"(chosen|rejected) text of 'breezy': expected a row \(prompt and"
    ) as caught:
        load(spec, count_tokens=count, max_length_tokens=100)
    assert all("text of 'breezy'" in str(fault) for fault in caught.value.faults)


def test_a_users_rationales_replace_the_worlds(spec: SuiteSpec, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "question": f"Zoe has {n} shells. She gains {n}. How many shells does Zoe have?",
            "gold_answer": str(2 * n),
            "rationales": {"ann": f"The answer is {2 * n}.", "bob": f"The answer is {n}."},
        }
        for n in range(1, 9)
    ]
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    data = load(spec, rationales=file)
    assert data.training[0].teachers == ("ann", "bob") and not data.has_truth
    assert "teacher_facts" not in data.notes and len(data.benchmarks["lab_ring"]) == 4
    told = [{**row, "right": {"ann": True, "bob": False}} for row in rows]
    file.write_text("\n".join(map(json.dumps, told)))
    known = load(spec, rationales=file)
    assert known.has_truth and known.fingerprint != data.fingerprint
    assert known.notes["teacher_facts"]["teachers"]["bob"]["really_right"] == 0.0
    # One question that does not say it leaves the truth of the set unknown.
    file.write_text("\n".join(map(json.dumps, [rows[0], *told[1:]])))
    assert not load(spec, rationales=file).has_truth


def made(gold: str, family: str, *told: tuple[str, bool, int | None, int]) -> Question:
    rationales = tuple(
        Rationale(f"t{n}", text, RationaleTruth(right, wrong, steps, "plain"))
        for n, (text, right, wrong, steps) in enumerate(told)
    )
    return Question(f"{family}-{gold}", f"What of {family} {gold}?", gold, rationales, family=family)


FOUR = (
    # t1 is right by its last answer, by a wrong step.
    made("4", "ring", ("The answer is 4.", True, None, 2), ("No. The answer is 4.0", False, 1, 2),
         ("The answer is 5.", False, 2, 4)),
    made("lamp", "lookup", ("The answer is lamp.", True, None, 2), ("The answer is drum.", False, 2, 3),
         ("The answer is DRUM.", False, 2, 3)),
    made("7", "ring", ("The answer is 7.", True, None, 3), ("The answer is 8.", False, 3, 3),
         ("The answer is 9.", False, 1, 1)),
    made("3", "ring", ("A word.", False, 1, 1), ("The answer is 3", True, None, 1),
         ("The answer is 3", True, None, 1)),
)  # fmt: skip


def test_facts_about_teachers_count_what_they_say() -> None:
    facts = teacher_facts(FOUR)
    assert facts is not None
    assert facts["questions"] == 4
    assert facts["teachers"]["t0"] == {
        "really_right": 0.75,
        "by_family": {"ring": pytest.approx(2 / 3), "lookup": 1.0},
        "right_by_last_answer": 0.75,
        "mean_words": 3.5,
        "mean_steps": 2.0,
        "mean_first_wrong_step": 1.0,
    }
    second = facts["teachers"]["t1"]
    assert (second["really_right"], second["right_by_last_answer"]) == (0.25, 0.5)
    assert (second["mean_steps"], second["mean_first_wrong_step"]) == (2.25, 2.0)
    # 4 and 4.0 are one answer, lamp and LAMP too; a text without an answer differs from every answer.
    assert facts["disagreement"] == {"t0+t1": 0.75, "t0+t2": 1.0, "t1+t2": 0.5}
    # Two say drum and one says lamp; on the third question no wrong answer has more than the right one.
    assert facts["majority_wrong"] == 0.25


def test_facts_need_the_truth_of_every_rationale() -> None:
    question = dataclasses.replace(FOUR[0], rationales=(Rationale("t0", "The answer is 4."),))
    assert teacher_facts((question,)) is None and teacher_facts(()) is None


def test_facts_are_shown_as_tables() -> None:
    facts = teacher_facts(FOUR)
    assert facts is not None
    measured, disagreement = teacher_tables(facts)
    assert measured.head == (
        "Teacher", "Really right, %", "ring, %", "lookup, %", "Right by last answer, %", "Words", "Steps",
        "First wrong step",
    )  # fmt: skip
    assert measured.rows[1] == ("t1", "25.0", "33.3", "0.0", "50.0", "4.2", "2.2", "2.0")
    assert disagreement.rows[0] == ("t0", "", "75.0", "100.0")
    # A record is kept with sorted keys; the order of a pair's names does not matter.
    turned = {**facts, "disagreement": {"t1+t0": 0.75, "t2+t0": 1.0, "t2+t1": 0.5}}
    assert teacher_tables(turned)[1] == disagreement
    text = "\n".join(teachers_markdown(facts))
    assert "| t1 | 25.0 |" in text and "than the right one on 25.0 % of the questions." in text


def test_the_worlds_rates_are_what_is_measured() -> None:
    spec = with_world(
        load_spec("lab@1"), ("slip_rate=0.25", "ponder_error_rate=0.0", "strong_error_rate=0.0")
    )
    facts = teacher_facts(generated_questions(spec))
    assert facts is not None and facts["questions"] == WorldSettings().questions
    assert facts["teachers"]["ponder"]["really_right"] == 1.0
    assert facts["teachers"]["ponder"]["mean_first_wrong_step"] is None
    assert facts["teachers"]["breezy"]["really_right"] == pytest.approx(0.75, abs=0.06)
    assert facts["teachers"]["abacus"]["by_family"]["ring"] == 1.0
    assert facts["teachers"]["abacus"]["by_family"]["order"] < 0.5
    words = {name: own["mean_words"] for name, own in facts["teachers"].items()}
    assert max(words, key=words.__getitem__) == "ponder"
