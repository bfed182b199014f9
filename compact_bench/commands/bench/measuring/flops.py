"""Useful floating-point operations of a training step, counted from the student's shapes.

Matrix products only, a multiplication and an addition being two. Useful is what the mathematics of a step
needs: no padding, no recomputation, no weight gradient of frozen weights, no input gradient below the lowest
trained weight, causal attention over the pairs of tokens that see each other, logits where a loss reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from compact_bench.commands.bench.contenders.contenders import Rows
from compact_bench.commands.bench.contenders.work import WorkFacts
from compact_bench.students.student import Student

_FIRST_INPUTS = ("q_proj", "k_proj", "v_proj", "qkv_proj")


@dataclass(frozen=True)
class Counts:
    """What a forward pass goes over.

    Attributes:
        tokens: positions through the decoder layers.
        head_positions: positions whose logits are computed.
        attention_pairs: pairs of a position and one that it attends to, itself included.
    """

    tokens: int
    head_positions: int
    attention_pairs: int


def _causal(tokens: int) -> int:
    return tokens * (tokens + 1) // 2


def counts_of(facts: WorkFacts, rows: Rows) -> Counts:
    """What a step goes over, without padding.

    Args:
        rows: "packed": every prompt once, its branches see it and themselves, logits at labels. "rows": a
            row per branch, logits at labels. "released": a row per branch, logits everywhere, because the
            consistency of the released algorithm reads them everywhere.
    """
    tokens = labels = pairs = 0
    for prompt, rationales in zip(facts.prompt_tokens, facts.rationale_tokens, strict=True):
        tails = [rationale + 1 for rationale in rationales]
        labels += sum(tails)
        if rows == "packed":
            tokens += prompt + sum(tails)
            pairs += _causal(prompt) + sum(_causal(prompt + tail) - _causal(prompt) for tail in tails)
        else:
            tokens += sum(prompt + tail for tail in tails)
            pairs += sum(_causal(prompt + tail) for tail in tails)
    return Counts(tokens, tokens if rows == "released" else labels, pairs)


def step_flops(student: Student, counts: Counts) -> int:
    """Operations of one forward and backward pass of a student as it is trained."""
    backbone, head = student.layout.backbone(student.model), student.layout.head(student.model)
    total = 0
    for layer in backbone.layers:
        for name, module in _linears(layer):
            has_gradient = layer is not backbone.layers[0] or _reads_gradients(student, name)
            total += counts.tokens * _product(module, input_gradient=has_gradient)
    total += counts.head_positions * _product(head, input_gradient=True)
    # Scores and their sum over values forward; backward the gradients of weights, values, queries and keys.
    width = student.layout.heads * student.layout.head_dim
    return total + len(backbone.layers) * counts.attention_pairs * width * (4 + 8)


def _linears(layer: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, module) for name, module in layer.named_modules() if isinstance(module, nn.Linear))


def _product(module: Any, *, input_gradient: bool) -> int:
    """Operations per position of a linear layer: forward, and its gradients where they are needed."""
    once = 2 * int(module.weight.shape[0]) * int(module.weight.shape[1])
    return once * (1 + int(input_gradient) + int(module.weight.requires_grad))


def _reads_gradients(student: Student, name: str) -> bool:
    """Whether the gradient of this layer's input is needed, for a layer of the first decoder layer."""
    parts = name.split(".")
    if not set(parts) & set(_FIRST_INPUTS) or "lora_B" in parts:
        return True
    # Queries, keys and values of the first layer read the embeddings; only weights down there need more.
    backbone = student.layout.backbone(student.model)
    below = (backbone.get_input_embeddings(), getattr(backbone.layers[0], "input_layernorm", None))
    return any(p.requires_grad for module in below if module is not None for p in module.parameters())


def linear_shapes(student: Student) -> dict[tuple[int, int], int]:
    """Shape (out, in) of the decoder's linear layers without adapters -> how many layers have it."""
    counts: dict[tuple[int, int], int] = {}
    layers: Sequence[nn.Module] = student.layout.backbone(student.model).layers
    for layer in layers:
        for name, module in _linears(layer):
            if not {"lora_A", "lora_B"} & set(name.split(".")):
                shape = (int(module.weight.shape[0]), int(module.weight.shape[1]))
                counts[shape] = counts.get(shape, 0) + 1
    return counts
