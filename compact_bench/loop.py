"""The one optimisation loop: data order, accumulation, AdamW, schedule, clipping, checkpoints, tables."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from torch import nn

from compact_bench.branches import EncodedQuestion
from compact_bench.checkpoints import LoopState, load_latest, save_checkpoint
from compact_bench.errors import ConfigError, DataError, Fault, NumericalError
from compact_bench.hardware import choose_compute_dtype
from compact_bench.kernels import StepPath, fast_step
from compact_bench.records import Question, fingerprint
from compact_bench.settings import TrainSettings
from compact_bench.students import Student
from compact_bench.trackers import open_tracker
from compact_bench.trainer import FitReport, Objective, RunContext, derive_seed

__all__ = ["STEPS_FILE", "epoch_order", "scheduled_rate", "train"]

STEPS_FILE = "steps.parquet"
"""The steps table: one row per step, question and teacher."""


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Order of the questions in one epoch; depends on nothing but these numbers.

    Args:
        count: how many questions.
        seed: the run's seed of the axis "data".
        epoch: from 0.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, f"epoch {epoch}"))
    return torch.randperm(count, generator=generator).tolist()


def scheduled_rate(settings: TrainSettings, step: int) -> float:
    """Learning rate of one optimiser step: linear warm-up, then constant. A function of the step alone.

    Args:
        settings: learning_rate and warmup_steps.
        step: optimiser steps done before this one.
    """
    return settings.learning_rate * min(1.0, (step + 1) / (settings.warmup_steps + 1))


@dataclass
class _Loop:
    """The moving parts of one call of `train`."""

    student: Student
    encoded: list[EncodedQuestion]
    objective: Objective
    context: RunContext
    accelerator: Accelerator
    optimiser: Any
    state: LoopState
    last_saved: float = field(default_factory=time.monotonic)

    @property
    def settings(self) -> TrainSettings:
        return self.context.settings.train

    @property
    def group_size(self) -> int:
        """Questions per optimiser step."""
        return self.settings.questions_per_step * self.settings.accumulation

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.encoded) / self.group_size)

    def groups(self) -> Iterator[list[EncodedQuestion]]:
        """Questions of every optimiser step that is still to be done."""
        seed = self.context.seed_for("data")
        for epoch in range(self.settings.epochs):
            order = epoch_order(len(self.encoded), seed, epoch)
            for i in range(self.steps_per_epoch):
                if epoch * self.steps_per_epoch + i >= self.state.step:
                    chosen = order[i * self.group_size : (i + 1) * self.group_size]
                    yield [self.encoded[j] for j in chosen]


def train(
    student: Student, questions: Sequence[Question], objective: Objective, context: RunContext
) -> FitReport:
    """Train a student in place; a run that was killed continues where its last checkpoint stands.

    Every optimiser step minimises the mean loss of its group of questions. Dropout and data order depend
    on the run's seed only, so the weights do not depend on where a run was interrupted.

    Args:
        student: with adapters, or whole; parameters that require gradients are trained.
        questions: the training questions.
        objective: the method's branches and loss.
        context: run directory, settings, seed, callbacks.

    Returns:
        What was done, over all of the run's processes.

    Raises:
        DataError: questions cannot be encoded; every fault is listed and nothing is trained.
        NumericalError: a loss or gradient norm is not finite.
        StoreError: the run directory holds another run's checkpoint.
    """
    encoded = _encode_all(student, questions, objective)
    accelerator = Accelerator(cpu=student.device.type == "cpu")
    if accelerator.num_processes > 1:
        raise ConfigError(
            "training runs in one process here: start it without `accelerate launch`. "
            "Use several `compact-bench reproduce` processes on one store to share runs instead."
        )
    student.compute = choose_compute_dtype(context.settings.train.dtype, student.device)
    devices = [student.device] if student.device.type == "cuda" else []
    tracker = open_tracker(context.settings.train.tracker, context.directory)
    step = fast_step(student, context.settings.train, lambda: objective.loss(student, encoded[:1]).loss)
    with torch.random.fork_rng(devices=devices), step as path, tracker as report:
        loop = _prepare(student, encoded, objective, context, accelerator)
        try:
            _run(loop, report, path)
        finally:
            student.compute = "float32"
            student.model.eval()
    pd.DataFrame(loop.state.rows).to_parquet(context.directory / STEPS_FILE)
    return _report(loop.state, path)


def _encode_all(
    student: Student, questions: Sequence[Question], objective: Objective
) -> list[EncodedQuestion]:
    faults: list[Fault] = []
    encoded: list[EncodedQuestion] = []
    for question in questions:
        try:
            encoded.append(objective.encode(student, question))
        except DataError as error:
            faults += error.faults or [Fault(question.id, str(error), question.id)]
    if faults or not encoded:
        summary = "training questions cannot be used" if faults else "there is no training question"
        raise DataError(summary, faults, mend="fix the rationales, or use --on-fault drop to leave them out.")
    return encoded


def _prepare(
    student: Student,
    encoded: list[EncodedQuestion],
    objective: Objective,
    context: RunContext,
    accelerator: Accelerator,
) -> _Loop:
    settings = context.settings.train
    parameters = [p for p in student.model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    identity = fingerprint(
        [
            context.seed,
            student.compute,
            # A dataclass writes out its configuration; another object's repr would be an address.
            repr(objective) if is_dataclass(objective) else type(objective).__qualname__,
            settings.model_dump(exclude={"checkpoint_seconds", "tracker"}),
            context.settings.lora.model_dump(),
            [[list(b.input_ids) for b in q.branches] for q in encoded],
        ]
    )
    torch.manual_seed(context.seed_for("dropout"))
    context.directory.mkdir(parents=True, exist_ok=True)
    state = load_latest(context.directory, identity, student.model, optimiser)
    prepared = accelerator.prepare_optimizer(optimiser)
    return _Loop(student, encoded, objective, context, accelerator, prepared, state)


def _run(loop: _Loop, report: Any, path: StepPath) -> None:
    total = loop.steps_per_epoch * loop.settings.epochs
    loop.student.model.train()
    for group in loop.groups():
        started = time.monotonic()
        metrics = _one_step(loop, group)
        elapsed = time.monotonic() - started
        loop.state.seconds += elapsed
        metrics["tokens_per_second"] = sum(q.total_tokens for q in group) / max(elapsed, 1e-9)
        metrics["step"] = loop.state.step
        loop.context.log(metrics)
        report(metrics, loop.state.step)
        loop.context.on_progress(loop.state.step, total, _describe(metrics, path))
        overdue = time.monotonic() - loop.last_saved >= loop.settings.checkpoint_seconds
        if overdue or loop.state.step == total:
            save_checkpoint(loop.context.directory, loop.state, loop.student.model, loop.optimiser.optimizer)
            loop.last_saved = time.monotonic()


def _one_step(loop: _Loop, group: Sequence[EncodedQuestion]) -> dict[str, Any]:
    """Accumulate the gradients of one group, clip, and update; returns the step's metrics."""
    state, size = loop.state, loop.settings.questions_per_step
    loss_sum, rows = 0.0, []
    for i in range(0, len(group), size):
        batch = group[i : i + size]
        found = loop.objective.loss(loop.student, batch)
        # The mean over the whole group, also when it or its last batch is a short one.
        share = found.loss * (len(batch) / len(group))
        if not math.isfinite(float(share.detach())):
            ids = ", ".join(q.question_id for q in batch)
            raise NumericalError(
                f"step {state.step + 1}: the loss is {float(share.detach())}, expected a finite number "
                f"(questions {ids}). Lower train.learning_rate, or use train.dtype=float32."
            )
        loop.accelerator.backward(share)
        loss_sum += float(share.detach())
        rows += found.rows
    trained = [p for p in loop.student.model.parameters() if p.requires_grad]
    norm = float(nn.utils.clip_grad_norm_(trained, loop.settings.clip_norm))
    if not math.isfinite(norm):
        raise NumericalError(
            f"step {state.step + 1}: the gradient norm is {norm}, expected a finite number. "
            "Lower train.learning_rate, or use train.dtype=float32."
        )
    rate = scheduled_rate(loop.settings, state.step)
    for parameters in loop.optimiser.param_groups:
        parameters["lr"] = rate
    loop.optimiser.step()
    loop.optimiser.zero_grad(set_to_none=True)
    _count(loop, group, loss_sum, rows)
    weights = _mean_by_teacher(rows)
    return {"loss": loss_sum, "gradient_norm": norm, "learning_rate": rate, "teacher_weights": weights}


