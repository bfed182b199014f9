"""Single-teacher training is plain supervised fine-tuning, as a loop of transformers and torch does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from compact_bench.core.records import Question
from tests import tiny
from tests.invariant.support import Trained, settings, train_tiny

Folders = Callable[..., Path]

RATE, WARMUP, DECAY, CLIP = 1e-3, 3, 0.01, 0.5


def rows_of(tokenizer: Any, questions: Sequence[Question], teacher: int) -> dict[str, dict[str, list[int]]]:
    """Token ids and labels per question: the assistant's turn and its end, made by hand for ChatML."""
    rows = {}
    for question in questions:
        prompt = f"<|im_start|>user\n{question.text}<|im_end|>\n<|im_start|>assistant\n"
        answer = question.rationales[teacher].text + "<|im_end|>"
        head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        tail = tokenizer(answer, add_special_tokens=False)["input_ids"]
        rows[question.id] = {"input_ids": head + tail, "labels": [-100] * len(head) + tail}
    return rows


def plain_loop(folder: Path, rows: dict[str, dict[str, list[int]]], order: Sequence[str]) -> list[float]:
    """Loss of every step: one row, cross-entropy by transformers, AdamW, warm-up, clipping."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    losses = []
    for step, name in enumerate(order):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / (WARMUP + 1))
        batch = {key: torch.tensor([values]) for key, values in rows[name].items()}
        loss = model(**batch).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step()
        losses.append(loss.item())
    return losses


def train_single(folder: Path, directory: Path, questions: Sequence[Question]) -> Trained:
    one_row = settings(
        lora=False,
        learning_rate=RATE,
        warmup_steps=WARMUP,
        weight_decay=DECAY,
        clip_norm=CLIP,
        questions_per_step=1,
        accumulation=1,
        epochs=3,
    )
    return train_tiny(folder, directory, questions, one_row, "single_teacher", {"teacher": "ada"})


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_loss_trajectory(student_folder: Folders, tmp_path: Path, kind: str) -> None:
    folder, questions = student_folder(kind, "chatml"), tiny.questions(10, teachers=2)
    ours = train_single(folder, tmp_path, questions)
    order = list(ours.steps.sort_values("step")["question_id"])
    assert len(order) == 30
    assert sorted(order[:10]) == sorted(order[10:20]) == sorted(q.id for q in questions)
    assert order[:10] != order[10:20], "epochs should not repeat one order"
    theirs = plain_loop(folder, rows_of(ours.student.tokenizer, questions, 0), order)
    assert ours.losses == pytest.approx(theirs, rel=1e-4, abs=1e-4)
    assert sum(theirs[-10:]) < 0.8 * sum(theirs[:10]), "nothing was learnt, so that agreement says little"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # trl's own, of names that transformers retires
def test_loss_trajectory_of_trl(student_folder: Folders, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="trl is not a dependency; install it to compare with it")
    from datasets import Dataset
    from transformers import AutoTokenizer

    folder, questions = student_folder("llama", "chatml"), tiny.questions(10, teachers=2)
    ours = train_single(folder, tmp_path / "ours", questions)
    order = list(ours.steps.sort_values("step")["question_id"])
    rows = rows_of(ours.student.tokenizer, questions, 0)
    data = Dataset.from_list([rows[name] for name in order])
    arguments = trl.SFTConfig(
        output_dir=str(tmp_path / "trl"),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        num_train_epochs=1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=DECAY,
        max_grad_norm=CLIP,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
    )
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: min(1.0, (s + 1) / (WARMUP + 1)))
    trainer = trl.SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(folder),
        optimizers=(optimiser, schedule),
    )
    trainer.train()
    theirs = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert ours.losses == pytest.approx(theirs, rel=1e-4, abs=1e-4)
