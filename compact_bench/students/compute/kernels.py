"""Which code computes a training step: packed attention, lean layers on CPUs, Liger's kernels on GPUs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from compact_bench.core.errors import ConfigError, NumericalError
from compact_bench.core.hardware import keep_freed_memory, return_freed_memory
from compact_bench.core.settings import TrainSettings
from compact_bench.students.compute.lean_layers import lean_layers
from compact_bench.students.compute.packing import packed_attention, packing_reason
from compact_bench.students.layout import base_model
from compact_bench.students.student import Student

Kernels = Literal["plain", "lean", "liger"]

# Relative to the norm of each gradient; bfloat16 has 8 bits.
_TOLERANCES = {"float32": (1e-5, 1e-4), "bfloat16": (5e-3, 3e-2)}


@dataclass(frozen=True)
class StepPath:
    """What computes the steps of a training.

    Attributes:
        layout: "packed", or "padded" rows.
        layout_reason: why not packed, or "".
        kernels: "plain", "lean" or "liger".
    """

    layout: Literal["packed", "padded"]
    layout_reason: str
    kernels: Kernels

    def facts(self) -> dict[str, str]:
        """For the run's record."""
        return asdict(self)


@contextmanager
def fast_step(student: Student, settings: TrainSettings, sample: Callable[[], Tensor]) -> Iterator[StepPath]:
    """Everything that makes training steps fast is in place inside, and as before at the end.

    Args:
        student: its `compute` is set already.
        settings: `layout`, `kernels` and `gradient_checkpointing`.
        sample: the loss of a question, for the check of kernels that other people wrote.

    Raises:
        ConfigError: the requested kernels are not available.
        NumericalError: they compute something else than the plain ones.
    """
    reason = packing_reason(student.model, student.layout)
    if settings.layout == "padded":
        reason = "train.layout=padded"
    kernels = _choose(student, settings)
    with ExitStack() as stack:
        if not reason:
            # Around the backward pass too, where recomputed activations call attention again.
            stack.enter_context(packed_attention(student.model, student.layout))
        if kernels == "lean":
            stack.enter_context(lean_layers(student.model))
        elif kernels == "liger":
            stack.enter_context(_liger(student, sample))
        if settings.gradient_checkpointing:
            stack.enter_context(recomputed_activations(student))
        if student.device.type == "cpu":
            # Who recomputes activations wants memory more than time.
            low = settings.gradient_checkpointing
            stack.enter_context(return_freed_memory() if low else keep_freed_memory())
        yield StepPath("padded" if reason else "packed", reason, kernels)


@contextmanager
def recomputed_activations(student: Student) -> Iterator[None]:
    """The backward pass computes each layer's activations again inside, instead of keeping them."""
    model = base_model(student.model)
    model.enable_input_require_grads()
    # transformers renamed the methods; the old names warn, the new ones are not in every version we allow.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    disable = getattr(model, "activation_checkpointing_disable", None) or model.gradient_checkpointing_disable
    enable({"use_reentrant": False})
    try:
        yield
    finally:
        disable()
        model.disable_input_require_grads()


def _choose(student: Student, settings: TrainSettings) -> Kernels:
    if settings.kernels != "auto":
        return settings.kernels
    return "lean" if student.device.type == "cpu" and student.compute == "float32" else "plain"


@contextmanager
def _liger(student: Student, sample: Callable[[], Tensor]) -> Iterator[None]:
    """Liger's norms and gated layers in this model's instance only; what it changes elsewhere is not used."""
    if student.device.type != "cuda":
        raise ConfigError(
            f"train.kernels=liger: expected a GPU, got {student.device.type}. Use train.kernels=auto."
        )
    try:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance as apply
    except ImportError as error:
        raise ConfigError(
            f"train.kernels=liger: expected the package liger-kernel, got {error}. Install it with "
            "`pip install liger-kernel`, or use train.kernels=auto."
        ) from None
    before = {id(m): set(vars(m)) for m in student.model.modules()}
    # Liger also renames classes in the family's module, which models loaded later would be made of.
    family = vars(sys.modules[type(base_model(student.model)).__module__])
    names = dict(family)

    def put_in_place() -> None:
        # Rotary embedding would be replaced for every model of the process.
        apply(
            model=base_model(student.model), rope=False, cross_entropy=False, fused_linear_cross_entropy=False
        )
        if all(set(vars(m)) == before[id(m)] for m in student.model.modules()):
            raise ConfigError(
                f"train.kernels=liger: liger-kernel has none for {student.layout.family!r} models. "
                "Use train.kernels=auto."
            )

    try:
        check_kernels(student, sample, put_in_place)
        yield
    finally:
        family.update(names)
        for module in student.model.modules():
            for name in set(vars(module)) - before[id(module)]:
                delattr(module, name)


def check_kernels(student: Student, sample: Callable[[], Tensor], put_in_place: Callable[[], None]) -> None:
    """Compare loss and gradients before and after `put_in_place`, which stays; both without dropout.

    Raises:
        NumericalError: they differ by more than rounding.
    """
    tolerance, gradient_tolerance = _TOLERANCES[student.compute]
    training = student.model.training
    student.model.eval()
    try:
        expected, gradients = _loss_and_gradients(student.model, sample)
        put_in_place()
        got, others = _loss_and_gradients(student.model, sample)
    finally:
        student.model.train(training)
    # "not <=" rather than ">": a NaN on either side must be refused too.
    if not abs(got - expected) <= tolerance * max(1.0, abs(expected)):
        raise NumericalError(
            f"train.kernels: the kernels give a loss of {got:.8g}, the plain layers {expected:.8g}: expected "
            f"at most {tolerance:g} between them. Use train.kernels=auto."
        )
    for name, gradient in gradients.items():
        error = float((others[name] - gradient).norm())
        size = float(gradient.norm())
        if not error <= gradient_tolerance * size + 1e-12:
            raise NumericalError(
                f"train.kernels: the gradient of {name} differs by {error:.3g} from one of size {size:.3g}, "
                f"expected at most {gradient_tolerance:g} of it. Use train.kernels=auto."
            )


def _loss_and_gradients(model: nn.Module, sample: Callable[[], Tensor]) -> tuple[float, dict[str, Tensor]]:
    model.zero_grad(set_to_none=True)
    loss = sample()
    torch.autograd.backward(loss)
    gradients = {
        name: parameter.grad.detach().float().clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    model.zero_grad(set_to_none=True)
    return float(loss.detach()), gradients
