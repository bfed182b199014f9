"""One forward pass over the branches of some questions: packed behind shared prompts, or padded rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from compact_bench.branches import EncodedBranch, EncodedQuestion
from compact_bench.errors import ConfigError
from compact_bench.students import Student

__all__ = ["branch_hidden", "choose_layout", "packed_row", "shares_prompt"]

Layout = Literal["packed", "padded"]


def shares_prompt(question: EncodedQuestion) -> bool:
    """Whether all branches of a question start with the same prompt tokens."""
    first = question.branches[0]
    prompt = first.input_ids[: first.prompt_tokens]
    return all(b.input_ids[: b.prompt_tokens] == prompt for b in question.branches)


def choose_layout(
    student: Student, questions: Sequence[EncodedQuestion], wanted: Literal["auto", "packed", "padded"]
) -> Layout:
    """The layout a forward pass takes.

    Args:
        student: whether it can pack at all stands in its layout.
        questions: the questions of the step.
        wanted: the setting `train.layout`.

    Raises:
        ConfigError: "packed" was asked for and cannot be had.
    """
    reason = student.layout.packing_reason or _attention_reason(student)
    if not reason and not all(shares_prompt(q) for q in questions):
        reason = "the branches of a question do not share their prompt's tokens"
    if wanted == "packed" and reason:
        raise ConfigError(f"train.layout=packed cannot be had: {reason}. Use train.layout=auto.")
    return "padded" if reason or wanted == "padded" else "packed"


def _attention_reason(student: Student) -> str:
    # Only this implementation reads a boolean mask as one; "eager" would add its ones to the scores.
    found = student.layout.backbone(student.model).config._attn_implementation
    return (
        ""
        if found == "sdpa"
        else f"attention implementation {found!r} takes no boolean mask, only 'sdpa' does"
    )


def packed_row(branches: Sequence[EncodedBranch], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """All branches of a question behind one copy of their prompt.

    Positions restart after the prompt; a branch sees the prompt and itself, causally.

    Args:
        branches: K branches with one prompt of P tokens.
        device: where the tensors go.

    Returns:
        token ids Int[Tensor, "1 tokens"], positions Int[Tensor, "1 tokens"], and what may be seen
        Bool[Tensor, "1 1 tokens tokens"].
    """
    prompt = branches[0].prompt_tokens
    ids = list(branches[0].input_ids[:prompt])
    positions, owner = list(range(prompt)), [-1] * prompt
    for k, branch in enumerate(branches):
        tail = branch.input_ids[prompt:]
        ids += tail
        positions += range(prompt, prompt + len(tail))
        owner += [k] * len(tail)
    owners = torch.tensor(owner, device=device)
    same = (owners[:, None] == owners[None, :]) | (owners[None, :] == -1)
    seen = torch.tril(torch.ones(len(ids), len(ids), dtype=torch.bool, device=device)) & same
    as_row = torch.tensor([ids], device=device), torch.tensor([positions], device=device)
    return as_row[0], as_row[1], seen[None, None]


def _packed(student: Student, questions: Sequence[EncodedQuestion]) -> list[list[Tensor]]:
    """One row per question, right-padded to the longest."""
    rows = [packed_row(question.branches, student.device) for question in questions]
    longest = max(len(ids[0]) for ids, _, _ in rows)
    ids = torch.full((len(rows), longest), int(student.tokenizer.pad_token_id or 0), device=student.device)
    positions = torch.zeros_like(ids)
    # Padding sees itself, so that no row of the softmax is empty; nothing else sees padding.
    seen = torch.eye(longest, dtype=torch.bool, device=student.device).repeat(len(rows), 1, 1, 1)
    for number, (own_ids, own_positions, own_seen) in enumerate(rows):
        length = own_ids.shape[1]
        ids[number, :length] = own_ids[0]
        positions[number, :length] = own_positions[0]
        seen[number, :, :length, :length] = own_seen[0]
    # Single branches are ordinary causal rows, for which the attention kernels need no mask: padding
    # follows them.
    mask = seen if any(len(question.branches) > 1 for question in questions) else None
    backbone = student.layout.backbone(student.model)
    with student.autocast():
        output = backbone(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)
    return [
        _cut(question.branches, hidden)
        for question, hidden in zip(questions, output.last_hidden_state, strict=True)
    ]


def _cut(branches: Sequence[EncodedBranch], hidden: Tensor) -> list[Tensor]:
    """The states of each branch of a packed row, from the last prompt token on."""
    prompt = branches[0].prompt_tokens
    result, start = [], prompt
    for branch in branches:
        stop = start + len(branch.input_ids) - prompt
        result.append(torch.cat([hidden[prompt - 1 : prompt], hidden[start:stop]]))
        start = stop
    return result


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

    Args:
        student: the student, in whatever mode it is.
        questions: the questions of the step.
        wanted: the layout setting.

    Returns:
        Per question and branch Float[Tensor, "T+2 hidden"]: the last prompt token, the T rationale
        tokens, the end-of-turn token.
    """
    if choose_layout(student, questions, wanted) == "padded":
        return _padded(student, questions)
    return _packed(student, questions)
