"""Committee between what it must equal, its lessons, and the replies that a student samples."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from baselines._replies import _Sampler, sampled_replies
from baselines.committee import REPLIES_FILE, CommitteeConfig, Lesson, Lessons, lessons_for
from compact_bench.core.errors import ConfigError, DataError, StoreError
from compact_bench.core.records import Feedback, PeerReview, Question, Rationale
from compact_bench.core.settings import TrainSettings
from compact_bench.data.lab.student.tokenizer import lab_tokenizer
from compact_bench.methods.contract import SuiteInfo, refusal
from compact_bench.methods.registry import make_method
from compact_bench.students.chat import encode_row, prompt_ids
from compact_bench.students.student import Student, load_student
from tests import tiny
from tests.extra_fields import with_feedback, with_reviews
from tests.invariant.support import same_training, settings, train_tiny
from tests.tiny_suite import make_tiny_lab_student

Folders = Callable[..., Path]
Load = Callable[..., Student]

ADA_ALONE: dict[str, int | None] = {"ada": 4, "bob": 3}
"""Scores by which ada's rationales are accepted, and bob's are not."""


def asked(
    count: int = 6, mistakes: tuple[bool, ...] = (True,), scores: dict[str, int | None] = ADA_ALONE
) -> tuple[Question, ...]:
    return with_feedback(with_reviews(tiny.questions(count, teachers=2), scores), mistakes)


def test_without_feedback_and_with_one_accepted_teacher_it_is_fine_tuning_on_that_teacher(
    student_folder: Folders, tmp_path: Path
) -> None:
    folder = student_folder("llama", "chatml")
    one = train_tiny(folder, tmp_path / "a", asked(), settings(), "committee", {"alpha": 0.0})
    other = train_tiny(folder, tmp_path / "b", asked(), settings(), "single_teacher", {"teacher": "ada"})
    same_training(one, other)
    assert set(one.steps["teacher"]) == {"ada"} and one.report.extra["lessons"] == 6


def test_a_few_mistakes_are_gone_through_until_the_schedules_steps_are_spent(
    student_folder: Folders, tmp_path: Path
) -> None:
    folder = student_folder("llama", "chatml")
    # Replies of the student itself: a question that it got right is none to learn from.
    questions = tuple(
        q if n % 2 else replace(q, mistake=f"The answer is {q.gold_answer}.") for n, q in enumerate(asked())
    )
    plain = settings(epochs=2, accumulation=2)
    one = train_tiny(folder, tmp_path / "a", questions, plain, "committee", {"alpha": 0.0})
    # Two epochs of three steps are spent on epochs of two steps.
    assert one.report.optimiser_steps == 6 and one.report.extra["mistakes"] == 3
    other = train_tiny(
        folder,
        tmp_path / "b",
        questions[1::2],
        settings(epochs=3, accumulation=2),
        "single_teacher",
        {"teacher": "ada"},
    )
    same_training(one, other)


def test_the_loss_is_that_of_a_naive_loop(load_tiny: Load) -> None:
    student, question = load_tiny(), asked(1)[0]
    said = Feedback("bob", "No, not {mistake}. So we add.")
    config = CommitteeConfig(alpha=0.3)
    lesson = Lesson("He has 4. The answer is 10.", said, question.rationales[0])
    objective = Lessons(TrainSettings(dtype="float32"), config, {question.id: lesson})
    found = objective.loss(student, [objective.encode(student, question)])
    prompt = f"{question.text} He has 4. The answer is 10. Wait, check: The answer is 5."
    rows = [
        (encode_row(student.tokenizer, prompt, "No, not 10. So we add."), 0.3),
        (encode_row(student.tokenizer, question.text, question.rationales[0].text), 0.7),
    ]
    expected = 0.0
    for row, weight in rows:
        labels = torch.tensor([row.input_ids])
        labels[:, : row.prompt_tokens] = -100
        with torch.no_grad():
            expected += weight * float(student.model(torch.tensor([row.input_ids]), labels=labels).loss)
    assert float(found.loss.detach()) == pytest.approx(expected, rel=1e-4)
    (row_of_table,) = found.rows
    assert (row_of_table["teacher"], row_of_table["feedback_teacher"]) == ("ada", "bob")


def test_a_rationale_is_accepted_by_the_mean_of_its_valid_scores() -> None:
    rationales = tuple(Rationale(name, "The answer is 5.") for name in "abcd")
    reviews = {"a": (5, 2, None), "b": (4, 2, 3), "c": (None, None, None), "d": (1, 4, 5)}
    question = Question(
        "q",
        "How many?",
        "5",
        rationales,
        feedback=(Feedback("a", "No."),),
        reviews=tuple(
            PeerReview(a, r, s) for a, of in reviews.items() for r, s in zip("xyz", of, strict=True)
        ),
    )
    seen = {lessons_for([question], {"q": "4"}, 3.0, seed)["q"].rationale.teacher for seed in range(40)}
    # Exactly 3 is not above it, and no valid score accepts nothing.
    assert seen == {"a", "d"}
    assert {lessons_for([question], {"q": "4"}, 3.4, s)["q"].rationale.teacher for s in range(20)} == {"a"}


def test_draws_depend_on_seed_and_names_alone() -> None:
    questions = asked(8, scores={"ada": 5, "bob": 5})
    replies = {question.id: question.mistake for question in questions}
    turned = [
        replace(q, rationales=q.rationales[::-1], reviews=q.reviews[::-1], feedback=q.feedback[::-1])
        for q in questions[::-1]
    ]
    found = [
        lessons_for(qs, replies, 3.0, seed) for qs, seed in ((questions, 1), (turned, 1), (questions, 2))
    ]
    assert found[0] == found[1] != found[2]
    assert {lesson.feedback.teacher for lesson in found[0].values()} == {"ada", "bob"}
    assert {lesson.rationale.teacher for lesson in found[0].values()} == {"ada", "bob"}


def test_a_threshold_that_nothing_passes_is_an_error(student_folder: Folders, tmp_path: Path) -> None:
    folder = student_folder("llama", "chatml")
    with pytest.raises(
        DataError, match="6 have a mistake, 6 of these have feedback, and none has an accepted"
    ):
        train_tiny(folder, tmp_path, asked(), settings(), "committee", {"accepted_above": 5.1})
    no_feedback = [replace(question, feedback=()) for question in asked(2)]
    with pytest.raises(DataError, match="2 have a mistake, 0 of these have feedback"):
        lessons_for(no_feedback, {q.id: q.mistake for q in no_feedback}, 3.0, 1)


def test_what_it_needs() -> None:
    suite = SuiteInfo("s", ("ada", "bob"), has_reviews=True, has_feedback=True)
    method = make_method("committee", {})
    assert refusal(method, suite) is None
    for change, word in (
        ({"teachers": ("ada",)}, "at least 2 teachers"),
        ({"has_gold": False}, "gold"),
        ({"has_reviews": False}, "score"),
        ({"has_feedback": False}, "feedback"),
    ):
        assert word in str(refusal(method, replace(suite, **change)))
    with pytest.raises(ConfigError, match=r"expected \{question\}, \{reply\} and \{gold\}"):
        make_method("committee", {"feedback_prompt": "{question} {gold}"})


def test_the_student_replies_once_and_a_resumed_run_reads_its_replies(
    student_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, questions = student_folder("llama", "chatml"), asked(4, (False, True))
    config = {"reply_tokens": 6}
    one = train_tiny(folder, tmp_path / "a", questions, settings(), "committee", config)
    kept = json.loads((tmp_path / "a" / REPLIES_FILE).read_text())["value"]["value"]
    # A mistake that the data brings is not asked for.
    assert sorted(kept) == [q.id for q in questions if not q.mistake]
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / REPLIES_FILE).rename(tmp_path / "b" / REPLIES_FILE)
    # The registry has a module of its own, which the class came from.
    module = make_method("committee", {}).fit.__func__.__globals__  # type: ignore[attr-defined]
    monkeypatch.setitem(module, "sampled_replies", None)
    again = train_tiny(folder, tmp_path / "b", questions, settings(), "committee", config)
    same_training(one, again)
    with pytest.raises(StoreError, match="expected what was kept for"):
        train_tiny(folder, tmp_path / "b", questions, settings(), "committee", {"reply_tokens": 7})
    # What is damaged is asked again.
    monkeypatch.undo()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / REPLIES_FILE).write_text("[]")
    same_training(one, train_tiny(folder, tmp_path / "c", questions, settings(), "committee", config))
    assert json.loads((tmp_path / "c" / REPLIES_FILE).read_text())["value"]["value"] == kept


def replies(student: Student, questions: tuple[Question, ...], size: int, **changes: float) -> dict[str, str]:
    options = {"temperature": 1.0, "top_p": 0.9, "seed": 3, **changes}
    seed = int(options.pop("seed"))
    return sampled_replies(student, questions, max_new_tokens=8, batch_size=size, seed=seed, **options)


def test_replies_depend_on_seed_and_question_not_on_their_batch_or_global_generators(load_tiny: Load) -> None:
    student, questions = load_tiny(), (*tiny.questions(3), tiny.question("books"), tiny.question("birds"))
    state = torch.get_rng_state()
    together = replies(student, questions, 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert together == replies(student, questions[::-1], 2) == replies(student, questions, 1)
    assert len(set(together.values())) == 5
    assert together != replies(student, questions, 5, seed=4)


def test_cold_replies_are_greedy_ones(load_tiny: Load) -> None:
    student, questions = load_tiny(), tiny.questions(3)
    cold = replies(student, questions, 3, temperature=1e-4)
    for question in questions:
        ids = torch.tensor([prompt_ids(student.tokenizer, question.text)])
        made = student.model.generate(  # type: ignore[operator]
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
        )
        text = student.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True).strip()
        assert cold[question.id] == text


def test_a_token_is_drawn_as_often_as_it_is_likely() -> None:
    probabilities = torch.tensor([0.5, 0.02, 0.3, 0.18])
    sampler = _Sampler(1.0, 0.9, [torch.Generator().manual_seed(n) for n in range(4000)])
    counts = Counter(sampler.draw(probabilities.log().expand(4000, -1)).tolist())
    # The least likely one is outside of nine tenths of the mass.
    assert set(counts) == {0, 2, 3}
    assert [counts[n] / 4000 for n in (0, 2, 3)] == pytest.approx(
        [0.5 / 0.98, 0.3 / 0.98, 0.18 / 0.98], abs=0.03
    )


def test_a_small_vocabulary_knows_the_default_prompt_and_others_are_refused(tmp_path: Path) -> None:
    student = load_student(str(make_tiny_lab_student(tmp_path)), dtype="float32", device="cpu")
    question = Question("q", "Ada has 1 shells.", "2", source="row 1")
    lesson = Lesson("The answer is 3.", Feedback("a", "{mistake}: no."), Rationale("b", "The answer is 2."))
    lessons = Lessons(TrainSettings(), CommitteeConfig(), {"q": lesson})
    (_, said) = lessons.encode(student, question).branches
    assert student.tokenizer.unk_token_id not in said.input_ids
    assert lab_tokenizer().decode(list(said.input_ids[: said.prompt_tokens])).count("The answer is 2") == 1
    for config in (
        CommitteeConfig(feedback_prompt="{question} {reply} Explain: {gold}"),
        CommitteeConfig(feedback_prompt="{question} {reply} {gold}" + " so" * 30),
    ):
        train = TrainSettings(max_length_tokens=30)
        with pytest.raises(DataError, match="row 1, feedback of 'a'") as caught:
            Lessons(train, config, {"q": lesson}).encode(student, question)
        assert ("'Explain'" in str(caught.value)) != ("expected at most 30" in str(caught.value))


def test_signs_in_a_row_come_back_as_words_that_the_student_knows(tmp_path: Path) -> None:
    from baselines._replies import _text

    tokenizer = lab_tokenizer()
    ids = tokenizer("Ada . . ? so")["input_ids"]
    assert _text(tokenizer, ids) == "Ada . . ? so"
    assert tokenizer(_text(tokenizer, ids))["input_ids"] == ids
    assert _text(tokenizer, tokenizer("Ada leads Ben .")["input_ids"]) == "Ada leads Ben."
