"""Decoding in slots against transformers' own greedy decoding, token for token."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from compact_bench.evaluation.generation import generate, generation_reason
from compact_bench.evaluation.guards import read_only
from compact_bench.students import Student, load_student

Folders = Callable[..., Path]
GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "max_gen_toks": 9,
    "until": [],
}


def load(student_folder: Folders, kind: str, dtype: str = "float64") -> Student:
    return load_student(str(student_folder(kind, "chatml")), dtype=dtype, device="cpu")


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


@pytest.mark.parametrize("kind", ["llama", "qwen3", "phi3"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_shared_beginning_is_computed_once(student_folder: Folders, kind: str, dtype: str) -> None:
    student = load(student_folder, kind, dtype)
    # One prompt is the beginning of all others, two are the same.
    shared = prompts(1, seed=2)[0] + [9, 8, 7]
    wanted = [shared + own for own in prompts(7)] + [shared, shared]
    seen: list[int] = []

    def count(module: Any, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
        seen.append(inputs[0].shape[0] * inputs[0].shape[1])

    expected = one_by_one(student, wanted, [], 6)
    handle = student.layout.backbone(student.model).layers[0].mlp.register_forward_hook(count)
    got = generate(student.model, wanted, stop_ids=[], max_new_tokens=6, slots=9, finished=never)
    handle.remove()
    assert got == expected
    longest = max(map(len, wanted)) - len(shared) + 1
    assert seen == [len(shared) - 1, 9 * longest, *[9] * 5]


def test_long_prompts_are_read_in_several_passes(
    student_folder: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = load(student_folder, "llama")
    wanted = [[5 + n, *prompt] for n, prompt in enumerate(prompts(9))]
    expected = one_by_one(student, wanted, [], 4)
    monkeypatch.setattr("compact_bench.evaluation.generation._READ_TOKENS", 60)
    rows: list[tuple[int, ...]] = []
    handle = (
        student.layout.backbone(student.model)
        .layers[0]
        .mlp.register_forward_hook(lambda module, inputs, output: rows.append(tuple(inputs[0].shape[:2])))
    )
    got = generate(student.model, wanted, stop_ids=[], max_new_tokens=4, slots=9, finished=never)
    handle.remove()
    assert got == expected
    assert max(count * tokens for count, tokens in rows) <= 60
    assert sum(tokens > 1 for _, tokens in rows) > 1


@pytest.mark.parametrize(("free", "laid_out"), [(2**40, True), (1000, False), (None, False)])
def test_weights_are_laid_out_where_memory_allows(
    student_folder: Folders, monkeypatch: pytest.MonkeyPatch, free: int | None, laid_out: bool
) -> None:
    student = load(student_folder, "qwen2", "float32")
    monkeypatch.setattr("compact_bench.evaluation.generation.available_memory_bytes", lambda: free)
    inside: list[bool] = []
    linear = student.layout.backbone(student.model).layers[0].self_attn.q_proj

    def look(new: Sequence[int]) -> bool:
        inside.append("forward" in vars(linear))
        return False

    wanted = prompts(5)
    expected = one_by_one(student, wanted, [], 6)
    got = generate(student.model, wanted, stop_ids=[], max_new_tokens=6, slots=3, finished=look)
    assert got == expected
    assert set(inside) == {laid_out}
    assert not any("forward" in vars(module) for module in student.model.modules())


def test_an_error_leaves_the_student_as_before(student_folder: Folders) -> None:
    student = load(student_folder, "llama", "float32")

    def fail(new: Sequence[int]) -> bool:
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        generate(student.model, prompts(3), stop_ids=[], max_new_tokens=3, slots=2, finished=fail)
    assert student.layout.backbone(student.model).config._attn_implementation == "sdpa"
    assert not any("forward" in vars(module) for module in student.model.modules())


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
