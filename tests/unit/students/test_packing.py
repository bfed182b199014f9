"""Packed rows against one plain forward pass per tail, states and gradients."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from compact_bench.students.compute.packing import packed_hidden, packed_states, packing_reason
from compact_bench.students.compute.packing_plan import PackedRow, lay_out, make_plan
from compact_bench.students.student import Student, load_student

Folders = Callable[..., Path]
# In gemma3 here one layer has a window of 16 tokens, in phi3 every layer one of 9.
KINDS: dict[str, dict[str, int]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "phi": {},
    "phi3": {"sliding_window": 9},
    "gemma3": {},
}


def load(student_folder: Folders, kind: str) -> Student:
    return load_student(str(student_folder(kind, "chatml", **KINDS[kind])), dtype="float64", device="cpu")


def rows(prompts: Sequence[int], tails: Sequence[Sequence[int]], seed: int = 3) -> list[PackedRow]:
    """Random tokens: lengths of prompts, and of each prompt's tails."""
    dice = random.Random(seed)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(dice.randrange(3, 90) for _ in range(count))

    return [
        PackedRow(tokens(p), tuple(tokens(t) for t in of_row))
        for p, of_row in zip(prompts, tails, strict=True)
    ]


def one_by_one(student: Student, row: PackedRow) -> list[Tensor]:
    backbone = student.layout.backbone(student.model)
    return [
        backbone(input_ids=torch.tensor([[*row.prompt, *tail]]), use_cache=False).last_hidden_state[
            0, len(row.prompt) - 1 :
        ]
        for tail in row.tails
    ]


def gradient(student: Student, states: list[list[Tensor]]) -> dict[str, Tensor]:
    student.model.zero_grad(set_to_none=True)
    weighted = [
        (state * torch.linspace(-1, 1, state.numel(), dtype=state.dtype).view_as(state)).sum() * (n + 1)
        for n, state in enumerate(s for of_row in states for s in of_row)
    ]
    torch.stack(weighted).sum().backward()
    return {n: p.grad for n, p in student.model.named_parameters() if p.grad is not None}


CASES = {
    "long tails": ([5, 3], [[20, 31, 7], [26, 24]]),
    "short tails": ([40, 33], [[1, 2, 5, 1], [3, 1]]),
    "empty tails": ([12, 9], [[0, 4, 0], [2]]),
    "one of each": ([6], [[11]]),
    "many lengths": ([2], [[1, 60, 30, 2, 45, 3, 17]]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_packed_states_and_gradients_are_those_of_single_rows(
    student_folder: Folders, kind: str, case: str
) -> None:
    student = load(student_folder, kind)
    assert packing_reason(student.model, student.layout) == ""
    packed = rows(*CASES[case])
    expected = [one_by_one(student, row) for row in packed]
    theirs = gradient(student, expected)
    got = packed_hidden(student.model, student.layout, packed)
    # float32 norms inside some families limit what agrees.
    for of_row, others in zip(got, expected, strict=True):
        for one, other in zip(of_row, others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    ours = gradient(student, got)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert float((value - theirs[name]).norm()) <= 1e-5 * float(theirs[name].norm()) + 1e-9, name


@pytest.mark.parametrize("kind", ["llama", "qwen3", "phi"])
def test_fillers_are_what_right_padding_computes(student_folder: Folders, kind: str) -> None:
    student = load(student_folder, kind)
    (row,) = rows([6], [[9, 4, 12]])
    fillers = tuple((0,) * (12 - len(tail)) for tail in row.tails)
    prompt, tails = packed_states(student.model, student.layout, [PackedRow(row.prompt, row.tails, fillers)])[
        0
    ]
    ids = torch.tensor([[*row.prompt, *t, *f] for t, f in zip(row.tails, fillers, strict=True)])
    mask = torch.tensor([[1] * (6 + len(t)) + [0] * len(f) for t, f in zip(row.tails, fillers, strict=True)])
    expected = student.layout.backbone(student.model)(
        input_ids=ids, attention_mask=mask, use_cache=False
    ).last_hidden_state
    for k, tail in enumerate(tails):
        torch.testing.assert_close(torch.cat([prompt, tail]), expected[k], rtol=1e-5, atol=1e-6)


def test_every_token_is_computed_once(student_folder: Folders) -> None:
    student = load(student_folder, "llama")
    packed = rows([30, 20], [[40, 45, 50], [10]])
    seen: list[int] = []
    layer = student.layout.backbone(student.model).layers[0].mlp
    handle = layer.register_forward_hook(
        lambda module, inputs, output: seen.append(output.shape[:-1].numel())
    )
    packed_hidden(student.model, student.layout, packed)
    handle.remove()
    assert seen == [30 + 20 + 40 + 45 + 50 + 10]


def test_attention_grows_with_the_tails_and_not_with_their_square() -> None:
    def pairs(count: int) -> int:
        _, _, tails = lay_out(rows([20], [[30] * count]))
        plan = make_plan(tails[0], 20 + 30 * count, 1, torch.device("cpu"))
        return sum(len(call.queries) * len(call.keys) // call.rows for call in plan.calls)

    assert pairs(16) == 4 * pairs(4)


def test_the_attention_implementation_is_put_back(student_folder: Folders) -> None:
    student = load(student_folder, "llama")
    config = student.layout.backbone(student.model).config
    before = config._attn_implementation
    packed_hidden(student.model, student.layout, rows([4], [[5, 6]]))
    assert config._attn_implementation == before == "sdpa"


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("gemma2", {"attn_logit_softcapping": 30.0}, "caps its attention scores"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "depends on the row",
        ),
    ],
)
def test_what_cannot_be_packed_is_refused_with_the_reason(
    student_folder: Folders, kind: str, changes: dict[str, object], reason: str
) -> None:
    student = load_student(str(student_folder(kind, "chatml", **changes)), dtype="float32", device="cpu")
    assert reason in packing_reason(student.model, student.layout)
