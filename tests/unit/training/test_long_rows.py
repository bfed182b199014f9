"""Rows over the limit: refused, or cut as COMPACT's authors cut them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compact_bench.core.errors import DataError
from compact_bench.core.settings import LoraSettings, RunSettings, TrainSettings
from compact_bench.methods.compact.objective import WeightingConfig
from compact_bench.methods.compact.released import ReleasedObjective
from compact_bench.methods.registry import make_method
from compact_bench.students.student import Student, attach_lora
from compact_bench.training.branches import encode_question
from compact_bench.training.protocol import RunContext
from tests import tiny


@pytest.fixture
def student(load_tiny: Callable[..., Student]) -> Student:
    return load_tiny("qwen2", "chatml")


def test_a_cut_row_is_the_whole_row_up_to_the_limit(student: Student) -> None:
    question = tiny.question("books", 3)
    whole = encode_question(student, question)
    limit = whole.branches[0].prompt_tokens + 12
    with pytest.raises(DataError, match=r"train\.long_rows=truncate"):
        encode_question(student, question, max_length_tokens=limit)
    cut = encode_question(student, question, max_length_tokens=limit, long_rows="truncate")
    for one, other in zip(whole.branches, cut.branches, strict=True):
        assert other.input_ids == one.input_ids[:limit] and other.prompt_tokens == one.prompt_tokens
        assert other.cut_tokens == len(one.input_ids) - limit > 0
        assert other.prompt_tokens + other.supervised_tokens == limit
        assert other.answer_positions == () and other.is_right == one.is_right
    fits = encode_question(student, question, max_length_tokens=4096, long_rows="truncate")
    assert fits == whole


def test_a_prompt_that_leaves_no_room_is_a_fault(student: Student) -> None:
    question = tiny.question("books", 2)
    prompt = encode_question(student, question).branches[0].prompt_tokens
    with pytest.raises(DataError, match="expected at most"):
        encode_question(student, question, max_length_tokens=prompt, long_rows="truncate")


def test_the_authors_cut_at_the_same_token(student: Student) -> None:
    question = tiny.question("pencils", 2)
    whole = encode_question(student, question)
    train = TrainSettings(max_length_tokens=whole.branches[1].prompt_tokens + 6, long_rows="truncate")
    released = ReleasedObjective.for_student(student, WeightingConfig(), train).encode(student, question)
    ours = encode_question(student, question, max_length_tokens=train.max_length_tokens, long_rows="truncate")
    lengths = [len(b.input_ids) for b in ours.branches]
    assert lengths == [len(b.input_ids) for b in released.branches] == [train.max_length_tokens] * 2


@pytest.mark.parametrize("method", ["compact", "uniform", "compact_released"])
def test_methods_train_on_cut_rows_and_say_how_many(student: Student, tmp_path: Path, method: str) -> None:
    questions = tiny.questions(4, 2)
    longest = [max(len(b.input_ids) for b in encode_question(student, q).branches) for q in questions]
    train = TrainSettings(dtype="float32", epochs=1, max_length_tokens=max(longest) - 4, long_rows="truncate")
    settings = RunSettings(train=train, lora=LoraSettings(rank=2, dropout=0.0))
    attach_lora(student, settings.lora, seed=1)
    report = make_method(method, {}).fit(student, questions, RunContext(tmp_path, settings, seed=1))
    assert report.optimiser_steps == 1
    assert report.extra["truncated"]["rows"] >= 1 <= report.extra["truncated"]["tokens"]


def test_a_run_in_parts_counts_the_cut_rows_of_all_of_them(student: Student, tmp_path: Path) -> None:
    questions = tiny.questions(4, 2)
    encoded = [encode_question(student, question) for question in questions]
    limit = min(len(b.input_ids) for q in encoded for b in q.branches) - 1
    cut = [len(b.input_ids) - limit for q in encoded for b in q.branches]
    train = TrainSettings(dtype="float32", epochs=1, max_length_tokens=limit, long_rows="truncate")
    settings = RunSettings(train=train, lora=LoraSettings(rank=2, dropout=0.0))
    attach_lora(student, settings.lora, seed=1)
    report = make_method("mot", {"rounds": 1}).fit(student, questions, RunContext(tmp_path, settings, seed=1))
    assert report.extra["truncated"] == {"rows": len(cut), "tokens": sum(cut)}


def test_the_setting_leaves_the_keys_of_older_runs_alone() -> None:
    assert "long_rows" not in RunSettings().model_dump()["train"]
    changed = RunSettings(train=TrainSettings(long_rows="truncate"))
    assert changed.model_dump()["train"]["long_rows"] == "truncate"
    assert RunSettings.model_validate(changed.model_dump()) == changed
