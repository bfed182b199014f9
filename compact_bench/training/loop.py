"""The one optimisation loop: data order, accumulation, clipping, checkpoints, the steps table, the report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compact_bench.core.errors import ConfigError, DamageError, DataError, Fault, NumericalError
from compact_bench.core.hardware import choose_compute_dtype
from compact_bench.core.records import Question, fingerprint
from compact_bench.core.settings import TrainSettings
from compact_bench.students.compute.kernels import StepPath, fast_step
from compact_bench.students.number_formats import widen_weights
from compact_bench.students.student import Student, number_formats
from compact_bench.training.branches import EncodedQuestion
from compact_bench.training.checkpoints import OWNED, LoopState, TrainingPart, load_latest, save_checkpoint
from compact_bench.training.final_weights import STEPS_FILE
from compact_bench.training.optimiser import build_optimiser, schedule_steps, scheduled_rate
from compact_bench.training.protocol import (
    CombinesGradients,
    FitReport,
    Objective,
    OrdersQuestions,
    OwnsParameters,
    RunContext,
    SchedulesRate,
    StepAware,
    StepLoss,
    derive_seed,
)
from compact_bench.training.trackers import open_tracker


def train(
    student: Student,
    questions: Sequence[Question],
    objective: Objective,
    context: RunContext,
    part: TrainingPart | None = None,
) -> FitReport:
    """Train a student in place; a run that was killed continues where its last checkpoint stands.

    Every optimiser step minimises the mean loss of its group of questions. Dropout and data order depend
    on the run's seed only, so the weights do not depend on where a run was interrupted.

    Args:
        student: with adapters, or whole; parameters that require gradients are trained.
        objective: the method's branches and loss.
        context: run directory, settings, seed, callbacks.
        part: train this stretch of the schedule only, and keep its last checkpoint.

    Returns:
        What training did over all of the run's processes; for a part, over all parts of its folder.

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
    # In a narrower type most steps of a small rate round to nothing.
    widen_weights(student.model)
    student.compute = choose_compute_dtype(context.settings.train.dtype, student.device)
    devices = [student.device] if student.device.type == "cuda" else []
    tracker = open_tracker(context.settings.train.tracker, context.directory)
    step = fast_step(student, context.settings.train, lambda: objective.loss(student, encoded[:1]).loss)
    # Training seeds the process's generator for dropout; the caller's random numbers must not move with it.
    with torch.random.fork_rng(devices=devices), step as path, tracker as report:
        loop = _prepare(student, encoded, objective, context, accelerator, part)
        formats = number_formats(student)
        try:
            _run(loop, report, path)
        finally:
            student.compute = "float32"
            student.model.eval()
    pd.DataFrame(loop.state.rows).to_parquet(loop.directory / STEPS_FILE)
    return _report(loop, path, formats)


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
    parameters: dict[str, nn.Parameter]
    directory: Path
    end_step: int
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

    @property
    def total_steps(self) -> int:
        """Steps of the whole schedule, of which this call may do a part."""
        return schedule_steps(self.settings, len(self.encoded))

    def groups(self) -> Iterator[list[EncodedQuestion]]:
        """Questions of every optimiser step that is still to be done."""
        seed = self.context.seed_for("data")
        for epoch in range(self.settings.epochs):
            order = self._order(seed, epoch)
            for i in range(self.steps_per_epoch):
                if self.state.step <= epoch * self.steps_per_epoch + i < self.end_step:
                    chosen = order[i * self.group_size : (i + 1) * self.group_size]
                    yield [self.encoded[j] for j in chosen]

    def _order(self, seed: int, epoch: int) -> list[int]:
        if not isinstance(self.objective, OrdersQuestions):
            return epoch_order(len(self.encoded), seed, epoch)
        ids, places = [q.question_id for q in self.encoded], range(len(self.encoded))
        order = list(self.objective.question_order(ids, epoch, seed))
        if len(order) != len(ids) or any(place not in places for place in order):
            raise ConfigError(
                f"question_order of {type(self.objective).__name__}, epoch {epoch}: expected {len(ids)} "
                f"places from 0 to {len(ids) - 1}, as every method takes the same steps, got {order[:20]}."
            )
        return order


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Order of the questions in one epoch; depends on nothing but these numbers (the seed is of the axis
    "data").
    """
    # A generator on the CPU, whatever trains: the order is the same on every device, for every method.
    generator = torch.Generator().manual_seed(derive_seed(seed, f"epoch {epoch}"))
    return torch.randperm(count, generator=generator).tolist()


def _prepare(
    student: Student,
    encoded: list[EncodedQuestion],
    objective: Objective,
    context: RunContext,
    accelerator: Accelerator,
    part: TrainingPart | None,
) -> _Loop:
    settings = context.settings.train
    parameters = {name: p for name, p in student.model.named_parameters() if p.requires_grad}
    owned = dict(objective.parameters) if isinstance(objective, OwnsParameters) else {}
    optimiser = build_optimiser(parameters, owned, settings, objective)
    parameters |= {f"{OWNED}{name}": parameter for name, parameter in owned.items()}
    identity = fingerprint(
        [
            # The run's folder is named by its key; another student's checkpoint may have just these shapes.
            context.directory.name,
            context.seed,
            student.compute,
            # A dataclass writes out its configuration; another object's repr would be an address.
            repr(objective) if is_dataclass(objective) else type(objective).__qualname__,
            # Where metrics go and how often is saved moves no weight, so a resumed run may change both.
            settings.model_dump(exclude={"checkpoint_seconds", "tracker"}),
            context.settings.lora.model_dump(),
            [[list(b.input_ids) for b in q.branches] for q in encoded],
            *([part.folder] if part else []),
        ]
    )
    torch.manual_seed(context.seed_for("dropout"))
    directory = part.directory(context.directory) if part else context.directory
    directory.mkdir(parents=True, exist_ok=True)
    start = part.first_step if part else 0
    state = load_latest(directory, identity, parameters, optimiser, start=start)
    prepared = accelerator.prepare_optimizer(optimiser)
    end = part.end_step if part else schedule_steps(settings, len(encoded))
    if not start <= state.step <= end:
        # It is this run's: what stood between this checkpoint and the caller's weights is gone.
        raise DamageError(f"{directory}: expected a checkpoint of steps {start} to {end}, got {state.step}")
    return _Loop(
        student, encoded, objective, context, accelerator, prepared, state, parameters, directory, end
    )


def _run(loop: _Loop, report: Any, path: StepPath) -> None:
    total = loop.total_steps
    loop.student.model.train()
    for group in loop.groups():
        started, tokens = time.monotonic(), loop.state.total_tokens
        if isinstance(loop.objective, StepAware):
            loop.objective.begin_step(loop.state.step, total)
        metrics = _one_step(loop, group)
        elapsed = time.monotonic() - started
        loop.state.seconds += elapsed
        metrics["tokens_per_second"] = (loop.state.total_tokens - tokens) / max(elapsed, 1e-9)
        metrics["step"] = loop.state.step
        loop.context.log(metrics)
        report(metrics, loop.state.step)
        loop.context.on_progress(loop.state.step, total, _describe(metrics, path))
        overdue = time.monotonic() - loop.last_saved >= loop.settings.checkpoint_seconds
        if overdue or loop.state.step == loop.end_step:
            save_checkpoint(loop.directory, loop.state, loop.parameters, loop.optimiser.optimizer)
            loop.last_saved = time.monotonic()


def _one_step(loop: _Loop, group: Sequence[EncodedQuestion]) -> dict[str, Any]:
    """Accumulate the gradients of one group, clip, and update; returns the step's metrics."""
    state, size = loop.state, loop.settings.questions_per_step
    loss_sum, rows = 0.0, []
    seen: list[EncodedQuestion] = []
    metrics: list[tuple[float, dict[str, float]]] = []
    trained = list(loop.parameters.values())
    for i in range(0, len(group), size):
        batch = group[i : i + size]
        step_loss = loop.objective.loss(loop.student, batch)
        # The mean over the whole group, also when it or its last batch is a short one.
        share = step_loss.loss * (len(batch) / len(group))
        if not math.isfinite(float(share.detach())):
            ids = ", ".join(q.question_id for q in batch)
            raise NumericalError(
                f"step {state.step + 1}: the loss is {float(share.detach())}, expected a finite number "
                f"(questions {ids}). Lower train.learning_rate, or use train.dtype=float32."
            )
        _backward(loop, step_loss, share, len(batch) / len(group))
        loss_sum += float(share.detach())
        rows += step_loss.rows
        state.used += step_loss.used
        state.offered += step_loss.offered
        metrics.append((len(batch) / len(group), step_loss.metrics))
        seen += batch if step_loss.seen is None else step_loss.seen
    if isinstance(loop.objective, CombinesGradients):
        loop.objective.combine_gradients(trained)
    norm = float(nn.utils.clip_grad_norm_(trained, loop.settings.clip_norm))
    if not math.isfinite(norm):
        raise NumericalError(
            f"step {state.step + 1}: the gradient norm is {norm}, expected a finite number. "
            "Lower train.learning_rate, or use train.dtype=float32."
        )
    # Set from the step count, without a scheduler object, whose state a checkpoint would have to hold.
    if isinstance(loop.objective, SchedulesRate):
        rate = loop.objective.learning_rate_at(loop.settings, state.step, loop.total_steps)
    else:
        rate = scheduled_rate(loop.settings, state.step)
    for parameters in loop.optimiser.param_groups:
        parameters["lr"] = rate
    loop.optimiser.step()
    loop.optimiser.zero_grad(set_to_none=True)
    _count(loop, seen, loss_sum, rows)
    weights = _mean_by_teacher(rows, "teacher_weight")
    return {
        **_mean_metrics(metrics),
        "loss": loss_sum,
        "gradient_norm": norm,
        "learning_rate": rate,
        "teacher_weights": weights,
    }


