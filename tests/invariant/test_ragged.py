"""Questions with different numbers of rationales in one step: the loss is that of every question alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compact_bench import PaperObjective, ReleasedObjective, SupervisedObjective, WeightingConfig
from compact_bench.core.records import Question, Rationale
from compact_bench.core.settings import TrainSettings
from compact_bench.methods.registry import get_method
from compact_bench.students.student import Student
from compact_bench.training.branches import encode_question
from compact_bench.training.objectives import keep_teachers
from tests import tiny
from tests.golden import reference
from tests.golden.reference import Setting
from tests.golden.support import compare_gradients, load
from tests.invariant.support import settings, train_tiny
from tests.invariant.test_mot import effective

Folders = Callable[..., Path]
LAYOUTS = ("packed", "padded")


def ragged(count: int = 4) -> tuple[Question, ...]:
    """Of every four questions one has a single teacher, one two, one all three, one two samples of ada."""
    made = []
    for n, question in enumerate(tiny.questions(count, teachers=3)):
        ada, bob, cyd = question.rationales
        second = Rationale("ada", f"Once more. The answer is {question.gold_answer}.", sample=2)
        chosen = ((bob,), (ada, cyd), (ada, bob, cyd), (replace(ada, sample=1), second, cyd))[n % 4]
        made.append(replace(question, rationales=chosen))
    return tuple(made)


def objective(name: str, student: Student, layout: str) -> Any:
    train = TrainSettings.model_validate({"layout": layout, "dtype": "float32"})
    if name == "uniform":
        return SupervisedObjective(train)
    kind = PaperObjective if name == "paper" else ReleasedObjective
    return kind.for_student(student, WeightingConfig(), train)


def naive(name: str, student: Student, question: Question) -> Tensor:
    """The loss of one question by a loop over its tokens."""
    if name == "released":
        return reference.released(student.model, student.tokenizer, question, Setting()).loss
    if name == "paper":
        return reference.paper(student.model, student.tokenizer, question, Setting()).loss
    even = Setting(betas=(0.0, 0.0, 0.0), lambda_consistency=0.0)
    return reference.paper(student.model, student.tokenizer, question, even).loss


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["uniform", "paper", "released"])
def test_a_step_is_the_mean_of_naive_loops(student_folder: Folders, name: str, layout: str) -> None:
    student, questions = load(student_folder("llama_untied", "chatml")), ragged()
    losses = torch.stack([naive(name, student, question) for question in questions])
    grads = reference.gradients(student.model, losses.mean())
    found = objective(name, student, layout)
    student.model.zero_grad(set_to_none=True)
    step = found.loss(student, [found.encode(student, question) for question in questions])
    step.loss.backward()
    assert float(step.loss.detach()) == pytest.approx(float(losses.mean().detach()), rel=1e-6)
    compare_gradients(student, grads)
    weights = {
        (row["question_id"], row["teacher"], row.get("sample", 0)): row["teacher_weight"] for row in step.rows
    }
    given = [(q.id, r.teacher, r.sample) for q in questions for r in q.rationales]
    assert list(weights) == given
    assert weights["sum-0", "bob", 0] == 1.0
    for question in questions:
        assert sum(w for (n, _, _), w in weights.items() if n == question.id) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["uniform", "paper", "released"])
def test_order_and_company_change_nothing(student_folder: Folders, name: str) -> None:
    """Rationales turned round, and the questions of equal K in steps of their own."""
    student, questions = load(student_folder("llama_untied", "chatml")), ragged(8)
    found = objective(name, student, "auto")

    def loss(chosen: Sequence[Question]) -> Tensor:
        result: Tensor = found.loss(student, [found.encode(student, question) for question in chosen]).loss
        return result.detach()

    together = loss(questions)
    turned = [replace(q, rationales=q.rationales[::-1]) for q in questions[::-1]]
    assert float(loss(turned)) == pytest.approx(float(together), rel=1e-9)
    counts = {len(q.rationales) for q in questions}
    assert counts == {1, 2, 3}
    groups = [[q for q in questions if len(q.rationales) == count] for count in counts]
    apart = sum(loss(group) * len(group) for group in groups) / len(questions)
    assert float(apart) == pytest.approx(float(together), rel=1e-9)


@pytest.mark.parametrize("method", ["single_teacher", "sbs_kd"])
def test_one_teacher_trains_on_its_questions(student_folder: Folders, tmp_path: Path, method: str) -> None:
    folder, questions, values = student_folder("llama", "chatml"), ragged(8), settings()
    own = [q for q in questions if "cyd" in q.teachers]
    whole = train_tiny(folder, tmp_path / "whole", questions, values, method, {"teacher": "cyd"})
    alone = train_tiny(folder, tmp_path / "alone", own, values, method, {"teacher": "cyd"})
    assert set(whole.steps["question_id"]) == {q.id for q in own} and len(own) == 6
    assert set(whole.steps["teacher"]) == {"cyd"}
    for name, weight in whole.weights().items():
        assert torch.equal(weight, alone.weights()[name])
    if method == "single_teacher":
        assert whole.report.extra["questions_taught"] == 6
        assert "questions_taught" not in alone.report.extra


def test_merged_branches_are_single_teachers_students(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions, values = student_folder("llama", "chatml"), ragged(8), settings(learning_rate=1e-2)
    mot = effective(train_tiny(folder, tmp_path / "mot", questions, values, "mot", {"rounds": 1}).student)
    singles = [
        effective(
            train_tiny(folder, tmp_path / t, questions, values, "single_teacher", {"teacher": t}).student
        )
        for t in ("ada", "bob", "cyd")
    ]
    for name, weight in mot.items():
        mean = torch.stack([single[name].double() for single in singles]).mean(dim=0)
        torch.testing.assert_close(weight.double(), mean, rtol=1e-5, atol=1e-6)


def test_a_teachers_gradient_is_of_the_mean_of_its_samples(student_folder: Folders) -> None:
    get_method("pcgrad")
    module = __import__("compact_bench_methods._teacher_gradients", fromlist=["TeacherGradients"])
    student, questions = load(student_folder("llama_untied", "chatml")), ragged()
    train = TrainSettings.model_validate({"dtype": "float32"})

    class Equal:
        def weights(self, gramian: Tensor, seed: int) -> Tensor:
            return torch.full((len(gramian),), 0.5, dtype=gramian.dtype)

    found = module.TeacherGradients(train, Equal(), 0)
    parameters = [p for p in student.model.parameters() if p.requires_grad]
    found.begin_step(0, 1)
    step = found.loss(student, [found.encode(student, question) for question in questions])
    found.add_gradients(step, 1.0, parameters)
    found.combine_gradients(parameters)
    even = SupervisedObjective(train)
    total = torch.zeros((), dtype=torch.float64)
    for question in questions:
        for teacher in question.teachers:
            own = replace(question, rationales=tuple(r for r in question.rationales if r.teacher == teacher))
            total = total + even.loss(student, [even.encode(student, own)]).loss / len(questions)
    expected = torch.autograd.grad(0.5 * total, parameters)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-9)
    shares = {(r["question_id"], r["teacher"], r.get("sample", 0)): r["teacher_weight"] for r in step.rows}
    assert shares["sum-3", "ada", 1] == shares["sum-3", "ada", 2] == pytest.approx(1 / 6)
    assert shares["sum-3", "cyd", 0] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "method", ["shortest_rationale", "right_filter", "majority_filter", "random_teacher", "mcc_kd"]
)
def test_selections_name_rationales_that_are_there(
    student_folder: Folders, tmp_path: Path, method: str
) -> None:
    """What the steps table says was read is there, and what a filter leaves out is not read."""
    questions = ragged()
    trained = train_tiny(student_folder("llama", "chatml"), tmp_path, questions, settings(), method)
    given = {(q.id, r.teacher, r.sample) for q in questions for r in q.rationales}
    samples = trained.steps["sample"].fillna(0).astype(int) if "sample" in trained.steps else 0
    table = trained.steps.assign(sample=samples)
    read = set(zip(table["question_id"], table["teacher"], table["sample"], strict=True))
    assert read <= given and ("sum-0", "bob", 0) in read
    if method == "shortest_rationale":
        assert ("sum-3", "ada", 2) in read and len(read) == 4
    sums = table.groupby("question_id")["teacher_weight"].sum() / table["epoch"].nunique()
    # The one rationale of the first question does not state the gold answer.
    first = 0.0 if method in ("right_filter", "mcc_kd") else 1.0
    assert sums.to_dict() == pytest.approx({q.id: first if q.id == "sum-0" else 1.0 for q in questions})


def test_names_keep_one_of_several_and_teachers_keep_all(student_folder: Folders) -> None:
    student = load(student_folder("llama_untied", "chatml"))
    encoded = encode_question(student, ragged()[3])
    assert [b.name for b in encoded.branches] == ["ada#1", "ada#2", "cyd"]
    assert [b.name for b in keep_teachers(encoded, ["ada"]).branches] == ["ada#1", "ada#2"]
    assert [b.name for b in keep_teachers(encoded, ["ada#2", "cyd"]).branches] == ["ada#2", "cyd"]
