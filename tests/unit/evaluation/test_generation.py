"""Decoding in slots against transformers' own greedy decoding, token for token."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from compact_bench.evaluation.engines.generation import _alike, generate, generation_reason
from compact_bench.evaluation.guards import read_only
from compact_bench.students.student import Student, load_student

Folders = Callable[..., Path]
GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "max_gen_toks": 9,
    "until": [],
}


def load(student_folder: Folders, kind: str) -> Student:
    return load_student(str(student_folder(kind, "chatml")), dtype="float64", device="cpu")


def prompts(count: int, seed: int = 5) -> list[list[int]]:
    dice = random.Random(seed)
    return [[dice.randrange(5, 90) for _ in range(dice.choice((1, 2, 7, 30, 55)))] for _ in range(count)]


def never(new: Sequence[int]) -> bool:
    return False


def one_by_one(student: Student, wanted: list[list[int]], stops: list[int], longest: int) -> list[list[int]]:
    """transformers' continuation of each prompt on its own, up to its stop token."""
    found = []
    for prompt in wanted:
        with read_only(student.model):
            ids = student.model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                do_sample=False,
                max_new_tokens=longest,
                eos_token_id=stops or None,
                pad_token_id=0,
            )
        found.append(ids[0, len(prompt) :].tolist())
    return found


@pytest.mark.parametrize("slots", [1, 3, 50])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "phi", "phi3"])
def test_tokens_are_transformers_own(student_folder: Folders, kind: str, slots: int) -> None:
    student = load(student_folder, kind)
    wanted = prompts(11)
    free = one_by_one(student, wanted, [], 12)
    # Two tokens that end some of the sequences early and others not at all.
    stops = [free[0][2], free[3][5]]
    expected = one_by_one(student, wanted, stops, 12)
    assert len({len(tokens) for tokens in expected}) > 1
    got = generate(student.model, wanted, stop_ids=stops, max_new_tokens=12, slots=slots, finished=never)
    assert got == expected


def test_what_ends_a_sequence_is_asked_after_every_token(student_folder: Folders) -> None:
    student = load(student_folder, "llama")
    wanted = prompts(6)
    free = one_by_one(student, wanted, [], 8)
    ends = free[2][:3]

    def finished(new: Sequence[int]) -> bool:
        return list(new[-3:]) == ends

    got = generate(student.model, wanted, stop_ids=[], max_new_tokens=8, slots=4, finished=finished)
    assert got[2] == ends
    for tokens, whole in zip(got, free, strict=True):
        assert tokens == whole[: len(tokens)]
        assert len(tokens) == 8 or tokens[-3:] == ends


def test_slots_are_filled_again(student_folder: Folders) -> None:
    """With sequences of very different lengths, far fewer passes are made than batch by batch."""
    student = load(student_folder, "llama")
    wanted, lengths = prompts(12), [2, 2, 2, 20] * 3
    order = sorted(range(12), key=lambda n: -len(wanted[n]))
    longest = dict(zip(order, lengths, strict=True))
    free = one_by_one(student, wanted, [], 20)
    stop_after = {tuple(free[n][: longest[n]]) for n in range(12)}
    passes = 0

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    handle = student.layout.backbone(student.model).layers[0].mlp.register_forward_hook(count)
    got = generate(
        student.model,
        wanted,
        stop_ids=[],
        max_new_tokens=20,
        slots=4,
        finished=lambda new: tuple(new) in stop_after,
    )
    handle.remove()
    assert [len(tokens) for tokens in got] == [longest[n] for n in range(12)]
    assert passes < 3 * 20, "three batches of four would take sixty"


def test_progress_and_no_prompts(student_folder: Folders) -> None:
    student = load(student_folder, "llama")
    seen: list[tuple[int, int]] = []
    generate(
        student.model, prompts(3), stop_ids=[], max_new_tokens=2, slots=2, finished=never,
        on_done=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert generate(student.model, [], stop_ids=[], max_new_tokens=2, slots=2, finished=never) == []


def test_the_student_is_as_before(student_folder: Folders) -> None:
    student = load(student_folder, "llama")
    state = torch.get_rng_state()
    generate(student.model, prompts(3), stop_ids=[], max_new_tokens=3, slots=2, finished=never)
    assert student.layout.backbone(student.model).config._attn_implementation == "sdpa"
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(p.grad is not None for p in student.model.parameters())


def test_what_is_not_plain_greedy_decoding_is_refused_by_name(student_folder: Folders) -> None:
    student = load(student_folder, "llama")
    assert generation_reason(student.model, GREEDY) == ""
    assert "do_sample=True" in generation_reason(student.model, {**GREEDY, "do_sample": True})
    assert "num_beams=4" in generation_reason(student.model, {**GREEDY, "num_beams": 4})
    assert "no_repeat_ngram_size=3" in generation_reason(student.model, {**GREEDY, "no_repeat_ngram_size": 3})
    student.model.generation_config.repetition_penalty = 1.3
    assert generation_reason(student.model, GREEDY) == "", "the task switches it off"
    assert "repetition_penalty=1.3" in generation_reason(student.model, {})


def test_windows_and_other_attention_are_refused(student_folder: Folders) -> None:
    assert "sliding-window" in generation_reason(load(student_folder, "gemma3").model, GREEDY)
    assert "eager" in generation_reason(load(student_folder, "gemma2").model, GREEDY)


def test_prompts_of_like_length_are_read_together() -> None:
    assert _alike([100, 90, 86, 84, 20], 1) == 3, "what is much shorter would be padded: it waits"
    assert _alike([100, 20, 20, 20], 3) == 3, "but no pass reads fewer than are worth one"
    assert _alike([7, 7], 5) == 2
