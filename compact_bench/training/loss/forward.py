"""One forward pass over the branches of some questions: packed behind shared prompts, or as padded rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from compact_bench.core.errors import ConfigError
from compact_bench.students.compute.packing import packed_hidden, packing_reason
from compact_bench.students.compute.packing_plan import PackedRow
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedBranch, EncodedQuestion

Layout = Literal["packed", "padded"]


def layout_for(wanted: Literal["auto", "packed", "padded"], reason: str) -> Layout:
    """The layout that a setting and a reason against packing leave.

    Raises:
        ConfigError: "packed" was requested and is not possible.
    """
    if wanted == "packed" and reason:
        raise ConfigError(f"train.layout=packed cannot be had: {reason}. Use train.layout=auto.")
    return "padded" if reason or wanted == "padded" else "packed"


def _packed(student: Student, questions: Sequence[EncodedQuestion]) -> list[list[Tensor]]:
    groups = [_by_prompt(q) for q in questions]
    rows = [
        packed_row([q.branches[i] for i in group])
        for q, of in zip(questions, groups, strict=True)
        for group in of
    ]
    with student.autocast():
        states = iter(packed_hidden(student.model, student.layout, rows))
    result = []
    for of_question in groups:
        by_place = {i: s for group in of_question for i, s in zip(group, next(states), strict=True)}
        result.append([by_place[i] for i in range(len(by_place))])
    return result


def _by_prompt(question: EncodedQuestion) -> list[list[int]]:
    """Indices of the branches that share a prompt, prompt by prompt."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, branch in enumerate(question.branches):
        groups.setdefault(branch.input_ids[: branch.prompt_tokens], []).append(index)
    return list(groups.values())


def packed_row(branches: Sequence[EncodedBranch]) -> PackedRow:
    """All branches of a question behind one copy of their prompt."""
    prompt = branches[0].prompt_tokens
    return PackedRow(branches[0].input_ids[:prompt], tuple(b.input_ids[prompt:] for b in branches))


def _padded(student: Student, questions: Sequence[EncodedQuestion]) -> list[list[Tensor]]:
    rows = [b for q in questions for b in q.branches]
    longest = max(len(b.input_ids) for b in rows)
    pad = int(student.tokenizer.pad_token_id or 0)
    ids = torch.full((len(rows), longest), pad, device=student.device)
    mask = torch.zeros((len(rows), longest), dtype=torch.long, device=student.device)
    for i, branch in enumerate(rows):
        ids[i, : len(branch.input_ids)] = torch.tensor(branch.input_ids, device=student.device)
        mask[i, : len(branch.input_ids)] = 1
    backbone = student.layout.backbone(student.model)
    with student.autocast():
        hidden = backbone(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    cut = [hidden[i, b.prompt_tokens - 1 : len(b.input_ids)] for i, b in enumerate(rows)]
    result, start = [], 0
    for question in questions:
        result.append(cut[start : start + len(question.branches)])
        start += len(question.branches)
    return result


def branch_hidden(
    student: Student,
    questions: Sequence[EncodedQuestion],
    wanted: Literal["auto", "packed", "padded"] = "auto",
) -> list[list[Tensor]]:
    """Hidden states after the final norm, where the losses and scores read them.

    Branches of a question that have different prompts are packed prompt by prompt.

    Returns:
        Per question and branch Float[Tensor, "T+2 hidden"]: the last prompt token, the T rationale
        tokens, the end-of-turn token.
    """
    if layout_for(wanted, packing_reason(student.model, student.layout)) == "padded":
        return _padded(student, questions)
    return _packed(student, questions)
