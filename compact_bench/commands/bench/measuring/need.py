"""About how much memory a contender's step takes, so that too large a step is refused beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from compact_bench.commands.bench.contenders.contenders import Contender
from compact_bench.commands.bench.contenders.work import WorkFacts
from compact_bench.commands.bench.measuring.flops import linear_shapes
from compact_bench.core.errors import ConfigError
from compact_bench.core.hardware import available_memory_bytes
from compact_bench.students.student import Student

LIBRARIES_BYTES = 500_000_000
"""What the interpreter and the libraries take on the CPU."""
SLACK = 1.25
"""Temporaries and the allocator's own, over what is counted; from measurements of the packaged student."""
PACKED_POSITIONS = 1024
"""Labels whose logits a packed step holds at a time, about."""
GIB = 1024**3


def free_bytes(device: torch.device) -> int | None:
    """Memory of the device that may still be taken; None where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory_bytes()


def needed_bytes(
    student: Student, contender: Contender, facts: WorkFacts, padded: Sequence[tuple[int, int]]
) -> int:
    """About the peak of a fresh process that makes the contender's steps; `padded` as of `padded_shapes`."""
    width = 2 if student.compute == "bfloat16" else 4
    tokens, positions, copies = _passed(contender, facts, padded)
    vocabulary = int(student.layout.head(student.model).weight.shape[0])
    step = width * _activations(student, contender, tokens) + 4 * vocabulary * positions * copies
    return resting_bytes(student) + int(SLACK * step)


def resting_bytes(student: Student) -> int:
    """About what a process takes between its turns: libraries, weights, gradients and optimiser state."""
    parameters = list(student.model.parameters())
    loaded = sum(p.numel() * p.element_size() for p in parameters)
    # Gradients in the weights' type, two moments of the optimiser.
    loaded += sum(p.numel() * p.element_size() * 3 for p in parameters if p.requires_grad)
    return loaded if student.device.type == "cuda" else loaded + LIBRARIES_BYTES


def _passed(
    contender: Contender, facts: WorkFacts, padded: Sequence[tuple[int, int]]
) -> tuple[int, int, float]:
    """Positions whose activations are held at once, those with logits, and how often logits are held."""
    if contender.rows == "released":
        rows, width = max(padded, key=lambda shape: shape[0] * shape[1])
        pairs = rows * (rows - 1) // 2
        # Log-probabilities, probabilities and three gradients; of a pair two differences, of one row's size.
        return rows * width, rows * width, 5.0 + 2.0 * pairs / rows
    labels = sum(n + 1 for rationales in facts.rationale_tokens for n in rationales)
    if contender.rows == "packed":
        # Few logits are held at a time, or none once their gradients are there.
        return facts.packed_tokens, min(labels, PACKED_POSITIONS), 3.0
    longest = max(
        prompt + max(rationales) + 1
        for prompt, rationales in zip(facts.prompt_tokens, facts.rationale_tokens, strict=True)
    )
    computed = longest * sum(len(rationales) for rationales in facts.rationale_tokens)
    return computed, computed, 3.0


def _activations(student: Student, contender: Contender, tokens: int) -> int:
    """Numbers that the backward pass reads from the decoder layers."""
    layers = len(student.layout.backbone(student.model).layers)
    shapes = {shape: count // layers for shape, count in linear_shapes(student).items()}
    hidden = int(student.layout.head(student.model).weight.shape[1])
    widest = max(max(shape) for shape in shapes)
    each = sum(out * count for (out, _), count in shapes.items()) + 6 * hidden + 2 * widest
    if any("lora_" in name for name, _ in student.model.named_parameters()):
        # Dropout of every adapter keeps a copy of its input, and a mask of a byte a number.
        each += sum(into * count * 5 // 4 for (_, into), count in shapes.items())
    if contender.checkpointed:
        return tokens * (layers * hidden + each)
    return tokens * layers * each


def shortage(
    student: Student,
    contender: Contender,
    facts: WorkFacts,
    padded: Sequence[tuple[int, int]],
    others: int = 0,
) -> str:
    """Why there is too little memory for a contender beside `others` resting processes, or ""."""
    free = free_bytes(student.device)
    needed = needed_bytes(student, contender, facts, padded)
    resting = others * resting_bytes(student)
    if free is None or needed + resting <= free:
        return ""
    beside = f" beside {resting / GIB:.1f} GiB of the other contenders" if others else ""
    return f"needs about {needed / GIB:.1f} GiB{beside}, {free / GIB:.1f} GiB are free"


def check_memory(
    student: Student,
    contenders: Sequence[Contender],
    facts: WorkFacts,
    padded: Sequence[tuple[int, int]],
) -> None:
    """Refuse work for which this machine has too little memory.

    Raises:
        ConfigError: memory is too little for some of them, with how much each needs.
    """
    others = len(contenders) - 1
    short = {c.name: reason for c in contenders if (reason := shortage(student, c, facts, padded, others))}
    if short:
        raise ConfigError(
            "too little memory: "
            + "; ".join(f"{name} {reason}" for name, reason in short.items())
            + ". Leave them out of --contenders, or use fewer teachers, shorter rationales, fewer questions."
        )
