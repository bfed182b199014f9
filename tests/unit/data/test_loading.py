"""Loading a suite's data: a user's own files, drop, overlap, limits, splits, fingerprint."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import DataError, OverlapError, UnknownNameError
from compact_bench.core.records import all_teachers
from compact_bench.data.files.sources import Sources
from compact_bench.data.suites import load_spec
from compact_bench.data.suites.loading import load_suite_data
from compact_bench.data.suites.suite_data import SuiteData

SUITE = """
name = "mine"
version = 1
title = "Mine"
student = "org/student"
[training]
file = "mine.jsonl"
validation_questions = 5
[profiles.smoke]
questions = 4
seeds = [1]
[profiles.lite]
questions = 12
seeds = [1]
[profiles.full]
seeds = [1]
[[benchmarks]]
task = "svamp"
title = "Items"
group = "in_distribution"
metric = "exact_match"
layout = "rows"
file = "items.jsonl"
[[benchmarks]]
task = "piqa"
title = "Choices"
group = "retention"
metric = "acc_norm"
layout = "rows"
file = "choices.jsonl"
"""


def rows(count: int = 30) -> list[dict[str, Any]]:
    return [
        {
            "id": f"t{n}",
            "question": f"Ann has {n} pears and eats one. How many are left?",
            "gold_answer": n - 1,
            "rationales": {"ann": f"{n} - 1. The answer is {n - 1}", "bob": f"Less. The answer is {n}"},
        }
        for n in range(1, count + 1)
    ]


def write_lines(file: Path, data: list[Any]) -> None:
    file.write_text("".join(json.dumps(item) + "\n" for item in data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lines(tmp_path / "mine.jsonl", rows())
    write_lines(tmp_path / "items.jsonl", [{"question": f"Add {n}.", "answer": str(n)} for n in range(9)])
    choices = [{"question": f"Which {n}?", "choices": ["a", "b", "c"], "label": n % 2} for n in range(6)]
    write_lines(tmp_path / "choices.jsonl", choices)
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path


def load(folder: Path, **settings: Any) -> SuiteData:
    sources = Sources(folder / "cache", offline=True)
    return load_suite_data(load_spec(folder / "suite.toml"), sources, **settings)


def test_a_seed_draws_its_questions_and_validation_stays(folder: Path) -> None:
    smoke, lite, full = (load(folder, profile=name) for name in ("smoke", "lite", "full"))
    assert [d.drawn for d in (smoke, lite, full)] == [4, 12, None]
    assert smoke.training == lite.training == full.training and len(full.training) == 25
    draws = [{q.id for q in lite.training_of(seed)} for seed in (1, 2, 3)]
    assert [len(draw) for draw in draws] == [12, 12, 12] and len(set(map(frozenset, draws))) == 3
    assert {q.id for q in smoke.training_of(2)} < draws[1], "a smaller draw of a seed is part of a larger one"
    order = [q.id for q in full.training]
    assert [q.id for q in lite.training_of(3)] == [i for i in order if i in draws[2]], "in hash order"
    assert full.training_of(1) == full.training_of(2) == full.training
    assert smoke.validation == full.validation and len(full.validation) == 5
    assert not {q.id for q in full.training} & {q.id for q in full.validation}
    assert [r.teacher for r in full.training[0].rationales] == ["ann", "bob"]
    assert (smoke.notes["drawn_questions"], "drawn_questions" in full.notes) == (4, False)
    assert len({d.fingerprint for d in (smoke, lite, full)}) == 3, "how many are drawn is part of the data"


def test_a_draw_depends_on_the_seed_and_the_question_alone(folder: Path) -> None:
    before = [q.id for q in load(folder, profile="lite").training_of(5)]
    write_lines(folder / "mine.jsonl", rows()[::-1])
    assert [q.id for q in load(folder, profile="lite").training_of(5)] == before
    # Of many seeds every question is drawn about as often: 12 of 25, by binomial limits far outside chance.
    data = load(folder, profile="lite")
    counts = Counter(q.id for seed in range(400) for q in data.training_of(seed))
    assert len(counts) == 25 and all(140 < count < 244 for count in counts.values())


def test_a_suite_may_keep_the_same_questions_for_all_seeds(folder: Path) -> None:
    (folder / "suite.toml").write_text(
        SUITE.replace("validation_questions = 5", "validation_questions = 5\nquestions_drawn = false")
    )
    smoke, full = load(folder, profile="smoke"), load(folder, profile="full")
    assert smoke.drawn is None and smoke.training == full.training[:4]
    assert smoke.training_of(1) == smoke.training_of(9) == smoke.training
    assert "drawn_questions" not in smoke.notes


def test_no_draw_of_a_ragged_set_is_without_a_teacher(folder: Path) -> None:
    uneven = rows()
    taught = {q.id for q in load(folder).training[:2]}
    for row in uneven:
        if row["id"] not in taught:
            del row["rationales"]["bob"]
    write_lines(folder / "mine.jsonl", uneven)
    text = SUITE.replace("validation_questions = 5", "validation_questions = 5\nragged = true")
    (folder / "suite.toml").write_text(text)
    data = load(folder, profile="smoke")
    for seed in range(50):
        draw = data.training_of(seed)
        assert len(draw) == 4 and all_teachers(draw) == all_teachers(data.training)


def test_notes_count_what_a_report_says(folder: Path) -> None:
    notes = load(folder, profile="smoke").notes
    assert (notes["questions"], notes["training_questions"], notes["validation_questions"]) == (30, 25, 5)
    assert notes["teachers"]["ann"] == {"rationales": 30, "wrong_by_last_answer": 0, "no_answer": 0}
    assert notes["teachers"]["bob"]["wrong_by_last_answer"] == 30
    assert notes["items"] == {"svamp": 9, "piqa": 6}
    assert notes["chance"] == {"piqa": pytest.approx(1 / 3)} and notes["majority"] == {"piqa": 0.5}
    assert notes["near_duplicates"] == {"svamp": 0, "piqa": 0}
    assert notes["lengths_checked"] is False
    json.dumps(notes, allow_nan=False)


def test_faults_stop_and_drop_lists_them(folder: Path) -> None:
    bad = rows()
    bad[3]["gold_answer"] = None
    bad[7]["rationales"] = {"ann": "x"}
    write_lines(folder / "mine.jsonl", bad)
    with pytest.raises(DataError, match="2 fault"):
        load(folder)
    data = load(folder, on_fault="drop")
    assert [f.question_id for f in data.excluded] == ["t4", "t8"]
    assert data.notes["questions"] == 28


def test_a_training_question_among_the_test_items_is_refused_or_dropped(folder: Path) -> None:
    items = [{"id": "twin", "question": "Ann has 3 pears, and eats one! How many are left", "answer": "2"}]
    write_lines(folder / "items.jsonl", [*items, {"question": "Add 1.", "answer": "1"}])
    with pytest.raises(OverlapError, match="question 't3': expected no benchmark item, got svamp item twin"):
        load(folder)
    data = load(folder, on_fault="drop")
    assert [f.question_id for f in data.excluded] == ["t3"]
    assert "t3" not in {q.id for q in (*data.training, *data.validation)}


def test_a_faulty_benchmark_row_stops_or_is_dropped(folder: Path) -> None:
    write_lines(folder / "items.jsonl", [{"question": "Add 1.", "answer": "1"}, {"question": "Add 2."}])
    with pytest.raises(DataError, match=r"items\.jsonl, row 2, field 'answer'"):
        load(folder)
    data = load(folder, on_fault="drop")
    assert len(data.benchmarks["svamp"]) == 1 and "row 2" in data.excluded[0].where


def count_words(question: str, rationale: str) -> int:
    return 4 + len(question.split()) + len(rationale.split())


def test_a_row_longer_than_the_longest_stops_or_is_dropped(folder: Path) -> None:
    long = rows()
    long[5]["rationales"]["bob"] = "word " * 100
    write_lines(folder / "mine.jsonl", long)
    with pytest.raises(DataError, match=r"row 6, rationale of 'bob': expected a row .* of at most 50 tokens"):
        load(folder, count_tokens=count_words, max_length_tokens=50)
    data = load(folder, count_tokens=count_words, max_length_tokens=50, on_fault="drop")
    assert [f.question_id for f in data.excluded] == ["t6"]
    assert data.notes["lengths_checked"] is True
    assert load(folder, count_tokens=count_words, max_length_tokens=500).excluded == ()


def test_a_suites_own_limit_leaves_questions_out_and_never_moves_the_split(folder: Path) -> None:
    before = load(folder)
    victim = before.training[2]
    long = rows()
    next(r for r in long if r["id"] == victim.id)["rationales"]["bob"] = "word " * 100
    write_lines(folder / "mine.jsonl", long)
    limited = SUITE.replace("validation_questions", "max_rationale_tokens = 60\nvalidation_questions")
    (folder / "suite.toml").write_text(limited)
    data = load(folder, count_tokens=count_words)
    assert [f.question_id for f in data.excluded] == [victim.id]
    assert "expected a rationale of at most 60 tokens, got 100" in data.excluded[0].problem
    assert [q.id for q in data.training] == [q.id for q in before.training if q.id != victim.id]
    assert data.validation == before.validation


def test_too_few_questions_for_the_validation_split(folder: Path) -> None:
    write_lines(folder / "mine.jsonl", rows(5))
    with pytest.raises(DataError, match="expected more than 5 questions, got 5"):
        load(folder)


def test_the_fingerprint_changes_with_content_and_not_with_prose(folder: Path) -> None:
    first = load(folder, profile="smoke")
    assert load(folder, profile="smoke").fingerprint == first.fingerprint
    assert load(folder, profile="smoke", benchmarks=["piqa"]).fingerprint == first.fingerprint
    assert load(folder, profile="lite").fingerprint != first.fingerprint
    (folder / "suite.toml").write_text(SUITE.replace('title = "Mine"', 'title = "Other words"'))
    assert load(folder, profile="smoke").fingerprint == first.fingerprint
    changed = rows()
    next(r for r in changed if r["id"] == first.training[0].id)["rationales"]["bob"] += " "
    write_lines(folder / "mine.jsonl", changed)
    second = load(folder, profile="smoke").fingerprint
    assert second != first.fingerprint
    write_lines(folder / "items.jsonl", [{"question": "Add 1.", "answer": "1"}])
    assert load(folder, profile="smoke").fingerprint not in (first.fingerprint, second)


def test_only_the_benchmarks_asked_for_are_read(folder: Path) -> None:
    (folder / "items.jsonl").write_text("not JSON\n")
    with pytest.raises(DataError, match="not JSON"):
        load(folder)
    assert list(load(folder, benchmarks=["piqa"]).benchmarks) == ["piqa"]


def test_another_rationale_file_replaces_the_suites(folder: Path) -> None:
    other = folder / "other.json"
    made = [{"Question": f"Take {n} from {n}.", "CoT": ["zero", "none"], "Answer": "0"} for n in range(20)]
    other.write_text(json.dumps(made))
    data = load(folder, rationales=other, profile="full")
    assert data.training[0].teachers == ("teacher_1", "teacher_2")
    # Two sevenths of a small set, whatever number was made for the suite's own.
    assert len(data.validation) == 5 and len(data.training) == 15
    named = load(folder, rationales=str(other), teachers=["x", "y"])
    assert named.training[0].teachers == ("x", "y")
    assert named.fingerprint != data.fingerprint


def test_names_that_do_not_exist(folder: Path) -> None:
    with pytest.raises(UnknownNameError, match="profile 'lit'"):
        load(folder, profile="lit")
    with pytest.raises(UnknownNameError, match="benchmark task 'piqua'"):
        load(folder, benchmarks=["piqua"])


def test_a_file_that_changes_after_the_suite_was_read(folder: Path) -> None:
    spec = load_spec(folder / "suite.toml")
    write_lines(folder / "mine.jsonl", rows(20))
    with pytest.raises(DataError, match=r"mine\.jsonl changed"):
        load_suite_data(spec, Sources(folder / "cache", offline=True))


def test_upstream_files_that_are_not_at_hand_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_suite_data(load_spec("svamp"), Sources(tmp_path, offline=True))
    assert len(caught.value.faults) == 12
    assert "compact-bench prefetch" in str(caught.value)
