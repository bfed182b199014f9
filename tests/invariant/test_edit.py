"""EDIT between what it must equal, and its alignment against a plain recursion."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines._alignment import align
from baselines.edit import EditConfig, KeySteps, RightTexts
from compact_bench.core.errors import DataError
from compact_bench.core.records import Question, Rationale, RationalePair
from compact_bench.core.settings import TrainSettings
from compact_bench.methods.contract import SuiteInfo, refusal
from compact_bench.methods.registry import make_method
from compact_bench.students.student import Student
from tests import tiny
from tests.extra_fields import with_pairs
from tests.invariant.support import same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]
Load = Callable[..., Student]

SFT = {"stage_1_share": 0.0, "stage_2_rate_factor": 1.0, "alpha": 1.0, "beta": 0.0, "gamma": 1.0}
"""Stage 2 alone, with the weights at which it is plain fine-tuning on the chosen texts."""


def asked(count: int = 6) -> tuple[Question, ...]:
    """Questions of two teachers, one of them sometimes wrong, with pairs of both origins."""
    questions = with_pairs(tiny.questions(count, teachers=2))
    assert {p.origin for q in questions for p in q.pairs} == {"corrupted", "rectified"}
    return questions


def chosen_alone(questions: tuple[Question, ...]) -> tuple[Question, ...]:
    """The chosen texts as the teachers' rationales."""
    return tuple(
        replace(q, pairs=(), rationales=tuple(Rationale(p.teacher, p.chosen) for p in q.pairs))
        for q in questions
    )


