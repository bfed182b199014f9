"""What must not change a training: how steps are batched, how rows are laid out, how teachers are ordered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.methods.compact.objective import PaperObjective, WeightingConfig
from compact_bench.students.student import load_student
from tests import tiny
from tests.invariant.support import same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]

METHODS = {
    "compact": {},
    "uniform": {},
    "single_teacher": {"teacher": "bob"},
    "compact_released": {},
}
PAPER = ["compact", "uniform"]


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("method", METHODS)
def test_one_by_eight_is_eight_by_one(
    student_folder: Folders, tmp_path: Path, method: str, lora: bool
) -> None:
    # 13 questions: the second group of every epoch is a short one, and so is its last pair.
    folder, questions = student_folder("llama", "chatml"), tiny.questions(13, teachers=3)
    rate = 2e-3 if lora else 5e-4
    first, *others = (
        train_tiny(
            folder,
            tmp_path / f"{size}x{accumulation}",
            questions,
            settings(lora=lora, learning_rate=rate, questions_per_step=size, accumulation=accumulation),
            method,
            METHODS[method],
        )
        for size, accumulation in ((1, 8), (8, 1), (2, 4))
    )
    assert first.report.optimiser_steps == 4
    for other in others:
        same_training(first, other)
        same_tables(first, other)


def test_packing_is_refused_where_a_mask_would_be_misread(student_folder: Folders) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    question = tiny.question("books", 4)

    def loss(layout: str) -> float:
        train = settings(layout=layout).train
        objective = PaperObjective.for_student(student, WeightingConfig(), train)
        return float(objective.loss(student, [objective.encode(student, question)]).loss.detach())

    packed = loss("packed")
    student.model.set_attn_implementation("eager")
    assert loss("auto") == pytest.approx(packed, rel=1e-5)
    with pytest.raises(ConfigError, match="eager"):
        loss("packed")


@pytest.mark.parametrize("method", ["compact", "compact_released"])
def test_recomputed_activations_change_nothing(student_folder: Folders, tmp_path: Path, method: str) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=3)
    kept, recomputed = (
        train_tiny(folder, tmp_path / str(again), questions, settings(gradient_checkpointing=again), method)
        for again in (False, True)
    )
    same_training(kept, recomputed)
    same_tables(kept, recomputed)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "phi", "phi3"])
def test_packed_is_padded(student_folder: Folders, tmp_path: Path, kind: str) -> None:
    folder, questions = student_folder(kind, "chatml"), tiny.questions(8, teachers=4)
    packed, padded = (
        train_tiny(folder, tmp_path / layout, questions, settings(layout=layout, questions_per_step=2))
        for layout in ("packed", "padded")
    )
    same_training(packed, padded)
    same_tables(packed, padded)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "phi"])
def test_packed_is_padded_for_the_released_variant(
    student_folder: Folders, tmp_path: Path, kind: str
) -> None:
    """Its padding counts in its scores, so that packed rows must compute it too."""
    folder, questions = student_folder(kind, "chatml"), tiny.questions(8, teachers=4)
    packed, padded = (
        train_tiny(
            folder,
            tmp_path / layout,
            questions,
            settings(layout=layout, questions_per_step=2),
            "compact_released",
        )
        for layout in ("packed", "padded")
    )
    same_training(packed, padded)
    same_tables(packed, padded)
    assert packed.report.extra["step"]["layout"] == "packed"
    assert padded.report.extra["step"]["layout"] == "padded"


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
@pytest.mark.parametrize("method", ["compact", "uniform", "compact_released"])
def test_logits_in_pieces_or_at_once(
    student_folder: Folders, tmp_path: Path, method: str, lora: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compact_bench.training.loss.head._PIECE_BYTES", 4 * 512 * 7)
    monkeypatch.setattr("compact_bench.methods.compact.released_consistency._PIECE_BYTES", 4 * 512 * 200)
    folder, questions = student_folder("llama_untied", "chatml"), tiny.questions(6, teachers=3)
    # A head that trains itself has no single pass.
    ways = ["at_once", "recomputed", "single_pass" if lora else "auto"]
    first, *others = (
        train_tiny(
            folder,
            tmp_path / way,
            questions,
            settings(head=way, lora=lora, learning_rate=2e-3 if lora else 5e-4, logits_memory_mib=0),
            method,
        )
        for way in ways
    )
    for other in others:
        same_training(first, other)
        same_tables(first, other)


def test_a_single_pass_needs_a_frozen_head(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(2, teachers=2)
    with pytest.raises(ConfigError, match=r"head=single_pass cannot be had: the head trains itself"):
        train_tiny(folder, tmp_path, questions, settings(head="single_pass", lora=False))


@pytest.mark.parametrize("kind", ["llama", "qwen3", "phi3"])
def test_lean_layers_are_plain_ones(student_folder: Folders, tmp_path: Path, kind: str) -> None:
    folder, questions = student_folder(kind, "chatml"), tiny.questions(6, teachers=3)
    lean, plain = (
        train_tiny(folder, tmp_path / kernels, questions, settings(kernels=kernels))
        for kernels in ("auto", "plain")
    )
    assert (lean.report.extra["step"]["kernels"], plain.report.extra["step"]["kernels"]) == ("lean", "plain")
    same_training(lean, plain)
    same_tables(lean, plain)


def test_rows_that_cannot_be_packed_are_reported(student_folder: Folders, tmp_path: Path) -> None:
    folder = student_folder("gemma2", "gemma")
    trained = train_tiny(folder, tmp_path, tiny.questions(2, teachers=2), settings(epochs=1))
    step = trained.report.extra["step"]
    assert step["layout"] == "padded"
    assert "eager" in step["layout_reason"]


def test_packed_is_padded_for_uniform_and_whole_weights(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama_untied", "llama3"), tiny.questions(8, teachers=3)
    packed, padded = (
        train_tiny(
            folder,
            tmp_path / layout,
            questions,
            settings(layout=layout, lora=False, learning_rate=5e-4),
            "uniform",
        )
        for layout in ("packed", "padded")
    )
    same_training(packed, padded)
    same_tables(packed, padded)


@pytest.mark.parametrize("method", ["compact", "uniform", "compact_released"])
def test_teacher_order_does_not_matter(student_folder: Folders, tmp_path: Path, method: str) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(8, teachers=4)
    turned = tuple(
        replace(q, rationales=q.rationales[n % 4 :][::-1] + q.rationales[: n % 4])
        for n, q in enumerate(questions)
    )
    assert turned != questions
    one = train_tiny(folder, tmp_path / "one", questions, settings(), method)
    other = train_tiny(folder, tmp_path / "other", turned, settings(), method)
    same_training(one, other)
    same_tables(one, other)


@pytest.mark.parametrize("method", PAPER)
def test_padding_changes_nothing(student_folder: Folders, tmp_path: Path, method: str) -> None:
    """Rows padded to the longest of eight questions, or to the longest of one: the paper variant's own."""
    folder = student_folder("gemma2", "gemma")  # cannot pack: always padded
    questions = list(tiny.questions(8, teachers=2))
    long = questions[3].rationales[1]
    padded = replace(long, text="Let us think about apples. " * 6 + long.text)
    questions[3] = replace(questions[3], rationales=(questions[3].rationales[0], padded))
    alone, together = (
        train_tiny(
            folder,
            tmp_path / str(size),
            questions,
            settings(questions_per_step=size, accumulation=8 // size),
            method,
        )
        for size in (1, 8)
    )
    same_training(alone, together)
    same_tables(alone, together)


def test_uniform_is_compact_without_scores_and_consistency(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(8, teachers=3)
    nothing = {
        "beta_adaptability": 0.0,
        "beta_consensus": 0.0,
        "beta_difficulty": 0.0,
        "lambda_consistency": 0.0,
    }
    uniform = train_tiny(folder, tmp_path / "uniform", questions, settings(), "uniform")
    compact = train_tiny(folder, tmp_path / "compact", questions, settings(), "compact", nothing)
    same_training(uniform, compact)
    assert set(compact.steps["teacher_weight"].round(6)) == {round(1 / 3, 6)}


def test_compact_weights_depend_on_the_scores(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(4, teachers=3)
    steps = train_tiny(folder, tmp_path, questions, settings(epochs=1)).steps
    assert steps["teacher_weight"].std() > 0.05
    sums = steps.groupby(["step", "question_id"])["teacher_weight"].sum()
    assert list(sums) == pytest.approx([1.0] * len(sums))


def test_uniform_loss_is_the_mean_of_the_branches_losses(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(6, teachers=3)
    trained = train_tiny(
        folder, tmp_path, questions, settings(questions_per_step=2, accumulation=1, epochs=1), "uniform"
    )
    table = trained.steps.groupby("step")
    assert list(table["supervised_loss"].mean()) == pytest.approx(trained.losses, rel=1e-6)
    assert list(table["supervised_loss"].count()) == [6, 6, 6]