def _backward(loop: _Loop, step_loss: StepLoss, share_loss: Tensor, share: float) -> None:
    """Gradients of one forward pass, by autograd or by the objective itself."""
    if isinstance(loop.objective, CombinesGradients):
        loop.objective.add_gradients(step_loss, share, list(loop.parameters.values()))
    else:
        loop.accelerator.backward(share_loss)


def _mean_metrics(shares: Sequence[tuple[float, dict[str, float]]]) -> dict[str, float]:
    """An objective's own scalars over the forward passes of a step, each by its share of the questions."""
    means: dict[str, float] = {}
    for share, metrics in shares:
        for name, value in metrics.items():
            means[name] = means.get(name, 0.0) + share * value
    return means


def _count(loop: _Loop, seen: Sequence[EncodedQuestion], loss: float, rows: list[dict[str, Any]]) -> None:
    state = loop.state
    state.step += 1
    state.branches += sum(len(q.branches) for q in seen)
    state.supervised_tokens += sum(q.supervised_tokens for q in seen)
    state.total_tokens += sum(q.total_tokens for q in seen)
    epoch = (state.step - 1) // loop.steps_per_epoch
    state.rows += [{"step": state.step, "epoch": epoch, "step_loss": loss, **row} for row in rows]
    state.epoch_losses.append(loss)
    if state.step % loop.steps_per_epoch == 0:
        state.final_loss = sum(state.epoch_losses) / len(state.epoch_losses)
        state.epoch_losses = []


