"""A student set up for training, and one optimiser step of a contender, timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from compact_bench.commands.bench.contenders.contenders import Contender, Pass
from compact_bench.commands.bench.contenders.work import Work
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.core.errors import NumericalError
from compact_bench.core.hardware import choose_compute_dtype
from compact_bench.students.compute.kernels import fast_step, recomputed_activations
from compact_bench.students.student import Student, attach_lora, load_student


def open_student(settings: StepSettings) -> Student:
    """The student as a run trains it: adapters where there are any, training mode."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    dtype = "float32" if settings.train.dtype == "float32" else "auto"
    student = load_student(settings.student, dtype=dtype, device=settings.device)
    attach_lora(student, settings.lora, settings.seed)
    student.compute = choose_compute_dtype(settings.train.dtype, student.device)
    student.model.train()
    return student


@dataclass(frozen=True)
class Prepared:
    """A contender and its forward and backward pass over the encoded work."""

    contender: Contender
    work: Pass


@dataclass(frozen=True)
class TimedStep:
    """One optimiser step.

    Attributes:
        seconds: of forward and backward pass, clipping, AdamW, and dropping the gradients.
        loss: before the update.
        path: what computed it where that is ours: layout and kernels, as in a run's record; else empty.
    """

    seconds: float
    loss: float
    path: dict[str, str]


class Stepper:
    """Makes optimiser steps of contenders on one student, all of them from the same weights.

    Args:
        student: in training mode.
    """

    def __init__(self, student: Student, settings: StepSettings) -> None:
        self.student, self._settings = student, settings
        self._trained = [p for p in student.model.parameters() if p.requires_grad]
        # AdamW computes the same at any rate; at 0 every step is the same work on the same weights.
        self._optimiser = torch.optim.AdamW(self._trained, lr=0.0, weight_decay=settings.train.weight_decay)

    def prepare(self, contender: Contender, work: Work) -> Prepared:
        """Encode the work for a contender, so that no step pays for it."""
        return Prepared(contender, contender.make(self.student, work, self._settings))

    def turn(self, prepared: Prepared) -> TimedStep:
        """Two steps in a row, as in the middle of a training; the second is timed.

        Raises:
            NumericalError: the loss or the gradient norm is not finite.
        """
        torch.manual_seed(self._settings.seed)
        with self._as_in_training(prepared) as path:
            # What the first step has allocated, compiled or cached is there in the second.
            self._step(prepared)
            self._wait()
            started = time.perf_counter()
            loss, norm = self._step(prepared)
            self._wait()
            seconds = time.perf_counter() - started
        if self.student.device.type == "cuda":
            torch.cuda.empty_cache()
        if not (abs(loss) < float("inf") and norm < float("inf")):
            raise NumericalError(
                f"contender {prepared.contender.name}: expected a finite loss and gradient norm, "
                f"got {loss} and {norm}. Use --dtype float32."
            )
        return TimedStep(seconds, loss, path)

    def _step(self, prepared: Prepared) -> tuple[float, float]:
        """One step, as the training loop makes it; returns loss and gradient norm."""
        loss = prepared.work.run()
        norm = float(nn.utils.clip_grad_norm_(self._trained, self._settings.train.clip_norm))
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return loss, norm

    @contextmanager
    def _as_in_training(self, prepared: Prepared) -> Iterator[dict[str, str]]:
        """What the training loop sets up once: fast steps where they are ours, and recomputed activations."""
        path: dict[str, str] = {}
        with ExitStack() as stack:
            if prepared.work.sample is not None:
                recomputed = {"gradient_checkpointing": prepared.contender.checkpointed}
                train = self._settings.train.model_copy(update=recomputed)
                fast = fast_step(self.student, train, prepared.work.sample)
                path = stack.enter_context(fast).facts()
            elif prepared.contender.checkpointed:
                stack.enter_context(recomputed_activations(self.student))
            yield path

    def _wait(self) -> None:
        if self.student.device.type == "cuda":
            torch.cuda.synchronize(self.student.device)