def _count(loop: _Loop, group: Sequence[EncodedQuestion], loss: float, rows: list[dict[str, Any]]) -> None:
    state = loop.state
    state.step += 1
    state.branches += sum(len(q.branches) for q in group)
    state.supervised_tokens += sum(q.supervised_tokens for q in group)
    state.total_tokens += sum(q.total_tokens for q in group)
    epoch = (state.step - 1) // loop.steps_per_epoch
    state.rows += [{"step": state.step, "epoch": epoch, "step_loss": loss, **row} for row in rows]
    state.epoch_losses.append(loss)
    if state.step % loop.steps_per_epoch == 0:
        state.final_loss = sum(state.epoch_losses) / len(state.epoch_losses)
        state.epoch_losses = []


def _mean_by_teacher(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    sums: dict[str, list[float]] = {}
    for row in rows:
        sums.setdefault(str(row["teacher"]), []).append(float(row["teacher_weight"]))
    return {teacher: sum(values) / len(values) for teacher, values in sums.items()}


def _describe(metrics: dict[str, Any], path: StepPath) -> str:
    weights = " ".join(f"{name} {value:.2f}" for name, value in metrics["teacher_weights"].items())
    text = f"loss {metrics['loss']:.4f}, {metrics['tokens_per_second']:.0f} tokens/s, weights {weights}"
    return f"{text}, padded rows ({path.layout_reason})" if path.layout_reason else text


def _report(state: LoopState, path: StepPath) -> FitReport:
    return FitReport(
        optimiser_steps=state.step,
        branches=state.branches,
        supervised_tokens=state.supervised_tokens,
        total_tokens=state.total_tokens,
        seconds=state.seconds,
        final_loss=state.final_loss,
        extra={"mean_teacher_weights": _mean_by_teacher(state.rows), "step": path.facts()},
    )