def _mean_by_teacher(rows: Sequence[dict[str, Any]], column: str) -> dict[str, float]:
    sums: dict[str, list[float]] = {}
    for row in rows:
        value = float(row.get(column, math.nan))
        if math.isfinite(value):
            sums.setdefault(str(row["teacher"]), []).append(value)
    return {teacher: sum(values) / len(values) for teacher, values in sums.items()}


def _describe(metrics: dict[str, Any], path: StepPath) -> str:
    weights = " ".join(f"{name} {value:.2f}" for name, value in metrics["teacher_weights"].items())
    text = f"loss {metrics['loss']:.4f}, {metrics['tokens_per_second']:.0f} tokens/s, weights {weights}"
    return f"{text}, padded rows ({path.layout_reason})" if path.layout_reason else text


def _report(loop: _Loop, path: StepPath, formats: Mapping[str, str]) -> FitReport:
    state = loop.state
    cut = [b.cut_tokens for q in loop.encoded for b in q.branches if b.cut_tokens]
    return FitReport(
        optimiser_steps=state.step - state.start,
        branches=state.branches,
        used=state.used,
        offered=state.offered,
        supervised_tokens=state.supervised_tokens,
        total_tokens=state.total_tokens,
        seconds=state.seconds,
        final_loss=state.final_loss,
        extra={
            "mean_teacher_weights": _mean_by_teacher(state.rows, "teacher_weight"),
            "mean_teacher_losses": _mean_by_teacher(state.rows, "supervised_loss"),
            "step": path.facts(),
            "number_formats": dict(formats),
            **_truncated([{"rows": 1, "tokens": tokens} for tokens in cut]),
        },
    )


def _truncated(parts: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """How many rows were cut and how many tokens they lost, over all parts of a run; empty where none was."""
    total = {name: sum(part[name] for part in parts) for name in ("rows", "tokens")}
    return {"truncated": total} if parts else {}


def joined_report(directory: Path, parts: Sequence[tuple[TrainingPart, FitReport, float]]) -> FitReport:
    """One report of a run that was trained in parts, and one steps table of theirs.

    Args:
        parts: of every folder its last part, its report, and the factor of its teacher weights: how much
            its steps count in the final student.
    """
    tables = []
    for part, _, factor in parts:
        table = pd.read_parquet(part.directory(directory) / STEPS_FILE)
        tables.append(table.assign(teacher_weight=table["teacher_weight"] * factor))
    joined = pd.concat(tables, ignore_index=True)
    joined.to_parquet(directory / STEPS_FILE)
    reports = [report for _, report, _ in parts]
    losses = [report.final_loss for report in reports if report.final_loss is not None]
    weights = joined.groupby("teacher", sort=False)["teacher_weight"].mean()
    return FitReport(
        optimiser_steps=sum(r.optimiser_steps for r in reports),
        branches=sum(r.branches for r in reports),
        used=sum(r.used for r in reports),
        offered=sum(r.offered for r in reports),
        supervised_tokens=sum(r.supervised_tokens for r in reports),
        total_tokens=sum(r.total_tokens for r in reports),
        seconds=sum(r.seconds for r in reports),
        final_loss=sum(losses) / len(losses) if losses else None,
        extra={
            "mean_teacher_weights": {str(teacher): float(weight) for teacher, weight in weights.items()},
            **{k: v for k, v in reports[-1].extra.items() if k in ("step", "number_formats")},
            **_truncated([report.extra["truncated"] for report in reports if "truncated" in report.extra]),
        },
    )
