"""Methods that select rationales, between known trainings: uniform, one teacher, and each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from compact_bench.core.answers import extract_answer, same_answer
from compact_bench.core.records import Question, Rationale
from compact_bench.methods.contract import SuiteInfo, refusal
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedQuestion, encode_question
from compact_bench.training.objectives import (
    SelectedBranches,
    SupervisedObjective,
    draw_teacher,
    keep_teachers,
)
from tests import tiny
from tests.invariant.support import Trained, same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]
Load = Callable[..., Student]
SELECTIONS = ("random_teacher", "right_filter", "majority_filter", "shortest_rationale", "curriculum")


def answering(answers: Sequence[str], number: int = 0, gold: str = "7") -> Question:
    """A question whose teachers (ada, bob, ...) give these answers; "" states none."""
    ends = [f"The answer is {answer}." if answer else "Thus it holds." for answer in answers]
    texts = [f"So we add {k}. {end}" for k, end in enumerate(ends)]
    return Question(
        id=f"asked-{number}",
        text=f"Tom has {number} apples. How many apples does Tom have now?",
        gold_answer=gold,
        rationales=tuple(Rationale(t, x) for t, x in zip(tiny.TEACHERS, texts, strict=False)),
        source=f"made, row {number}",
    )


def all_right(count: int, teachers: int) -> tuple[Question, ...]:
    """Questions whose every rationale states the gold answer."""
    made = []
    for question in tiny.questions(count, teachers):
        told = []
        for r in question.rationales:
            states = same_answer(extract_answer(r.text), question.gold_answer) and "The answer is" in r.text
            told.append(r if states else replace(r, text=f"Let x. The answer is {question.gold_answer}."))
        made.append(replace(question, rationales=tuple(told)))
    return tuple(made)


def used(trained: Trained, question: str) -> set[str]:
    """Teachers of a question that were computed at any step."""
    steps = trained.steps
    return set(steps.loc[steps["question_id"] == question, "teacher"])


@pytest.mark.parametrize("method", (*SELECTIONS, "all_rationales"))
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_with_one_teacher_it_is_that_teacher(
    student_folder: Folders, tmp_path: Path, method: str, reduction: str
) -> None:
    folder, questions = student_folder("llama", "chatml"), all_right(6, teachers=1)
    quick, shared = settings(learning_rate=5e-4), {"sft_reduction": reduction}
    one = train_tiny(folder, tmp_path / "one", questions, quick, method, shared)
    single = train_tiny(
        folder, tmp_path / "single", questions, quick, "single_teacher", {"teacher": "ada", **shared}
    )
    same_training(one, single)
    same_tables(one, single)
    for count in ("branches", "supervised_tokens", "total_tokens"):
        assert getattr(one.report, count) == getattr(single.report, count)


@pytest.mark.parametrize(
    ("method", "config"),
    [("right_filter", {}), ("majority_filter", {}), ("curriculum", {"initial_share": 1.0})],
)
def test_where_all_may_be_used_it_is_uniform(
    student_folder: Folders, tmp_path: Path, method: str, config: dict[str, Any]
) -> None:
    folder, questions = student_folder("llama", "chatml"), all_right(6, teachers=3)
    chosen = train_tiny(folder, tmp_path / "chosen", questions, settings(), method, config)
    uniform = train_tiny(folder, tmp_path / "uniform", questions, settings(), "uniform")
    same_training(chosen, uniform)
    same_tables(chosen, uniform)
    assert chosen.report.total_tokens == uniform.report.total_tokens


@pytest.mark.parametrize("method", SELECTIONS)
def test_teacher_order_and_batches_do_not_matter(
    student_folder: Folders, tmp_path: Path, method: str
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(7, teachers=3)
    turned = tuple(replace(q, rationales=q.rationales[::-1]) for q in questions)
    one = train_tiny(folder, tmp_path / "one", questions, settings(), method)
    two = train_tiny(folder, tmp_path / "two", turned, settings(questions_per_step=4, accumulation=1), method)
    same_training(one, two)
    same_tables(one, two)
    assert one.report.total_tokens == two.report.total_tokens


def test_the_right_filter_is_the_oracle_where_answers_tell(student_folder: Folders, tmp_path: Path) -> None:
    questions = [answering(a, n) for n, a in enumerate((["7", "8", "7"], ["8", "7", ""], ["8", "9", ""]))]
    told = tiny.with_truth(questions, lambda n, k: questions[n].rationales[k].text.endswith("is 7."))
    folder, together = student_folder("llama", "chatml"), settings(questions_per_step=4, accumulation=1)
    filtered, oracle = (
        train_tiny(folder, tmp_path / name, told, together, name) for name in ("right_filter", "oracle")
    )
    same_training(filtered, oracle)
    assert used(filtered, "asked-0") == {"ada", "cyd"}
    assert used(filtered, "asked-1") == {"bob"}
    assert used(filtered, "asked-2") == set(), "nothing usable costs nothing beside a question that has some"
    assert filtered.report.total_tokens < oracle.report.total_tokens


def test_nothing_usable_is_a_loss_of_zero(student_folder: Folders, tmp_path: Path) -> None:
    questions = [answering(["8", "9"], n) for n in range(4)]
    trained = train_tiny(student_folder("llama", "chatml"), tmp_path, questions, settings(), "right_filter")
    assert trained.losses == [0.0, 0.0]
    assert [log["gradient_norm"] for log in trained.logs] == [0.0, 0.0]
    assert set(trained.steps["teacher_weight"]) == {0.0}
    assert trained.report.branches == len(trained.steps) == 8


@pytest.mark.parametrize(
    ("answers", "kept", "strict"),
    [
        (["3", "3", "5"], {"ada", "bob"}, {"ada", "bob"}),
        (["3", "5", "3.0"], {"ada", "cyd"}, {"ada", "cyd"}),
        (["3", "5", "5", "3"], {"ada", "bob", "cyd", "dee"}, set()),
        (["3", "5", "6"], {"ada", "bob", "cyd"}, set()),
        (["", "5", ""], {"bob"}, {"bob"}),
        (["", "", ""], set(), set()),
        (["True", "true", "False"], {"ada", "bob"}, {"ada", "bob"}),
    ],
)
def test_majorities(
    student_folder: Folders, tmp_path: Path, answers: list[str], kept: set[str], strict: set[str]
) -> None:
    # The second question keeps the forward pass from being empty.
    questions = [answering(answers, 0), answering(["1", "1"], 1)]
    together = settings(questions_per_step=2, accumulation=1, epochs=1)
    folder = student_folder("llama", "chatml")
    found = train_tiny(folder, tmp_path / "keep", questions, together, "majority_filter")
    assert used(found, "asked-0") == kept
    dropped = train_tiny(folder, tmp_path / "drop", questions, together, "majority_filter", {"ties": "drop"})
    assert used(dropped, "asked-0") == strict
    assert used(dropped, "asked-1") == {"ada", "bob"}


def test_the_majority_reads_no_gold_answer(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=3)
    other = tuple(replace(q, gold_answer="12345") for q in questions)
    one, two = (
        train_tiny(folder, tmp_path / name, asked, settings(), "majority_filter")
        for name, asked in (("one", questions), ("two", other))
    )
    assert one.losses == two.losses


def test_the_shortest_is_the_shortest(student_folder: Folders, tmp_path: Path) -> None:
    # Who writes briefly changes from question to question.
    questions = [
        replace(q, rationales=tuple(map(Rationale, q.teachers[n % 4 :] + q.teachers[: n % 4], texts)))
        for n, q in enumerate(tiny.questions(6, teachers=4))
        for texts in [[r.text for r in q.rationales]]
    ]
    trained = train_tiny(
        student_folder("llama", "chatml"), tmp_path, questions, settings(), "shortest_rationale"
    )
    for question in questions:
        encoded = encode_question(trained.student, question)
        (name,) = used(trained, question.id)
        (chosen,) = keep_teachers(encoded, [name]).branches
        assert chosen.rationale_tokens == min(b.rationale_tokens for b in encoded.branches)
    assert trained.steps["teacher"].nunique() > 1


def test_random_teachers_are_drawn_by_seed_step_and_question(student_folder: Folders, tmp_path: Path) -> None:
    questions = tiny.questions(8, teachers=3)
    trained = train_tiny(
        student_folder("llama", "chatml"), tmp_path, questions, settings(epochs=6), "random_teacher"
    )
    steps = trained.steps
    assert trained.report.branches == len(steps) == 48
    assert set(steps["teacher_weight"]) == {1.0}
    assert steps.groupby("question_id")["teacher"].nunique().max() > 1, "drawn once, not at every step"
    assert steps.groupby("step")["teacher"].nunique().max() > 1, "drawn per step, not per question"


def test_draws_are_even_and_know_no_order() -> None:
    names = ["ada", "bob", "cyd"]
    drawn = [draw_teacher(names, 3, step, f"q{n}") for step in range(60) for n in range(20)]
    assert drawn == [draw_teacher(names[::-1], 3, step, f"q{n}") for step in range(60) for n in range(20)]
    assert drawn != [draw_teacher(names, 4, step, f"q{n}") for step in range(60) for n in range(20)]
    for name in names:
        # 1200 draws with chance 1/3: four standard deviations are 0.054.
        assert drawn.count(name) / len(drawn) == pytest.approx(1 / 3, abs=0.055)


def test_the_mean_over_draws_is_uniform(load_tiny: Load) -> None:
    student, train = load_tiny("llama", "chatml"), settings().train
    inner = SupervisedObjective(train)
    encoded = [inner.encode(student, q) for q in tiny.questions(2, teachers=2)]

    class Always:
        """One fixed teacher."""

        def __init__(self, name: str) -> None:
            self.name = name

        def choose(self, question: EncodedQuestion, step: int, total: int) -> Sequence[str]:
            return (self.name,)

    with torch.no_grad():
        each = [SelectedBranches(inner, Always(name)).loss(student, encoded) for name in ("ada", "bob")]
        whole = inner.loss(student, encoded)
    assert float(sum(found.loss for found in each) / 2) == pytest.approx(float(whole.loss), rel=1e-5)
    seen = each[0].seen
    assert seen is not None
    assert [b.teacher for q in seen for b in q.branches] == ["ada", "ada"]


def test_all_rationales_costs_what_uniform_does(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(10, teachers=3)
    pairs, uniform = (
        train_tiny(folder, tmp_path / name, questions, settings(), name)
        for name in ("all_rationales", "uniform")
    )
    for count in ("optimiser_steps", "branches", "supervised_tokens", "total_tokens"):
        assert getattr(pairs.report, count) == getattr(uniform.report, count) > 0
    columns = ["epoch", "question_id", "teacher", "teacher_weight"]
    one, other = (t.steps[columns].sort_values(columns).reset_index(drop=True) for t in (pairs, uniform))
    pd.testing.assert_frame_equal(one, other)
    for _, rows in pairs.steps.groupby("step"):
        assert rows["step_loss"].iloc[0] == pytest.approx(rows["supervised_loss"].mean(), rel=1e-5)
    assert pairs.steps.groupby(["step", "question_id"]).size().min() < 3, "a question's pairs stay together"
    more = train_tiny(
        folder, tmp_path / "more", questions, settings(), "all_rationales", {"group": "questions"}
    )
    # 30 pairs in groups of 4, twice, against 10 questions in groups of 4, twice.
    assert (more.report.optimiser_steps, uniform.report.optimiser_steps) == (16, 6)
    assert more.report.total_tokens == uniform.report.total_tokens


def test_one_group_of_all_rationales_is_one_of_uniform(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(4, teachers=3)
    one_group = settings(epochs=3, accumulation=4)
    pairs, uniform = (
        train_tiny(folder, tmp_path / name, questions, one_group, name)
        for name in ("all_rationales", "uniform")
    )
    same_training(pairs, uniform)


def test_the_curriculum_goes_from_easy_to_hard(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(8, teachers=3)
    pace = {"initial_share": 0.25, "full_at": 0.5, "pacing": "linear"}
    easy, hard = (
        train_tiny(folder, tmp_path / order, questions, settings(epochs=5, learning_rate=1e-6), "curriculum",
                   {**pace, "order": order})
        for order in ("easy_first", "hard_first")
    )  # fmt: skip
    # At this rate the student stays the base, so that losses in the table are the difficulties.
    first = {name: t.steps[t.steps["step"] == 1] for name, t in (("easy", easy), ("hard", hard))}
    whole = easy.steps[easy.steps["step"] > 5]
    assert len(whole) == 5 * 4 * 3, "from half of the schedule on all rationales are used"
    assert len(first["easy"]) < 12
    losses = whole[whole["step"] > 8].groupby(["question_id", "teacher"])["supervised_loss"].mean()
    for question, rows in first["easy"].groupby("question_id"):
        assert losses[question].idxmin() in set(rows["teacher"])
    assert first["easy"]["supervised_loss"].mean() < first["hard"]["supervised_loss"].mean()
    assert easy.report.branches == len(easy.steps) < 5 * 8 * 3


@pytest.mark.parametrize("pacing", ["root", "linear"])
def test_the_share_grows_from_the_first_to_all(pacing: str) -> None:
    from compact_bench.methods.registry import get_method

    config = get_method("curriculum").config_type(initial_share=0.1, full_at=0.5, pacing=pacing)
    shares = [config.share(step, 20) for step in range(20)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[10:] == [1.0] * 10
    assert all(a < b for a, b in itertools.pairwise(shares[:11]))
    expected = 0.55 if pacing == "linear" else ((0.1**2 + 1) / 2) ** 0.5
    assert config.share(5, 20) == pytest.approx(expected)


def test_the_right_filter_says_what_it_needs() -> None:
    from compact_bench.methods.registry import make_method

    suite = SuiteInfo(name="tiny", teachers=("ada",), has_gold=False)
    assert "gold" in (refusal(make_method("right_filter"), suite) or "")
    for name in ("random_teacher", "majority_filter", "shortest_rationale", "curriculum", "all_rationales"):
        assert refusal(make_method(name), suite) is None
