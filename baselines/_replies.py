"""A student's own sampled replies to questions, the same for a seed however questions are ordered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from compact_bench import (
    Question,
    Student,
    derive_seed,
    encode_row,
    prompt_ids,
    stop_ids,
    unknown_finder,
)


@torch.no_grad()
def sampled_replies(
    student: Student,
    questions: Sequence[Question],
    *,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    batch_size: int,
    seed: int,
) -> dict[str, str]:
    """Question id -> what the student replies, without its end-of-turn token.

    Every question has a generator of its own, made of seed and id; no global one is drawn from.

    Args:
        student: the student as it is; dropout is off.
        temperature: the logits are divided by it.
        top_p: probability mass of the likeliest tokens that are drawn from.
        max_new_tokens: longest reply.
        batch_size: questions answered together.
        seed: the run's.
    """
    prompts = {question.id: prompt_ids(student.tokenizer, question.text) for question in questions}
    order = sorted(prompts, key=lambda name: (len(prompts[name]), name))
    stops = _stop_ids(student)
    training = student.model.training
    student.model.eval()
    replies = {}
    try:
        for start in range(0, len(order), batch_size):
            names = order[start : start + batch_size]
            generators = [torch.Generator().manual_seed(derive_seed(seed, f"reply/{name}")) for name in names]
            sampler = _Sampler(temperature, top_p, generators)
            rows = _continued(student, [prompts[name] for name in names], sampler, stops, max_new_tokens)
            for name, row in zip(names, rows, strict=True):
                replies[name] = _text(student.tokenizer, row)
    finally:
        student.model.train(training)
    return {question.id: replies[question.id] for question in questions}


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    """Tokens as a text that the tokenizer can read again."""
    text = str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
    find = unknown_finder(tokenizer)
    if find is None or not find(text):
        return text
    # To a tokenizer of whole words two signs in a row are an unknown one; apart they are known.
    return " ".join(part for i in ids if (part := tokenizer.decode([i], skip_special_tokens=True)))


def _stop_ids(student: Student) -> frozenset[int]:
    """What ends a reply: the token that the chat template closes a turn with, and the student's own ends."""
    return frozenset([encode_row(student.tokenizer, "a", "a").input_ids[-1], *stop_ids(student.model)])


class _Sampler:
    """Draws a token per row, each row by its own generator."""

    def __init__(self, temperature: float, top_p: float, generators: Sequence[torch.Generator]) -> None:
        from transformers import TemperatureLogitsWarper, TopPLogitsWarper

        self.warpers: list[Any] = [TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)]
        self.generators = generators

    def draw(self, logits: Tensor) -> Tensor:
        """Int[Tensor, "rows"], from Float[Tensor, "rows vocab"]."""
        scores = logits.float()
        for warp in self.warpers:
            scores = warp(None, scores)
        reached = torch.softmax(scores.double(), dim=-1).cumsum(dim=-1)
        drawn = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in self.generators])
        # The first token whose share of the mass begins at or before the drawn number and ends after it.
        return (reached <= drawn.to(reached)[:, None] * reached[:, -1:]).sum(dim=-1)


def _continued(
    student: Student, prompts: Sequence[Sequence[int]], sampler: _Sampler, stops: Collection[int], most: int
) -> list[list[int]]:
    """New tokens of every prompt, up to the one that ends it, which is left out."""
    from transformers import DynamicCache

    longest, pad = max(map(len, prompts)), int(student.tokenizer.pad_token_id or 0)
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts], device=student.device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=student.device)
    model: Any = student.model
    cache = DynamicCache(config=model.config)
    rows: list[list[int]] = [[] for _ in prompts]
    running = [True] * len(prompts)
    for _ in range(most):
        places = (mask.cumsum(dim=-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with student.autocast():
            logits = model(
                input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
            ).logits[:, -1]
        ids = sampler.draw(logits)[:, None]
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        for number, token in enumerate(ids[:, 0].tolist()):
            running[number] &= token not in stops
            if running[number]:
                rows[number].append(token)
        if not any(running):
            break
    return rows
