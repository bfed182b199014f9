"""Running `explain` and the reference loops on the same student, and comparing what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from compact_bench.core.settings import LoraSettings
from compact_bench.students.student import Student, attach_lora, load_student
from tests.golden import reference
from tests.golden.reference import Result, Setting

# Every tiny model with the kind of chat template that its real family has.
NATIVE = {
    "llama": "llama3",
    "llama_untied": "chatml_merging",
    "qwen2": "chatml",
    "qwen3": "chatml",
    "gemma2": "gemma",
    "gemma3": "gemma",
    "phi": "chatml",
    "phi3": "chatml_merging",
}


def load(folder: Path, *, lora: bool = False, dtype: str = "float64") -> Student:
    """A tiny student in evaluation mode; with adapters that already differ from nothing, if asked for."""
    student = load_student(str(folder), dtype=dtype, device="cpu")
    if lora:
        attach_lora(student, LoraSettings(rank=4, alpha=8.0, dropout=0.0), seed=3)
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for name, parameter in student.model.named_parameters():
                if "lora_B" in name:
                    parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    student.model.eval()
    return student


def overrides(setting: Setting) -> dict[str, Any]:
    """A setting as the overrides of a method's configuration."""
    names = ("beta_adaptability", "beta_consensus", "beta_difficulty")
    return {
        **dict(zip(names, setting.betas, strict=True)),
        "temperature": setting.temperature,
        "lambda_consistency": setting.lambda_consistency,
        "epsilon": setting.epsilon,
        "sft_reduction": setting.sft_reduction,
        "thinking_words": tuple(setting.thinking_words),
    }


def close(got: Sequence[float], expected: Sequence[float], tolerance: float, what: str) -> None:
    """Two lists of floats are one, absolutely and relatively, to `tolerance`."""
    assert list(got) == pytest.approx(list(expected), rel=tolerance, abs=tolerance), what


def compare(
    student: Student,
    expected: Result,
    explain_it: Callable[[], Any],
    *,
    tolerance: float = 1e-6,
) -> Any:
    """Check a report and the gradients it left behind against the loops.

    Args:
        student: gradients are cleared first, then read.
        expected: of the loops, on the same student.
        explain_it: runs `explain(..., backward=True)`.
        tolerance: for the numbers; gradients get 1e-4 relative each.

    Returns:
        The report.
    """
    grads = reference.gradients(student.model, expected.loss)
    student.model.zero_grad(set_to_none=True)
    report = explain_it()
    close(report.adaptability, expected.adaptability, tolerance, "adaptability")
    close(report.consensus, expected.consensus, tolerance, "consensus")
    close(report.difficulty, expected.difficulty, tolerance, "difficulty")
    close(report.teacher_weights, expected.weights, tolerance, "teacher weights")
    close(report.supervised_losses, expected.supervised, tolerance, "supervised losses")
    close([report.consistency_loss], [expected.consistency], tolerance, "consistency")
    close([report.loss], [expected.loss.item()], tolerance, "loss")
    compare_gradients(student, grads)
    return report


def compare_gradients(student: Student, grads: dict[str, torch.Tensor]) -> None:
    """Gradients on the student equal the loops', each parameter to 1e-4 relative."""
    largest = max(float(g.norm()) for g in grads.values())
    assert largest > 0
    for name, parameter in student.model.named_parameters():
        if name not in grads:
            assert parameter.grad is None, f"{name} does not train but has a gradient"
            continue
        got = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        error = float((got - grads[name]).norm())
        # The floor covers parameters whose true gradient is zero (a key bias, for one).
        assert error <= 1e-4 * float(grads[name].norm()) + 1e-7 * largest, name


def explained(
    student: Student, question: Any, variant: str, setting: Setting | None = None
) -> Callable[[], Any]:
    """A call of `explain` with gradients, under a setting's numbers where one is given."""
    from compact_bench import explain

    if setting is None:
        return lambda: explain(student, question, variant=variant, backward=True)
    return lambda: explain(
        student,
        question,
        variant=variant,
        config=overrides(setting),
        backward=True,
        max_length_tokens=setting.max_length_tokens,
    )
