"""Answer nats against a naive loop, weight change against numpy, retention item by item."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from compact_bench.core.errors import DataError, NumericalError, StudentError
from compact_bench.core.records import Question, RationaleTruth
from compact_bench.core.settings import LoraSettings
from compact_bench.evaluation.probes.answer_nats import answer_nats
from compact_bench.evaluation.probes.weight_change import weight_change
from compact_bench.evaluation.task_results import TaskResult
from compact_bench.students.chat import chat_text
from tests.tiny import question

if TYPE_CHECKING:
    from compact_bench.students.student import Student

NAMES = ("pencils", "books", "birds")
# The texts before the gold answer of the rationales that are right, as the canonical forms have them.
RIGHT = {
    "pencils": (
        "First, there are 100 pencils. So we add 45 to get 145. The answer is ",
        "Let us add. Therefore 100 + 45 = 145. Wait, right.\nSo the total is 145.\nThe answer is ",
    ),
    "books": (
        "She had 17 books. So 17 - 5 = 12. The answer is ",
        "First, 17. Second, 5. Finally, we subtract. The answer is 22. Wait, no. The answer is ",
        "Hence 12 books are left. The answer is ",
    ),
    "birds": (
        "Birds have wings. Therefore they fly. The answer is ",
        "Although some do not fly, most do. So the answer is clear. The answer is ",
        "Okay. Let me think about birds, wings and trees. Suppose they fly. The answer is ",
    ),
}
GOLD = {"pencils": "145", "books": "12", "birds": "True"}


def naive_nats(student: Student, text: str, before: str, gold: str) -> float:
    """Mean -log p of the tokens over the gold answer's characters, one row alone, in float64."""
    prompt = chat_text(student.tokenizer, text, None)
    whole = prompt + before + gold
    encoded = student.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids, start = encoded["input_ids"], len(prompt) + len(before)
    with torch.no_grad():
        logits = student.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    found = [
        -float(logits[t - 1, ids[t]]) for t, (_, end) in enumerate(encoded["offset_mapping"]) if end > start
    ]
    return sum(found) / len(found)


def with_truth(name: str, *right: bool) -> Question:
    """A question whose rationales are known to be right or wrong, whatever they answer."""
    made = question(name)
    known = zip(made.rationales, right, strict=True)
    truths = tuple(replace(r, truth=RationaleTruth(is_right, None, 1, "")) for r, is_right in known)
    return replace(made, rationales=truths)


@pytest.mark.parametrize("name", NAMES)
def test_a_rationale_known_to_be_wrong_is_not_used(load_tiny: Callable[..., Student], name: str) -> None:
    student = load_tiny()
    # The second rationale of each answers rightly; here it is known to get there by a wrong step.
    found = answer_nats(student, [with_truth(name, True, False, True, True)])
    kept = [before for number, before in enumerate(RIGHT[name]) if number != 1]
    expected = [naive_nats(student, question(name).text, before, GOLD[name]) for before in kept]
    assert found["rationales"] == len(kept)
    assert found["after_rationale"] == pytest.approx(sum(expected) / len(expected), rel=1e-4)
    none = answer_nats(student, [with_truth(name, False, False, False, False)])
    assert none["after_rationale"] is None and none["rationales"] == 0


@pytest.mark.parametrize(
    ("kind", "tokenizer"), [("llama", "chatml"), ("qwen2", "llama3"), ("gemma2", "gemma"), ("phi3", "chatml")]
)
def test_answer_nats_equal_a_naive_loop(load_tiny: Callable[..., Student], kind: str, tokenizer: str) -> None:
    student = load_tiny(kind, tokenizer)
    questions = [question(name) for name in NAMES]
    found = answer_nats(student, questions)
    direct, reasoned = [], []
    for name, asked in zip(NAMES, questions, strict=True):
        direct.append(naive_nats(student, asked.text, "The answer is ", GOLD[name]))
        each = [naive_nats(student, asked.text, before, GOLD[name]) for before in RIGHT[name]]
        reasoned.append(sum(each) / len(each))
    assert found["question_nats"] == pytest.approx(direct, rel=1e-4)
    assert found["rationale_nats"] == pytest.approx(reasoned, rel=1e-4)
    assert found["after_question"] == pytest.approx(sum(direct) / 3, rel=1e-4)
    assert found["after_rationale"] == pytest.approx(sum(reasoned) / 3, rel=1e-4)
    assert found["question_ids"] == [asked.id for asked in questions]
    assert found["rationales"] == 8


