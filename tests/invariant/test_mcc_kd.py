"""MCC-KD between known losses: plain fine-tuning on a pair, no disagreement, and its formula by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import Question, Rationale
from compact_bench.methods.contract import SuiteInfo, refusal
from compact_bench.methods.registry import get_method, make_method
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedQuestion
from compact_bench.training.objectives import SupervisedObjective, keep_teachers
from compact_bench.training.protocol import StepLoss
from tests import tiny
from tests.invariant.support import same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]
Load = Callable[..., Student]
TRAIN = settings().train


def told(*texts: str, gold: str = "15") -> Question:
    """A question with one rationale per text."""
    rationales = tuple(Rationale(t, x) for t, x in zip(tiny.TEACHERS, texts, strict=False))
    return Question("asked", "Tom has 3 apples and buys 12 more. How many?", gold, rationales)


def module() -> Any:
    """The method's own module."""
    return sys.modules[get_method("mcc_kd").__module__]


def pair_loss(student: Student, question: Question, **config: Any) -> tuple[StepLoss, EncodedQuestion]:
    """The loss of a question's two branches."""
    objective = module().PairObjective(module().MccKdConfig(**config), TRAIN)
    encoded = objective.encode(student, question)
    return objective.loss(student, [encoded]), encoded


def test_without_the_kl_it_is_fine_tuning_on_the_pair(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")
    question = told("So we add. The answer is 15.", "Therefore 3 + 12 = 15. The answer is 15.")
    found, encoded = pair_loss(student, question, agreement_weight=0.0)
    plain = SupervisedObjective(TRAIN).loss(student, [encoded])
    assert float(found.loss.detach()) == pytest.approx(float(plain.loss.detach()), rel=1e-6)
    assert [row["teacher_weight"] for row in found.rows] == [0.5, 0.5]


def test_with_two_right_teachers_and_no_kl_it_is_uniform(student_folder: Folders, tmp_path: Path) -> None:
    folder = student_folder("llama", "chatml")
    questions = [
        q for q in tiny.questions(9, teachers=2) if q.rationales[1].text.endswith(f" {q.gold_answer}.")
    ]
    assert len(questions) > 4
    pairs = train_tiny(folder, tmp_path / "pairs", questions, settings(), "mcc_kd", {"agreement_weight": 0.0})
    uniform = train_tiny(folder, tmp_path / "uniform", questions, settings(), "uniform")
    same_training(pairs, uniform)
    assert set(pairs.steps["consistency_loss"]) == {0.0}
    same_tables(replace(pairs, steps=pairs.steps.drop(columns="consistency_loss")), uniform)


def test_equal_rationales_do_not_disagree(load_tiny: Load) -> None:
    question = told("So we add. The answer is 15.", "So we add. The answer is 15.")
    found, encoded = pair_loss(load_tiny("llama", "chatml"), question, agreement_weight=1.0)
    assert found.rows[0]["consistency_loss"] == pytest.approx(0.0, abs=1e-9)
    assert encoded.branches[0].input_ids == encoded.branches[1].input_ids


@pytest.mark.parametrize("temperature", [1.0, 1.3, 4.0])
def test_the_formula_by_hand(load_tiny: Load, temperature: float) -> None:
    student = load_tiny("llama", "chatml")
    question = told("So we add. The answer is 15.", "First, 3. Second, 12 more. The answer is 15.")
    found, encoded = pair_loss(student, question, agreement_weight=0.7, agreement_temperature=temperature)
    negative, spans = [], []
    for branch in encoded.branches:
        ids = torch.tensor([branch.input_ids])
        logits = student.model(input_ids=ids).logits[0].double()
        start, end = branch.answer_positions[0], branch.answer_positions[-1] + 1
        assert student.tokenizer.decode(branch.answer_ids).strip() == "15"
        labels = ids[0, branch.prompt_tokens :]
        at = torch.log_softmax(logits[branch.prompt_tokens - 1 : -1], dim=-1)
        negative.append(-at.gather(1, labels[:, None]).mean())
        # What predicts tokens start .. end-1 stands at start-1 .. end-2.
        spans.append(torch.softmax(logits[start - 1 : end - 1] / temperature, dim=-1))
    p, q = spans
    divergence = (p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1)
    expected = torch.stack(negative).mean() + 0.7 * 0.5 * divergence.mean()
    assert float(divergence.detach().mean()) > 1e-3
    assert float(found.loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert found.rows[0]["consistency_loss"] == pytest.approx(
        float(0.5 * divergence.detach().mean()), rel=1e-3
    )


def test_the_order_of_a_pair_does_not_matter_and_both_sides_learn(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")
    one, two = "So we add. The answer is 15.", "First, 3. Second, 12 more. The answer is 15."
    first, _ = pair_loss(student, told(one, two), agreement_weight=5.0)
    second, _ = pair_loss(student, told(two, one), agreement_weight=5.0)
    assert float(first.loss.detach()) == pytest.approx(float(second.loss.detach()), rel=1e-6)
    gradients = []
    for found in (first, second):
        student.model.zero_grad()
        found.loss.backward()
        gradients.append([p.grad.clone() for p in student.model.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert max(float(g.abs().max()) for g in gradients[0]) > 0


def test_spans_of_unequal_length_have_no_kl(load_tiny: Load) -> None:
    # Both are right, as the rule takes numbers that differ by less than 1e-4 for one.
    question = told("So we add. The answer is 15.", "So we add 12. The answer is 15.00001.")
    found, encoded = pair_loss(load_tiny("llama", "chatml"), question, agreement_weight=1.0)
    assert all(branch.is_right for branch in encoded.branches)
    assert len({len(branch.answer_positions) for branch in encoded.branches}) == 2
    assert found.rows[0]["consistency_loss"] == 0.0


def chosen(student: Student, question: Question, seed: int = 1, step: int = 0, most: float = 0.8) -> set[str]:
    """Whom a step trains on."""
    encoded = module().PairObjective(module().MccKdConfig(), TRAIN).encode(student, question)
    return set(module()._DiversePair(seed, most).choose(encoded, step, 10))


def test_only_right_and_diverse_rationales_are_drawn(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")
    same = "So we add 3 and 12. The answer is 15."
    other = "Let x be the number of apples. Note that it holds. The answer is 15."
    wrong = "Therefore we subtract. The answer is 9."
    assert chosen(student, told(same, same, other, wrong)) in ({"ada", "cyd"}, {"bob", "cyd"})
    drawn = {frozenset(chosen(student, told(same, same, other, wrong), step=s)) for s in range(20)}
    assert drawn == {frozenset({"ada", "cyd"}), frozenset({"bob", "cyd"})}
    assert chosen(student, told(same, same)) == {"ada", "bob"}, "no pair is diverse: the least similar one"
    assert chosen(student, told(same, wrong, wrong)) == {"ada"}
    assert chosen(student, told(wrong, wrong)) == set()
    every = {frozenset(chosen(student, told(same, same, other), step=s, most=1.0)) for s in range(30)}
    assert len(every) == 3


def test_similarity_is_that_of_token_sets(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")
    texts = ("So we add 3. The answer is 15.", "First, we add. Second, we add. The answer is 15.")
    encoded = module().PairObjective(module().MccKdConfig(), TRAIN).encode(student, told(*texts))
    sets = [set(student.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    found = module().similarity(*encoded.branches)
    assert found == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
    assert 0 < found < 1
    assert module().similarity(encoded.branches[0], encoded.branches[0]) == 1.0


def test_questions_with_fewer_right_rationales_stay(student_folder: Folders, tmp_path: Path) -> None:
    right, wrong = "So we add. The answer is 15.", "The sum is 9. The answer is 9."
    longer = "Therefore, 3 + 12 is 15. The answer is 15."
    questions = [
        replace(told(*texts), id=f"asked-{n}")
        for n, texts in enumerate([(right, longer), (right, wrong), (wrong, wrong)])
    ]
    together = settings(questions_per_step=3, accumulation=1, epochs=1)
    trained = train_tiny(
        student_folder("llama", "chatml"), tmp_path, questions, together, "mcc_kd", {"agreement_weight": 0.0}
    )
    steps = trained.steps
    assert trained.report.branches == len(steps) == 3
    weights = {name: list(rows["teacher_weight"]) for name, rows in steps.groupby("question_id")}
    assert weights == {"asked-0": [0.5, 0.5], "asked-1": [1.0]}
    naive = (steps["teacher_weight"] * steps["supervised_loss"]).sum() / 3
    assert trained.losses[0] == pytest.approx(naive, rel=1e-5)


def test_teacher_order_does_not_matter(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=4)
    turned = tuple(replace(q, rationales=q.rationales[::-1]) for q in questions)
    config = {"agreement_weight": 1.0}
    one = train_tiny(folder, tmp_path / "one", questions, settings(), "mcc_kd", config)
    two = train_tiny(folder, tmp_path / "two", turned, settings(), "mcc_kd", config)
    same_training(one, two)
    same_tables(one, two)
    assert one.steps["consistency_loss"].max() > 0


def test_what_a_suite_must_have() -> None:
    suite = SuiteInfo(name="tiny", teachers=("ada", "bob"))
    assert refusal(make_method("mcc_kd"), suite) is None
    for changes, word in (({"teachers": ("ada",)}, "at least 2 teachers"), ({"has_gold": False}, "gold")):
        assert word in (refusal(make_method("mcc_kd"), replace(suite, **changes)) or "")
    with pytest.raises(ConfigError, match="temperature"):
        make_method("mcc_kd", {"agreement_temperature": 0})


def test_only_keeps_the_questions_own_order(load_tiny: Load) -> None:
    encoded = (
        module()
        .PairObjective(module().MccKdConfig(), TRAIN)
        .encode(load_tiny("llama", "chatml"), tiny.question("pencils"))
    )
    names: Sequence[str] = [b.teacher for b in keep_teachers(encoded, ["cyd", "ada"]).branches]
    assert names == ["ada", "cyd"]
