"""SbS-KD between known trainings: rationales alone, labels alone, uniform, one teacher; and its prefixes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compact_bench.core.errors import ConfigError, DataError, UnknownNameError
from compact_bench.core.records import Question, Rationale
from compact_bench.methods.contract import SuiteInfo, refusal
from compact_bench.methods.registry import make_method, variant_config
from compact_bench.students.student import Student
from tests import tiny
from tests.invariant.support import Trained, same_tables, same_training, settings, train_tiny
from tests.tiny_suite import make_tiny_lab_student

Folders = Callable[..., Path]
VANILLA = variant_config("sbs_kd", "vanilla")
SUITE = SuiteInfo(name="tiny", teachers=("ada", "bob"))


def asked_with(prefix: str, questions: tuple[Question, ...]) -> tuple[Question, ...]:
    """The same questions with a text in front."""
    return tuple(replace(q, text=prefix + q.text) for q in questions)


def labels(questions: tuple[Question, ...]) -> tuple[Question, ...]:
    """The same questions with one teacher who only says the gold answer."""
    return tuple(
        replace(q, rationales=(Rationale("ada", f"The answer is {q.gold_answer}."),)) for q in questions
    )


def without_labels(trained: Trained) -> Trained:
    """The same with the columns that other methods have, after checking that no label was trained on."""
    assert trained.steps["label_loss"].isna().all()
    return replace(trained, steps=trained.steps.drop(columns="label_loss"))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_without_a_label_it_is_uniform_behind_the_rationale_prompt(
    student_folder: Folders, tmp_path: Path, reduction: str
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=3)
    quick, shared = settings(learning_rate=5e-4), {"sft_reduction": reduction}
    told = train_tiny(folder, tmp_path / "sbs", questions, quick, "sbs_kd", {"label_share": 0.0, **shared})
    behind = asked_with("explain: ", questions)
    uniform = train_tiny(folder, tmp_path / "uniform", behind, quick, "uniform", shared)
    same_training(told, uniform)
    same_tables(without_labels(told), uniform)
    assert told.report.total_tokens == uniform.report.total_tokens


def test_with_labels_alone_it_is_training_on_answers(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=3)
    label = train_tiny(folder, tmp_path / "sbs", questions, settings(), "sbs_kd", {"label_share": 1.0})
    answers = labels(asked_with("predict: ", questions))
    plain = train_tiny(folder, tmp_path / "plain", answers, settings(), "uniform")
    same_training(label, plain)
    assert label.report.total_tokens == plain.report.total_tokens
    assert set(label.steps["teacher_weight"]) == {0.0}
    assert label.steps["supervised_loss"].isna().all()


def test_both_tasks_are_their_convex_sum(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(4, teachers=2)
    found = {}
    for alpha in (0.0, 0.25, 1.0):
        place, once = tmp_path / str(alpha), settings(epochs=1)
        found[alpha] = train_tiny(folder, place, questions, once, "sbs_kd", {"label_share": alpha})
    label, told = found[1.0].losses[0], found[0.0].losses[0]
    assert found[0.25].losses[0] == pytest.approx(0.25 * label + 0.75 * told, rel=1e-5)
    assert abs(label - told) > 0.1
    steps = found[0.25].steps
    assert set(steps["teacher_weight"]) == {0.375}
    naive = 0.25 * steps["label_loss"] + 0.75 * steps.groupby("question_id")["supervised_loss"].transform(
        "mean"
    )
    assert naive.mean() == pytest.approx(found[0.25].losses[0], rel=1e-5)
    assert found[0.25].report.branches == 4 * 3


def test_the_layout_of_two_prompts_does_not_matter(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(5, teachers=2)
    both = train_tiny(folder, tmp_path / "sbs", questions, settings(), "sbs_kd")
    padded = train_tiny(folder, tmp_path / "padded", questions, settings(layout="padded"), "sbs_kd")
    same_training(both, padded)
    same_tables(both, padded)


@pytest.mark.parametrize(
    ("config", "method", "other"),
    [({}, "uniform", {}), ({"teacher": "bob"}, "single_teacher", {"teacher": "bob"})],
)
def test_vanilla_is_plain_fine_tuning(
    student_folder: Folders, tmp_path: Path, config: dict[str, Any], method: str, other: dict[str, Any]
) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=3)
    vanilla = train_tiny(folder, tmp_path / "sbs", questions, settings(), "sbs_kd", {**VANILLA, **config})
    plain = train_tiny(folder, tmp_path / "plain", questions, settings(), method, other)
    same_training(vanilla, plain)
    same_tables(without_labels(vanilla), plain)
    assert vanilla.report.prompt_prefix == ""


def test_evaluation_asks_for_the_label(student_folder: Folders, tmp_path: Path) -> None:
    trained = train_tiny(student_folder("llama", "chatml"), tmp_path, tiny.questions(4), settings(), "sbs_kd")
    assert trained.report.prompt_prefix == "predict: "


def test_the_label_is_the_canonical_answer(load_tiny: Callable[..., Student]) -> None:
    from compact_bench.methods.registry import get_method

    kind: Any = get_method("sbs_kd")
    student, module = load_tiny("llama", "chatml"), __import__(kind.__module__, fromlist=["SbsObjective"])
    objective = module.SbsObjective(kind.config_type(), settings().train)
    encoded = objective.encode(student, tiny.question("books"))  # gold 12.0
    label = encoded.branches[0]
    said = student.tokenizer.decode(label.input_ids[label.prompt_tokens :])
    assert said == "The answer is 12.<|im_end|>"
    assert "predict: Mary" in student.tokenizer.decode(label.input_ids[: label.prompt_tokens])
    assert label.is_right
    assert all("explain: Mary" in student.tokenizer.decode(b.input_ids) for b in encoded.branches[1:])


def test_words_that_the_student_does_not_know_are_refused(tmp_path: Path) -> None:
    question = Question("q", "How many shells has Ada?", "3", (Rationale("ada", "The answer is 3."),))
    folder = make_tiny_lab_student(tmp_path / "student")
    with pytest.raises(ConfigError) as caught:
        train_tiny(folder, tmp_path / "one", [question], settings(), "sbs_kd")
    for text in ("predict", "explain", "method.label_prefix", "[method_settings.sbs_kd]"):
        assert text in str(caught.value)
    known = {"label_prefix": "answer: ", "rationale_prefix": "think: "}
    trained = train_tiny(folder, tmp_path / "two", [question], settings(accumulation=1), "sbs_kd", known)
    assert trained.report.prompt_prefix == "answer: "


def test_wrong_settings_are_refused(student_folder: Folders, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two different texts"):
        make_method("sbs_kd", {"label_prefix": "explain: "})
    make_method("sbs_kd", {"label_prefix": "explain: ", "label_share": 0.0})
    with pytest.raises(ConfigError, match="label_share"):
        make_method("sbs_kd", {"label_share": 1.5})
    folder = student_folder("llama", "chatml")
    with pytest.raises(UnknownNameError, match="eve"):
        train_tiny(folder, tmp_path, tiny.questions(2), settings(), "sbs_kd", {"teacher": "eve"})
    with pytest.raises(DataError, match="no rationale"):
        bare = [replace(tiny.question("birds"), rationales=())]
        train_tiny(folder, tmp_path, bare, settings(), "sbs_kd")


def test_what_a_suite_must_have() -> None:
    assert refusal(make_method("sbs_kd"), SUITE) is None
    assert "gold" in (refusal(make_method("sbs_kd"), replace(SUITE, has_gold=False)) or "")
    reason = refusal(make_method("sbs_kd", {"teacher": "eve"}), SUITE)
    assert reason is not None
    assert "eve" in reason


def test_equal_runs_are_equal_bits(student_folder: Folders, tmp_path: Path) -> None:
    one, two = (
        train_tiny(student_folder("llama", "chatml"), tmp_path / n, tiny.questions(4), settings(), "sbs_kd")
        for n in ("one", "two")
    )
    assert all(torch.equal(w, two.weights()[n]) for n, w in one.weights().items())
