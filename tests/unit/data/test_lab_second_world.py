"""Version 2 of the lab's world: answers and truth against a second solver, its dials; version 1 as it was."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter

import pytest

from compact_bench.core.answers import extract_answer, same_answer
from compact_bench.core.records import Question, Rationale, RationaleTruth, fingerprint
from compact_bench.data.lab import WorldSettings, benchmark_rows, training_questions
from compact_bench.data.lab.student.pretraining import pretraining_turns
from compact_bench.data.lab.student.settings import settings_of
from compact_bench.data.lab.student.tokenizer import lab_tokenizer
from compact_bench.data.lab.world.editions import EDITIONS
from compact_bench.data.lab.world.families import FAMILIES, TWO_RULES
from compact_bench.data.lab.world.problems import right_chain
from compact_bench.data.lab.world.questions import split_of
from compact_bench.data.lab.world.skills import FACTS, facts
from compact_bench.data.lab.world.teachers import STYLES, seeded
from compact_bench.data.lab.world.words import NAMES
from compact_bench.data.suites import load_spec
from tests.unit.data.test_lab_world import steps_of
from tests.unit.lab_solver import solve

EDITION = EDITIONS[2]
SAID, ROWS = "0d54bf0cfff734a0", "7e47487045ee5ad7"
TASKS = [benchmark.task for benchmark in load_spec("lab").benchmarks]


def world(**changes: object) -> WorldSettings:
    """Version 2 with no dial turned and few questions."""
    return WorldSettings.model_validate({"version": 2, "questions": 240, "weak_error_rate": 0.9} | changes)


def kin(text: str) -> str:
    """A question with the first names of the list in place of its own, which are the same for its split."""
    people = dict.fromkeys(word for word in re.findall(r"\w+", text) if word in NAMES)
    if " so " in text or text.startswith("Say ") or not people:
        return text
    places = {name: f"{{{number}}}" for number, name in enumerate(people)}
    marked = re.sub(r"\w+", lambda m: places.get(m[0], m[0]), text)
    return text if " gains " in text or " loses " in text else marked.format(*NAMES)


def truth_of(rationale: Rationale) -> RationaleTruth:
    assert rationale.truth is not None
    return rationale.truth


def told(settings: WorldSettings) -> list[Rationale]:
    return [r for question in training_questions(settings) for r in question.rationales]


def test_version_1_is_bit_by_bit_what_it_was() -> None:
    """Digests of before there was a version 2: questions with all that is said of them, and items."""
    rows = [benchmark_rows(WorldSettings(), b.task, 100) for b in load_spec("lab@1").benchmarks]
    said = [dataclasses.asdict(question) for question in training_questions(WorldSettings())]
    assert (fingerprint(said), fingerprint(rows)) == (SAID, ROWS)


def test_answers_and_steps_are_derived_again() -> None:
    names = (*EDITION.covered, *EDITION.uncovered, "ring")
    for name, number in itertools.product(names, range(600)):
        problem = FAMILIES[name].sample(seeded("test", name, number), 1 + number % 7)
        chain = right_chain(FAMILIES[name], problem)
        assert (chain.answer, list(chain.steps)) == solve(problem.text), problem.text
        if name not in ("swap", "ring"):
            other = TWO_RULES[name].other_rule(problem)
            assert other.answer != chain.answer and other.first_wrong_step is not None
            # Who misreads a sentence takes the step that the misread one asks for.
            said, true = ([step.partition(" so ")[0] for step in c.steps] for c in (other, chain))
            assert all(a != b for a, b in zip(said, true, strict=True))
            wrong = FAMILIES[name].wrong_rule(problem)
            assert (wrong.answer == chain.answer) == (wrong.first_wrong_step is None)
            assert wrong.first_wrong_step is not None or number % 7 == 0
            misread = [step.partition(" so ")[0].split()[-2] for step in wrong.steps]
            assert len(set(misread)) == 1


@pytest.mark.parametrize("style", [{}, {"drawn_styles": 1.0}, {"one_style": True}])
def test_every_rationale_is_as_true_as_its_record_says(style: dict[str, object]) -> None:
    settings = world(**style, right_answer_wrong_step_rate=0.4, shared_mistake=0.5, competence=0.3)
    kinds: Counter[str] = Counter()
    for question in training_questions(settings):
        answer, true = solve(question.text)
        for rationale in question.rationales:
            truth, said = truth_of(rationale), steps_of(rationale)
            right_answer = same_answer(extract_answer(rationale.text), answer)
            if truth.is_right and truth.steps == 1:
                moves = " and ".join([*(s.partition(" so ")[0] for s in true[:-1]), true[-1]])
                assert said == [moves] and right_answer
                kinds["condensed"] += 1
                continue
            differs = [n for n, (a, b) in enumerate(zip(said, true, strict=True), 1) if a != b]
            assert truth.first_wrong_step == (differs[0] if differs else None)
            assert truth.is_right == (not differs) and truth.is_right <= right_answer
            kinds["right" if truth.is_right else "mended" if right_answer else "wrong"] += 1
    assert set(kinds) == {"right", "condensed", "wrong", "mended"} and min(kinds.values()) > 30


def test_teachers_err_as_their_edition_says() -> None:
    rates = {"strong": 0.1, "middling": 0.4, "weak": 0.9}
    errors = {"strong_error_rate": 0.1, "ponder_error_rate": 0.1, "slip_rate": 0.8}
    settings = world(questions=800, shortest_steps=3, **errors)
    share: dict[tuple[str, str], list[bool]] = {}
    for question in training_questions(settings):
        for r in question.rationales:
            share.setdefault((r.teacher, question.family), []).append(not truth_of(r).is_right)
    for (teacher, family), wrong in share.items():
        how = "strong" if family in EDITION.strong[teacher] else "middling"
        weak = teacher in EDITION.weak_teachers(family)
        assert weak != (how == "strong" or EDITION.is_middling(teacher, family))
        rate = 0.8 if weak and teacher == "breezy" else rates["weak" if weak else how]
        assert abs(sum(wrong) / len(wrong) - rate) < 0.1, (teacher, family)
    for family in EDITION.covered:
        assert len(EDITION.weak_teachers(family)) == 2
        assert sum(family in families for families in EDITION.strong.values()) == 1
        assert sum(family in families for families in EDITION.middling.values()) == 1


@pytest.mark.parametrize(
    "dial",
    [
        "strong_error_rate",
        "middling_error_rate",
        "weak_error_rate",
        "ponder_error_rate",
        "slip_rate",
        "shared_mistake",
    ],
)
def test_a_higher_rate_leaves_what_is_wrong_already_wrong(dial: str) -> None:
    low, high = (told(world(**{dial: rate, "shared_mistake": 0.0} | {dial: rate})) for rate in (0.2, 0.7))
    wrong = [(not truth_of(a).is_right, not truth_of(b).is_right) for a, b in zip(low, high, strict=True)]
    if dial != "shared_mistake":
        assert all(b for a, b in wrong if a) and sum(b for _, b in wrong) > sum(a for a, _ in wrong)
        changed = [a != b for a, b in zip(low, high, strict=True)]
        assert all(b and not a for (a, b), differs in zip(wrong, changed, strict=True) if differs)


def test_a_shared_mistake_is_the_same_answer_of_both_weak_teachers() -> None:
    def same(rho: float) -> float:
        agree, both = 0, 0
        for question in training_questions(world(shared_mistake=rho, slip_rate=0.9)):
            weak = EDITION.weak_teachers(question.family)
            pair = [r for r in question.rationales if r.teacher in weak]
            if not any(truth_of(r).is_right for r in pair):
                both += 1
                agree += len({extract_answer(r.text) for r in pair}) == 1
        return agree / both

    assert same(0.0) < 0.4 and same(1.0) == 1.0


def test_a_right_answer_after_a_wrong_step_changes_nothing_but_that() -> None:
    plain, mended = told(world()), told(world(right_answer_wrong_step_rate=1.0))
    for a, b in zip(plain, mended, strict=True):
        assert truth_of(a).first_wrong_step == truth_of(b).first_wrong_step
        assert a == b or not truth_of(a).is_right
    gold = {q.text: q.gold_answer for q in training_questions(world())}
    pool = training_questions(world(right_answer_wrong_step_rate=1.0))
    assert all(same_answer(extract_answer(r.text), gold[q.text]) for q in pool for r in q.rationales)


def test_styles_are_tied_drawn_or_one() -> None:
    tied, half, drawn = (told(world(drawn_styles=share)) for share in (0.0, 0.5, 1.0))
    one = told(world(one_style=True))
    assert all(truth_of(r).style == STYLES[r.teacher] for r in tied)
    counts = Counter((r.teacher, truth_of(r).style) for r in drawn)
    assert len(counts) == 16 and min(counts.values()) > 240 / 4 - 30
    assert {truth_of(r).style for r in one} == {"connected"}
    assert all(b in (a, c) for a, b, c in zip(tied, half, drawn, strict=True)) and half not in (tied, drawn)
    # What is true of a rationale does not depend on how it is told.
    assert [truth_of(r).first_wrong_step for r in tied] == [truth_of(r).first_wrong_step for r in drawn]


def test_the_students_words_and_splits() -> None:
    """What pretraining may say: no question of another split, every word known."""
    tokenizer = lab_tokenizer(2)
    settings = settings_of(2)
    # Choices ask for what was taught; only what is generated must be new.
    rows = [row for task in TASKS for row in benchmark_rows(world(), task, 50) if "choices" not in row]
    test = {row["question"] for row in rows}
    training = {question.text for question in training_questions(world())}
    for stage in range(len(settings.stages)):
        for turn in itertools.islice(pretraining_turns(settings, stage), 4000):
            text = f"{turn.question} {turn.reply}"
            assert tokenizer.unk_token_id not in tokenizer(text, add_special_tokens=False)["input_ids"], text
            assert turn.question not in training
            if turn.kind.startswith(("worked", "direct")) or turn.kind in ("copy", "reverse"):
                assert turn.question not in test and split_of(kin(turn.question)) == "pretraining"
    said: list[Question] = list(training_questions(world(drawn_styles=1.0, competence=0.3)))
    for question in said:
        for text in (question.text, *(r.text for r in question.rationales)):
            assert tokenizer.unk_token_id not in tokenizer(text, add_special_tokens=False)["input_ids"]


def test_the_student_is_told_the_truth_of_every_family() -> None:
    """Of all families: wrong rules come from teachers alone."""
    settings = settings_of(2)
    for stage in range(len(settings.stages)):
        kinds: Counter[str] = Counter()
        for turn in itertools.islice(pretraining_turns(settings, stage), 4000):
            if turn.kind.startswith(("worked", "direct")):
                assert extract_answer(turn.reply) == solve(turn.question)[0], turn.question
                kinds[turn.kind.split()[1]] += 1
        assert set(kinds) == set(settings.practice) >= {*EDITION.covered, *EDITION.uncovered}


@pytest.mark.parametrize("task", TASKS)
def test_rows_of_a_task(task: str) -> None:
    rows = benchmark_rows(world(), task, 50)
    assert len({row["id"] for row in rows}) == 50
    for row in rows:
        if "choices" in row:
            assert len(set(row["choices"])) == 4
        elif task.removeprefix("lab_") in (*EDITION.covered, *EDITION.uncovered, "chains"):
            answer, steps = solve(row["question"])
            assert row["answer"] == answer and (len(steps) in (5, 6)) == (task == "lab_chains")


def test_facts_are_sixty_and_told_a_few_times_late() -> None:
    known = facts()
    assert len({fact.text for fact in known}) == FACTS == 60
    settings = settings_of(2)
    fewest, most = settings.stages[-1].facts_seen
    assert not any(stage.facts_seen[1] for stage in settings.stages[:-1]) and fewest >= 1
    last = len(settings.stages) - 1
    drawn = settings.stages[-1].steps * settings.batch_rows
    turns = itertools.islice(pretraining_turns(settings, last), drawn + FACTS * most)
    counts = Counter(turn.question for turn in turns if turn.kind == "facts")
    assert set(counts) == {fact.text for fact in known}
    assert fewest <= min(counts.values()) and max(counts.values()) <= most
