"""Branches of rationales that state their answer in other forms than "The answer is"."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from baselines.majority_filter import MajorityFilter, _Majority
from baselines.right_filter import RightFilter, _RightAnswer
from compact_bench.core.records import Question, Rationale
from compact_bench.evaluation.probes.answer_nats import answer_branches
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedQuestion, encode_question

Load = Callable[..., Student]


def encoded(load_tiny: Load, gold: str, *texts: str) -> tuple[Student, EncodedQuestion]:
    """A question with these rationales by teachers a, b, c ..., as tokens."""
    student = load_tiny("llama", "chatml")
    rationales = tuple(Rationale(name, text) for name, text in zip("abcdef", texts, strict=False))
    return student, encode_question(student, Question("q", "How many apples?", gold, rationales))


@pytest.mark.parametrize(
    ("gold", "texts"),
    [
        (
            "12",
            (
                r"So we get \boxed{12}.",
                "It is so.\n#### 12",
                "The final answer is $12$.",
                "The answer is 12 apples",
            ),
        ),
        (
            "(C)",
            (
                "The answer is (C).",
                "The answer is C) apples.",
                "So \\boxed{\\text{C}}",
                "The answer is C, because.",
            ),
        ),
        ("C) apples", ("The answer is C.", "The answer is apples.", "Answer: C) apples", "**Answer:** (C)")),
        (
            "True",
            (
                "The answer is yes, because birds fly.",
                "The answer is True",
                r"\boxed{\text{yes}}",
                "#### true",
            ),
        ),
        ("#### 24", ("The answer is 24.", r"\boxed{24}", "#### 24", "Answer: 24")),
    ],
)
def test_filters_take_right_answers_in_every_form(load_tiny: Load, gold: str, texts: tuple[str, ...]) -> None:
    wrong = "The answer is 7.", "The answer is not 12, and no C.", "Add the apples."
    _, question = encoded(load_tiny, gold, *texts, wrong[0], wrong[1])
    assert [branch.is_right for branch in question.branches] == [True] * 4 + [False] * 2
    assert list(_RightAnswer().choose(question, 0, 1)) == list("abcd")
    assert list(_Majority("keep").choose(question, 0, 1)) == list("abcd")
    assert RightFilter.card.uses_gold and not MajorityFilter.card.uses_gold


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So we get \boxed{12}.", "12"),
        ("#### 12", "12"),
        ("The answer is 12 apples.", "12"),
        (r"\boxed{12.0}", "12"),
    ],
)
def test_answer_tokens_are_the_answer_alone(load_tiny: Load, text: str, answer: str) -> None:
    student, question = encoded(load_tiny, "12", text)
    (branch,) = question.branches
    assert branch.predicted_answer == answer
    assert student.tokenizer.decode(list(branch.answer_ids)).strip() == answer


def test_the_nats_of_a_boxed_answer_are_measured_at_its_tokens(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")
    rationales = (Rationale("a", r"So we get \boxed{12}."), Rationale("b", "The answer is 12."))
    branches = answer_branches(student, Question("q", "How many apples?", "12", rationales)).branches
    assert len(branches) == 3
    assert {student.tokenizer.decode(list(b.answer_ids)).strip() for b in branches} == {"12"}


def test_a_branch_is_encoded_once_and_anew_for_another_template(load_tiny: Load) -> None:
    student, first = encoded(load_tiny, "12", "So it is 12. The answer is 12")
    again = encode_question(
        student,
        Question("other", "How many apples?", "12", (Rationale("a", "So it is 12. The answer is 12"),)),
    )
    assert again.branches[0] is first.branches[0], "methods and seeds of a process share it"
    template = student.tokenizer.chat_template
    try:
        student.tokenizer.chat_template = template.replace("<|im_start|>", "<|im_start|>x")
        changed = encode_question(student, Question("q", "How many apples?", "12", again_rationale()))
    finally:
        student.tokenizer.chat_template = template
    assert changed.branches[0].input_ids != first.branches[0].input_ids
    # Whose rationale it is, and what is right, belong to it.
    other = encode_question(student, Question("q", "How many apples?", "13", again_rationale("b")))
    assert (other.branches[0].teacher, other.branches[0].is_right) == ("b", False)
    assert first.branches[0].is_right and other.branches[0].input_ids == first.branches[0].input_ids


def again_rationale(teacher: str = "a") -> tuple[Rationale, ...]:
    return (Rationale(teacher, "So it is 12. The answer is 12"),)


def test_what_is_remembered_has_a_limit(load_tiny: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compact_bench.training.branches._REMEMBERED_TOKENS", 0)
    student, first = encoded(load_tiny, "7", "It is 7. The answer is 7")
    question = Question("q", "How many apples?", "7", (Rationale("a", "It is 7. The answer is 7"),))
    again = encode_question(student, question)
    assert again.branches[0] == first.branches[0] and again.branches[0] is not first.branches[0]