def test_a_question_without_right_rationales_counts_for_the_first_measure_only(
    load_tiny: Callable[..., Student],
) -> None:
    student = load_tiny()
    whole = question("pencils")
    wrong = replace(whole, rationales=whole.rationales[2:])
    both = answer_nats(student, [whole, wrong])
    assert both["rationale_nats"][1] is None
    assert both["after_rationale"] == both["rationale_nats"][0]
    alone = answer_nats(student, [wrong])
    assert alone["after_rationale"] is None and alone["rationales"] == 0
    assert alone["after_question"] == pytest.approx(both["question_nats"][1], rel=1e-5)


def test_answer_nats_leave_the_student_as_it_was(load_tiny: Callable[..., Student]) -> None:
    student = load_tiny()
    quiet = answer_nats(student, [question("books")])
    student.model.train()
    student.compute = "bfloat16"
    state = torch.get_rng_state()
    assert answer_nats(student, [question("books")]) == quiet
    assert torch.equal(torch.get_rng_state(), state) and student.compute == "bfloat16"
    assert all(module.training for module in student.model.modules())
    assert all(p.grad is None and p.requires_grad for p in student.model.parameters())


def test_answer_nats_refuse_wrong_input(load_tiny: Callable[..., Student]) -> None:
    student = load_tiny()
    with pytest.raises(DataError, match="at least one"):
        answer_nats(student, [])
    with torch.no_grad():
        student.layout.head(student.model).weight.fill_(float("nan"))
    with pytest.raises(NumericalError, match="diverged"):
        answer_nats(student, [question("birds")])


def test_weight_change_is_the_relative_norm_over_all_weights(load_tiny: Callable[..., Student]) -> None:
    base, student = load_tiny(seed=0), load_tiny(seed=1)
    a, b = (
        np.concatenate([p.detach().numpy().astype(np.float64).ravel() for p in s.model.parameters()])
        for s in (base, student)
    )
    expected = np.linalg.norm(b - a) / np.linalg.norm(a)
    assert weight_change(base.model, student.model) == pytest.approx(expected, rel=1e-12)
    assert weight_change(base.model, base.model) == 0.0
    with torch.no_grad():
        for parameter in (doubled := load_tiny(seed=0)).model.parameters():
            parameter.mul_(2.0)
    assert weight_change(base.model, doubled.model) == pytest.approx(1.0, rel=1e-12)


def test_weight_change_refuses_other_parameters(load_tiny: Callable[..., Student]) -> None:
    from compact_bench.students.student import attach_lora

    base, wrapped = load_tiny(), load_tiny()
    attach_lora(wrapped, LoraSettings(), seed=0)
    with pytest.raises(StudentError, match="Merge the adapters"):
        weight_change(base.model, wrapped.model)
    with pytest.raises(StudentError, match="shape"):
        weight_change(base.model, load_tiny(intermediate_size=24).model)
    broken = load_tiny()
    with torch.no_grad():
        broken.layout.head(broken.model).weight[0, 0] = math.inf
    with pytest.raises(NumericalError):
        weight_change(base.model, broken.model)


def result(task: str, items: tuple[float, ...], metric: str = "acc_norm", first: int = 0) -> TaskResult:
    ids = tuple(f"{task}-{first + i}" for i in range(len(items)))
    return TaskResult(task, metric, sum(items) / len(items), len(items), items, ids, "key", 1.0, {"acc": 0.5})


def test_results_survive_the_way_through_records() -> None:
    whole = result("piqa", (1.0, 0.0))
    assert TaskResult.from_plain(whole.plain()) == whole
    with pytest.raises(KeyError):
        TaskResult.from_plain({"task": "piqa"})


def test_questions_computed_together_have_the_nats_that_each_has_alone(
    load_tiny: Callable[..., Student], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = load_tiny("llama", "chatml")
    questions = [question(name) for name in NAMES]
    together = answer_nats(student, questions)
    assert answer_nats(student, questions) == together, "the same bits every time"
    monkeypatch.setattr("compact_bench.evaluation.probes.answer_nats._BATCH_TOKENS", 1)
    alone = answer_nats(student, questions)
    assert alone["rationales"] == together["rationales"]
    # Other rows in a product may move a last bit.
    assert alone["question_nats"] == pytest.approx(together["question_nats"], rel=1e-5)
    assert alone["rationale_nats"] == pytest.approx(together["rationale_nats"], rel=1e-5)