def distance(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    @functools.cache
    def to_go(i: int, j: int) -> int:
        if i == len(a) or j == len(b):
            return len(a) - i + len(b) - j
        return min(to_go(i + 1, j + 1) + (a[i] != b[j]), to_go(i + 1, j) + 1, to_go(i, j + 1) + 1)

    return to_go(0, 0)


def test_operations_are_as_many_as_the_edit_distance_and_lead_from_one_row_to_the_other() -> None:
    rng = random.Random(1)
    for _ in range(500):
        a, b = (tuple(rng.choices(range(4), k=rng.randint(0, 9))) for _ in range(2))
        found = align(a, b)
        assert found.distance == distance(a, b) == align(b, a).distance
        rest, made = list(a), []
        others = iter(b)
        for operation in found.operations:
            token = rest.pop(0) if operation != "insert" else None
            other = next(others) if operation != "delete" else None
            assert (token == other) == (operation == "none")
            made += [] if other is None else [other]
        assert not rest and tuple(made) == b
        # One alignment marks both sides: as many kept tokens here as there.
        assert found.chosen_changes.count(False) == found.rejected_changes.count(False)
        assert (len(found.chosen_changes), len(found.rejected_changes)) == (len(a), len(b))


def test_an_alignment_by_hand() -> None:
    found = align([1, 2, 3, 4, 5], [1, 9, 3, 5, 6, 5])
    assert found.distance == 3
    assert align([1, 2, 3], [1, 9, 3]).operations == ("none", "replace", "none")
    assert align([1, 2, 3], [1, 3]).operations == ("none", "delete", "none")
    assert align([1, 3], [1, 2, 3]).operations == ("none", "insert", "none")
    assert align([], []).operations == () and align([7], []).operations == ("delete",)


def loss_of(student: Student, question: Question, **config: Any) -> tuple[float, torch.Tensor]:
    """Stage 2's loss of one question, and its gradient."""
    objective = KeySteps(TrainSettings(dtype="float32"), EditConfig(**config))
    found = objective.loss(student, [objective.encode(student, question)])
    weight = next(p for p in student.model.parameters() if p.ndim > 1)
    (gradient,) = torch.autograd.grad(found.loss, weight)
    return float(found.loss.detach()), gradient


def test_a_pair_of_one_text_has_no_loss_and_no_gradient(load_tiny: Load) -> None:
    question = asked(1)[0]
    same = tuple(replace(p, rejected=p.chosen) for p in question.pairs)
    loss, gradient = loss_of(load_tiny(), replace(question, pairs=same))
    assert loss == 0.0 and not gradient.any()
    other, moved = loss_of(load_tiny(), question)
    assert other != 0.0 and moved.any()


def test_the_loss_is_that_of_a_naive_loop(load_tiny: Load) -> None:
    student, question = load_tiny(), asked(4)[1]
    config = EditConfig(alpha=0.7, beta=-0.2, gamma=0.1)
    objective = KeySteps(TrainSettings(dtype="float32"), config)
    encoded = objective.encode(student, question)
    sides = list(zip(encoded.branches[::2], encoded.branches[1::2], strict=True))
    expected = 0.0
    for chosen, rejected in sides:
        rows = [list(b.input_ids[b.prompt_tokens :]) for b in (chosen, rejected)]
        found = align(*rows)
        for branch, changes, high, low in (
            (chosen, found.chosen_changes, config.alpha, config.gamma),
            (rejected, found.rejected_changes, config.beta, 0.0),
        ):
            with torch.no_grad():
                logits = student.model(torch.tensor([branch.input_ids])).logits[0]
            log_probs = torch.log_softmax(logits.double(), dim=-1)
            for n, changed in enumerate(changes):
                place = branch.prompt_tokens + n
                nll = -float(log_probs[place - 1, branch.input_ids[place]])
                expected += (high if changed else low) * nll / len(changes)
    assert float(objective.loss(student, [encoded]).loss.detach()) == pytest.approx(
        expected / len(sides), rel=1e-4
    )


def test_with_equal_weights_stage_2_is_fine_tuning_on_the_chosen_texts(
    student_folder: Folders, tmp_path: Path
) -> None:
    folder, plain = student_folder("llama", "chatml"), settings(weight_decay=0.0)
    edit = train_tiny(folder, tmp_path / "edit", asked(), plain, "edit", SFT)
    sft = train_tiny(folder, tmp_path / "sft", chosen_alone(asked()), plain, "uniform")
    same_training(edit, sft)


def test_without_pairs_it_is_stage_1_which_is_the_right_answer_filter(
    student_folder: Folders, tmp_path: Path
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=2)
    edit = train_tiny(folder, tmp_path / "edit", questions, settings(), "edit")
    right = train_tiny(folder, tmp_path / "right", questions, settings(), "right_filter")
    same_training(edit, right)
    same_tables(edit, right)


def test_stage_1_alone_is_fine_tuning_on_right_and_rectified_texts(
    student_folder: Folders, tmp_path: Path
) -> None:
    folder = student_folder("llama", "chatml")
    edit = train_tiny(folder, tmp_path / "edit", asked(), settings(), "edit", {"stage_1_share": 1.0})
    sft = train_tiny(folder, tmp_path / "sft", chosen_alone(asked()), settings(), "uniform")
    same_training(edit, sft)
    # Rectified texts train, and are no rationale of their teacher's.
    right = edit.steps.groupby(["question_id", "teacher"])["teacher_weight"].first()
    for question in asked():
        own = [p.teacher for p in question.pairs if p.origin == "corrupted"]
        for teacher in question.teachers:
            assert right[question.id, teacher] == pytest.approx(1 / len(own) if teacher in own else 0.0)


def test_both_stages_together_take_the_schedules_steps(student_folder: Folders, tmp_path: Path) -> None:
    trained = train_tiny(
        student_folder("llama", "chatml"),
        tmp_path,
        asked(),
        settings(accumulation=1, epochs=1, learning_rate=1e-3, warmup_steps=0),
        "edit",
    )
    assert trained.report.optimiser_steps == 6 and list(trained.steps["step"].unique()) == [1, 2, 3, 4, 5, 6]
    rates = [log["learning_rate"] for log in trained.logs]
    assert rates == pytest.approx([1e-3] * 4 + [2.5e-5] * 2)
    # Stage 1 reads the right texts of two teachers, stage 2 both texts of two pairs.
    assert trained.report.branches == 4 * 2 + 2 * 4
    assert trained.steps["question_id"].nunique() == 6


def test_the_wrong_text_becomes_less_likely(student_folder: Folders, tmp_path: Path) -> None:
    config = {**SFT, "alpha": 0.0, "gamma": 0.0, "beta": -1.0}
    trained = train_tiny(
        student_folder("llama", "chatml"), tmp_path, asked(2), settings(epochs=4), "edit", config
    )
    # The loss is minus the rejected texts' losses, which rise.
    assert trained.losses[-1] < trained.losses[0] < 0


def test_a_question_without_a_text_counts_with_loss_0(load_tiny: Load) -> None:
    student, question = load_tiny(), asked(1)[0]
    wrong = replace(question, id="wrong", gold_answer="1", pairs=())
    for kind in (RightTexts, KeySteps):
        objective = kind(TrainSettings(dtype="float32"), EditConfig())
        with_text, without = (objective.encode(student, q) for q in (question, wrong))
        alone, both = objective.loss(student, [with_text]), objective.loss(student, [with_text, without])
        assert float(both.loss.detach()) == pytest.approx(float(alone.loss.detach()) / 2)
        assert both.seen == (with_text,) and {row["question_id"] for row in both.rows} == {question.id}
        none = objective.loss(student, [without])
        none.loss.backward()
        assert float(none.loss.detach()) == 0.0 and [row["teacher_weight"] for row in none.rows] == [0.0]


def test_variants_and_what_it_needs(student_folder: Folders, tmp_path: Path) -> None:
    suite = SuiteInfo("s", ("ada", "bob"), has_pairs=True)
    method = make_method("edit", {})
    assert refusal(method, suite) is None
    assert "pairs" in str(refusal(method, replace(suite, has_pairs=False)))
    assert "gold" in str(refusal(method, replace(suite, has_gold=False)))
    wrong = tuple(replace(q, gold_answer="1", pairs=()) for q in asked(2))
    with pytest.raises(DataError, match="expected rationales with the gold answer, or rectified ones"):
        train_tiny(student_folder("llama", "chatml"), tmp_path, wrong, settings(), "edit")
    objective = KeySteps(TrainSettings(), EditConfig(rectified=False))
    pairs = (RationalePair("ada", "a", "b", "rectified"), RationalePair("ada", "c", "d", "corrupted"))
    from compact_bench.students.student import load_student

    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    assert len(objective.encode(student, replace(asked(1)[0], pairs=pairs)).branches) == 2
