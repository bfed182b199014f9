"""Pretraining of the lab's student: what it reads, and that a seed decides it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import with_changes
from compact_bench.data.lab.student.pretraining import (
    LOG_FILE,
    _batches,
    learning_rate,
    pretrain,
    pretraining_turns,
)
from compact_bench.data.lab.student.settings import PretrainingSettings, StageSettings
from compact_bench.data.lab.student.tokenizer import lab_tokenizer
from compact_bench.students.chat import encode_row, prompt_ids
from compact_bench.students.student import load_student, weights_hash

STAGE = StageSettings(
    steps=51,
    learning_rate=1e-2,
    warmup_steps=5,
    direct_share=0.3,
    worked_share=0.4,
    longest_worked_steps=2,
    long_worked_share=0.5,
)
TINY = PretrainingSettings(
    hidden=16,
    layers=1,
    heads=2,
    key_heads=1,
    feed_forward=16,
    batch_rows=8,
    stages=(STAGE, STAGE.model_copy(update={"steps": 4})),
)


def test_a_seed_decides_the_student_whole(tmp_path: Path) -> None:
    models = [pretrain(TINY, tmp_path / name) for name in ("a", "b")]
    other = pretrain(TINY.model_copy(update={"seed": 8}), tmp_path / "c")
    assert weights_hash(models[0]) == weights_hash(models[1]) != weights_hash(other)


def test_pretraining_learns_and_leaves_a_student_with_its_log(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    model = pretrain(TINY, tmp_path, lambda done, total, text: seen.append((done, total)))
    assert seen[-1] == (55, 55) and len(seen) == 55 and not model.training
    head, *lines = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
    assert PretrainingSettings.model_validate(head["settings"]) == TINY
    assert [(line["stage"], line["step"]) for line in lines] == [(1, 25), (1, 50), (1, 51), (2, 4)]
    assert lines[1]["loss"] < lines[0]["loss"] and "copy" in lines[0]["right"]
    student = load_student(str(tmp_path), dtype="float32", device="cpu")
    assert torch.equal(student.model.lm_head.weight, model.lm_head.weight)
    row = encode_row(student.tokenizer, "Say again: tea Ada red.", "The answer is tea Ada red.")
    assert student.tokenizer.decode(row.input_ids[-1:]) == "<|im_end|>"
    assert row.prompt_tokens == len(prompt_ids(student.tokenizer, "Say again: tea Ada red."))


def test_dialogues_are_right_and_worked_ones_are_short() -> None:
    turns = list(itertools.islice(pretraining_turns(PretrainingSettings()), 3000))
    kinds = {turn.kind for turn in turns}
    assert {"direct ring 4", "worked swap 2", "copy", "reverse", "opposites", "categories"} <= kinds
    assert not any(kind.startswith("worked") and kind[-1] > "2" for kind in kinds)
    later = {turn.kind for turn in itertools.islice(pretraining_turns(PretrainingSettings(), 1), 3000)}
    assert {"worked lookup 4", "worked order 3", "direct ring 4", "reverse"} <= later
    assert all("The answer is" in turn.reply for turn in turns)
    tokenizer = lab_tokenizer()
    assert all(tokenizer.unk_token_id not in tokenizer(t.question + " " + t.reply).input_ids for t in turns)


def test_the_rate_rises_then_falls_to_a_twentieth() -> None:
    stage = STAGE.model_copy(update={"steps": 100, "warmup_steps": 10, "learning_rate": 1.0})
    rates = [learning_rate(stage, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1.0
    assert rates[9:] == sorted(rates[9:], reverse=True) and rates[-1] < 0.052


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="'hiden' names no setting, did you mean hidden"):
        with_changes(PretrainingSettings(), ["hiden=3"], "--set")


def test_batches_hold_the_rows_that_training_would_encode() -> None:
    settings, tokenizer = PretrainingSettings(batch_rows=40), lab_tokenizer()
    (batch,) = itertools.islice(_batches(settings, 0, tokenizer), 1)
    turns = list(itertools.islice(pretraining_turns(settings), 40))
    rows = [encode_row(tokenizer, turn.question, turn.reply) for turn in turns]
    # The template ends a turn with a line break, which is no token here.
    wanted = sorted((row.input_ids, row.prompt_tokens) for row in rows)
    assert sorted((row.ids, row.prompt_tokens) for row in batch) == wanted
    assert [len(row.ids) for row in batch] == sorted(len(row.ids) for row in batch)
