"""Scoring options with a shared context against the plain harness, item for item."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from compact_bench.evaluation.engines.choices import Continuation, score_continuations
from compact_bench.evaluation.guards import quiet_harness, read_only
from compact_bench.students.compute.packing import packing_reason
from compact_bench.students.student import Student, load_student

Folders = Callable[..., Path]
CONTEXTS = (
    "Where does one buy bread?",
    "A dog is",
    "Adam has 5 apples and eats 2 of them. " * 4 + "How many are left?",
    "The answer is",
)
OPTIONS = (" in a bakery", " an animal that barks", " 3", " three apples of the five", " red")


def plain(student: Student, pairs: list[tuple[str, str]], batch_size: int) -> list[tuple[float, bool]]:
    from lm_eval.models.huggingface import HFLM

    with quiet_harness(), read_only(student.model):
        model: Any = HFLM(pretrained=student.model, tokenizer=student.tokenizer, batch_size=batch_size)
        requests = [SimpleNamespace(args=pair) for pair in pairs]
        found: list[tuple[float, bool]] = model.loglikelihood(requests, disable_tqdm=True)
    return found


def fast(student: Student, pairs: list[tuple[str, str]], batch_size: int) -> list[tuple[float, bool]]:
    from lm_eval.models.huggingface import HFLM

    with quiet_harness(), read_only(student.model):
        model: Any = HFLM(pretrained=student.model, tokenizer=student.tokenizer)
        encoded = [model._encode_pair(*pair) for pair in pairs]
        wanted = [Continuation(tuple(context), tuple(tokens)) for context, tokens in encoded]
        return score_continuations(student.model, student.layout, wanted, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "phi", "phi3", "gemma3"])
def test_scores_are_the_harness_s(student_folder: Folders, kind: str, batch_size: int) -> None:
    student = load_student(str(student_folder(kind, "chatml")), dtype="float32", device="cpu")
    assert packing_reason(student.model, student.layout) == ""
    pairs = [(context, option) for option in OPTIONS for context in CONTEXTS]
    expected, got = plain(student, pairs, 4), fast(student, pairs, batch_size)
    assert [x for x, _ in got] == pytest.approx([x for x, _ in expected], rel=1e-5, abs=1e-5)
    assert [hit for _, hit in got] == [hit for _, hit in expected]
    assert len({round(x, 3) for x, _ in got}) > len(OPTIONS)


def test_the_likeliest_continuation_is_known_as_such(student_folder: Folders) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    context = student.tokenizer("A dog is")["input_ids"]
    with torch.no_grad():
        grown = student.model.generate(
            torch.tensor([context]), max_new_tokens=3, do_sample=False, eos_token_id=None, pad_token_id=0
        )[0].tolist()
    best = tuple(grown[len(context) :])
    other = (*best[:-1], (best[-1] + 1) % 100)
    wanted = [Continuation(tuple(context), best), Continuation(tuple(context), other)]
    (first, is_best), (second, is_other) = score_continuations(
        student.model, student.layout, wanted, batch_size=2
    )
    assert is_best and not is_other
    assert first > second


def test_logits_in_pieces_change_nothing(student_folder: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float64", device="cpu")
    pairs = [(context, option) for context in CONTEXTS for option in OPTIONS]
    whole = fast(student, pairs, 50)
    monkeypatch.setattr("compact_bench.evaluation.engines.choices._PIECE_BYTES", 1)
    pieces = fast(student, pairs, 50)
    assert [x for x, _ in pieces] == pytest.approx([x for x, _ in whole], rel=1e-12)


def test_progress_counts_continuations(student_folder: Folders) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    wanted = [Continuation((5, 6, 7 + n // 3), (8, 9 + n % 3)) for n in range(12)]
    seen: list[int] = []
    score_continuations(student.model, student.layout, wanted, batch_size=6, on_done=seen.append)
    assert seen == [6, 12]
