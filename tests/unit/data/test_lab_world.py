"""The lab's world, version 1 where they differ: answers, splits, bytes and truth, against a second solver."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest

from compact_bench.core.answers import extract_answer, same_answer
from compact_bench.core.errors import DataError, UnknownNameError
from compact_bench.core.records import Question, Rationale, fingerprint
from compact_bench.data.lab import TEACHERS, WorldSettings, benchmark_rows, training_questions
from compact_bench.data.lab.student.pretraining import pretraining_turns
from compact_bench.data.lab.student.settings import PretrainingSettings
from compact_bench.data.lab.student.tokenizer import lab_tokenizer
from compact_bench.data.lab.world.editions import EDITIONS
from compact_bench.data.lab.world.families import FAMILIES
from compact_bench.data.lab.world.problems import right_chain
from compact_bench.data.lab.world.questions import neutral_passages, split_of
from compact_bench.data.lab.world.skills import SKILLS, skill_item
from compact_bench.data.lab.world.teachers import seeded
from compact_bench.data.lab.world.words import vocabulary
from compact_bench.data.suites import load_spec
from tests.unit.lab_solver import solve

COVERED = EDITIONS[1].covered
TASKS = tuple(benchmark.task for benchmark in load_spec("lab@1").benchmarks)
GENERATED = [task for task in TASKS if task.removeprefix("lab_") not in SKILLS]


def steps_of(rationale: Rationale) -> list[str]:
    """The steps that a rationale says, read from its text."""
    text = rationale.text.rpartition("The answer is")[0]
    for filler in (
        r"Okay, let us think\.",
        r"Wait, check: [^.]*\.",
        r"Hmm, yes\.",
        r"Therefore we are done\.",
    ):
        text = re.sub(filler, "", text)
    text = text.replace(", and ", ". ")
    parts = [part.strip() for part in text.split(".") if part.strip()]
    openings = ("We see that ", "Then ", "Clearly ", "First ", "So ")
    return [next((p.removeprefix(o) for o in openings if p.startswith(o)), p) for p in parts]


def test_ten_thousand_answers_are_derived_again() -> None:
    for family, number in itertools.product(FAMILIES.values(), range(2000)):
        problem = family.sample(seeded("test", family.name, number), 1 + number % 7)
        chain = right_chain(family, problem)
        answer, steps = solve(problem.text)
        assert (chain.answer, list(chain.steps)) == (answer, steps), problem.text
        assert chain.first_wrong_step is None


@pytest.fixture(scope="module")
def pool() -> tuple[Question, ...]:
    return training_questions(WorldSettings(questions=2000))


def test_every_rationale_is_as_true_as_its_record_says(pool: tuple[Question, ...]) -> None:
    wrong: Counter[str] = Counter()
    for question in pool:
        answer, true = solve(question.text)
        assert question.gold_answer == answer
        for rationale in question.rationales:
            truth, said = rationale.truth, steps_of(rationale)
            assert truth is not None and truth.steps == len(said)
            differs = [i for i, (a, b) in enumerate(itertools.zip_longest(said, true), 1) if a != b]
            assert truth.first_wrong_step == (differs[0] if differs else None), rationale.text
            assert truth.is_right == same_answer(extract_answer(rationale.text), answer), rationale.text
            assert truth.is_right == (not differs)
            wrong[rationale.teacher] += not truth.is_right
    assert set(wrong) == set(TEACHERS)


def test_steps_after_a_slip_follow_from_it(pool: tuple[Question, ...]) -> None:
    """What breezy says after its one wrong step is right again, seen from there."""
    seen = 0
    for question in pool:
        rationale = next(r for r in question.rationales if r.teacher == "breezy")
        said, (_, true) = steps_of(rationale), solve(question.text)
        assert rationale.truth is not None
        slip = rationale.truth.first_wrong_step
        if question.family != "ring" or slip is None:
            continue
        seen += 1
        value = int(question.text.split(" has ")[1][0])
        for number, (step, right) in enumerate(zip(said, true, strict=True), 1):
            _, verb, amount, _, after = step.split()
            holds = (value + (int(amount) if verb == "gains" else -int(amount))) % 10 == int(after)
            assert holds == (number != slip) and step.split()[:4] == right.split()[:4]
            value = int(after)
    assert seen > 50


def test_teachers_err_as_often_as_asked(pool: tuple[Question, ...]) -> None:
    world = WorldSettings(questions=2000)
    share: dict[tuple[str, str], list[bool]] = {}
    for question in pool:
        for r in question.rationales:
            assert r.truth is not None
            share.setdefault((r.teacher, question.family), []).append(not r.truth.is_right)
    rates = {key: sum(found) / len(found) for key, found in share.items()}
    for family in COVERED:
        assert abs(rates["breezy", family] - world.slip_rate) < 0.07
        assert abs(rates["ponder", family] - world.ponder_error_rate) < 0.03
        strong, weak = ("abacus", "atlas") if family in ("ring", "count") else ("atlas", "abacus")
        assert rates[strong, family] < 0.07
        # A wrong rule sometimes gives what is right.
        assert world.weak_error_rate - 0.15 < rates[weak, family] < world.weak_error_rate + 0.07


def test_a_higher_rate_makes_more_rationales_wrong_and_changes_no_other() -> None:
    low, high = (training_questions(WorldSettings(questions=200, slip_rate=rate)) for rate in (0.2, 0.6))
    for a, b in zip(low, high, strict=True):
        assert a.text == b.text
        for before, after in zip(a.rationales, b.rationales, strict=True):
            assert before.truth is not None
            if before.teacher != "breezy" or not before.truth.is_right:
                assert before == after


def test_a_rate_of_zero_leaves_no_error_and_one_no_right_rationale() -> None:
    none = WorldSettings(
        questions=80, slip_rate=0, weak_error_rate=0, strong_error_rate=0, ponder_error_rate=0
    )
    assert all(r.truth and r.truth.is_right for q in training_questions(none) for r in q.rationales)
    always = training_questions(WorldSettings(questions=80, slip_rate=1))
    breezy = [r for q in always for r in q.rationales if r.teacher == "breezy"]
    assert not any(r.truth and r.truth.is_right for r in breezy)


def test_no_question_stands_in_two_splits(pool: tuple[Question, ...]) -> None:
    test = {row["question"] for task in GENERATED for row in benchmark_rows(WorldSettings(), task, 300)}
    lists = {
        row["question"]
        for task in ("lab_copy", "lab_reverse")
        for row in benchmark_rows(WorldSettings(), task, 150)
    }
    training = {question.text for question in pool}
    turns = itertools.islice(pretraining_turns(PretrainingSettings()), 20_000)
    pretraining = {turn.question for turn in turns if turn.kind not in ("opposites", "categories")}
    assert not training & test and not training & pretraining and not (test | lists) & pretraining
    assert len(training) == 2000 and {split_of(text) for text in test | lists} == {"test"}


def test_same_seed_same_bytes_and_another_seed_others() -> None:
    def marks(seed: int) -> str:
        world = WorldSettings(seed=seed, questions=60)
        rows = {task: benchmark_rows(world, task, 40) for task in TASKS}
        told = [[q.id, q.text, [r.text for r in q.rationales]] for q in training_questions(world)]
        return fingerprint([rows, told, neutral_passages()])

    # Written down, so that a change of the world is noticed: it changes every result of the suite.
    assert marks(1) == marks(1) == "d8bd71e6bfb0d6ec"
    assert marks(2) != marks(1)


@pytest.mark.parametrize("task", TASKS)
def test_rows_of_a_task(task: str) -> None:
    rows = benchmark_rows(WorldSettings(), task, 120)
    assert len({row["id"] for row in rows}) == 120 and [r["id"] for r in rows] == sorted(
        r["id"] for r in rows
    )
    for row in rows:
        if "choices" in row:
            assert len(set(row["choices"])) == 4 and row["choices"][row["label"]]
        elif task in GENERATED:
            assert solve(row["question"])[0] == row["answer"]
        else:
            words = row["question"].rstrip(".").split(": ")[1].split()
            assert row["answer"].split() == (words if task == "lab_copy" else words[::-1])


def test_longer_chains_are_longer_and_the_uncovered_family_is_not_trained(pool: tuple[Question, ...]) -> None:
    longer = [len(solve(row["question"])[1]) for row in benchmark_rows(WorldSettings(), "lab_longer", 80)]
    trained = [len(solve(question.text)[1]) for question in pool]
    assert set(trained) == {2, 3, 4} and set(longer) == {5, 6}
    assert {q.family for q in pool} == set(COVERED)
    assert all("ball" in row["question"] for row in benchmark_rows(WorldSettings(), "lab_uncovered", 20))


def test_every_word_is_a_token_and_texts_come_back(pool: tuple[Question, ...]) -> None:
    tokenizer = lab_tokenizer()
    assert 150 < len(vocabulary()) < 400 and len(tokenizer) == len(vocabulary()) + 4
    texts = [text for q in pool[:300] for text in (q.text, *(r.text for r in q.rationales))]
    texts += [
        skill_item(skill, seeded("words", n)).text
        for skill in ("copy", "reverse", "opposites", "categories")
        for n in range(50)
    ]
    for text in [*texts, *neutral_passages()]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids, text
        assert tokenizer.decode(ids).replace(" :", ":") == text


def test_what_cannot_be_had_is_said() -> None:
    with pytest.raises(UnknownNameError, match="lab_ring"):
        benchmark_rows(WorldSettings(), "lab_rings", 5)
    with pytest.raises(DataError, match=r"expected 100000 different questions, the world has about \d+"):
        benchmark_rows(WorldSettings(shortest_steps=1, longest_steps=1), "lab_uncovered", 100_000)
    with pytest.raises(ValueError, match="shortest_steps <= longest_steps"):
        WorldSettings(shortest_steps=4, longest_steps=3)
