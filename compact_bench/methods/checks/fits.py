"""Fits of a method on a tiny student, and all that could be seen of them."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import RunSettings
from compact_bench.methods.checks.results import MethodError, guarded
from compact_bench.methods.checks.subject import Subject, find_subject
from compact_bench.methods.checks.watching import (
    GlobalState,
    Watch,
    disturb_generators,
    generator_states,
    watching,
)
from compact_bench.methods.checks.world import SEED, World, base_student, fresh_student, run_settings
from compact_bench.methods.contract import requiring_fields
from compact_bench.students.layout import base_model
from compact_bench.students.student import Student, merge_adapters
from compact_bench.training.final_weights import STEPS_FILE
from compact_bench.training.protocol import FitReport, RunContext
from compact_bench.training.required import RequiredRun


class Interrupted(BaseException):
    """Ends a fit from `context.log`, as a kill would; no method has reason to catch it."""


@dataclass
class Fit:
    """What a fit did.

    Attributes:
        report: what it returned.
        before, after: the student's merged weights by name.
        logs: what was given to `context.log`.
        table: the steps table, or None.
        optimiser_steps: updates of the student's weights that really happened.
        tokens: how many the student really read with gradients on, padding left out.
        watch: files and network.
        changes: what is otherwise in the process afterwards, in words.
        leftovers: what is otherwise with the student afterwards, or with what it shares with other runs.
        generators: states of the global generators afterwards.
        drawn: global generators that do not stand where they stood before.
        lives: how many interruptions there were, and one.
    """

    report: FitReport
    before: dict[str, Tensor]
    after: dict[str, Tensor]
    logs: list[Mapping[str, Any]] = field(default_factory=list)
    table: pd.DataFrame | None = None
    optimiser_steps: int = 0
    tokens: int = 0
    watch: Watch = field(default_factory=Watch)
    changes: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    generators: dict[str, bytes] = field(default_factory=dict)
    drawn: list[str] = field(default_factory=list)
    lives: int = 1


def one_fit(subject: Subject, world: World, *, lora: bool = True, disturbed: int = 0) -> Fit:
    """Train a fresh student, in a folder of its own that is gone afterwards.

    Args:
        lora: with adapters, or every weight.
        disturbed: where the global generators of random numbers stand.

    Raises:
        MethodError: the method raised something.
    """
    settings = run_settings(lora=lora)
    with _folders() as (folder, beside):
        required = required_fits(subject, world, beside, settings)
        return _life(subject, world, folder, settings, disturbed, lambda metrics: None, required)


def interrupted_fit(subject: Subject, world: World) -> Fit:
    """The same run, killed after a few more steps each time and continued by a fresh student.

    Raises:
        MethodError: the method raised something.
    """
    settings = run_settings(lora=True, checkpoints=True)
    with _folders() as (folder, beside):
        required = required_fits(subject, world, beside, settings)
        # Of the steps of a life the last one has no checkpoint: it is written after the step is logged.
        last, now, life = 1, 2, 0
        while True:
            steps: list[Mapping[str, Any]] = []

            def log(metrics: Mapping[str, Any], steps: list[Any] = steps, most: int = now) -> None:
                steps.append(metrics)
                if len(steps) == most:
                    raise Interrupted

            life += 1
            try:
                fit = _life(subject, world, folder, settings, life, log, required)
            except Interrupted:
                # Longer and longer, so that runs of many steps get to their end too.
                last, now = (now, last + now) if life > 1 else (last, now)
                continue
            fit.lives = life
            return fit


@contextmanager
def _folders() -> Iterator[tuple[Path, Path]]:
    """A run's folder, and one for the runs that it requires; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="compact_bench_check_") as folder:
        run, beside = Path(folder, "run"), Path(folder, "required")
        run.mkdir()
        beside.mkdir()
        yield run, beside


def required_fits(
    subject: Subject, world: World, folder: Path, settings: RunSettings
) -> dict[str, RequiredRun]:
    """Fit what the subject requires on the same world: field of its configuration -> run, in a folder each.

    Raises:
        MethodError: a required method is not there, or its fit failed.
    """
    found = {}
    for field_name in requiring_fields(subject.kind.config_type):
        name, place = str(getattr(subject.config(), field_name)), folder / field_name
        place.mkdir()
        try:
            other = find_subject(name, None, world.suite.teachers[0])
        except ConfigError as error:
            raise MethodError(f"setting {field_name}: {error}") from None
        beside = required_fits(other, world, place, settings)
        context = RunContext(place, settings, SEED, validation=world.validation, required=beside)
        with guarded(f"fit of {name}, which it requires"):
            other.make().fit(fresh_student(lora=settings.lora.enabled), world.questions, context)
        found[field_name] = RequiredRun(name, place, other.config().model_dump(mode="json"))
    return found


def _life(
    subject: Subject,
    world: World,
    folder: Path,
    settings: RunSettings,
    disturbed: int,
    log: Callable[[Mapping[str, Any]], None],
    required: Mapping[str, RequiredRun],
) -> Fit:
    student = fresh_student(lora=settings.lora.enabled)
    logs: list[Mapping[str, Any]] = []

    def keep(metrics: Mapping[str, Any]) -> None:
        logs.append(metrics)
        log(metrics)

    context = RunContext(folder, settings, SEED, keep, validation=world.validation, required=required)
    before = _weights(base_student().model)
    outside = GlobalState.now()
    with warnings.catch_warnings():
        # What the constructor does is another check's.
        method = subject.make()
        disturb_generators(disturbed)
        standing, inside = generator_states(), GlobalState.now()
        try:
            fit = _watched(method, student, world, context, before)
            fit.changes, fit.generators = inside.changes(), generator_states()
            fit.drawn = [name for name, state in fit.generators.items() if state != standing[name]]
        finally:
            outside.restore()
    fit.logs = logs
    table = folder / STEPS_FILE
    fit.table = pd.read_parquet(table) if table.is_file() else None
    merge_adapters(student)
    fit.after = _weights(base_model(student.model))
    return fit


def _watched(
    method: Any, student: Student, world: World, context: RunContext, before: dict[str, Tensor]
) -> Fit:
    shared = _shared_state(student, world, context)
    flags = {name: p.requires_grad for name, p in student.model.named_parameters()}
    watch = Watch(folder=context.directory)
    with _counting(student) as counts, watching(watch), guarded("fit"):
        report = method.fit(student, world.questions, context)
    if not isinstance(report, FitReport):
        raise MethodError(
            f"fit returned {type(report).__name__}, expected a FitReport (`loop.train` gives it)"
        )
    leftovers = []
    if student.model.training:
        leftovers.append("the student is left in training mode: call student.model.eval() at the end")
    now = {name: p.requires_grad for name, p in student.model.named_parameters()}
    if any(now.get(name, flag) != flag for name, flag in flags.items()):
        leftovers.append("other parameters than before require gradients: put requires_grad back")
    after = _shared_state(student, world, context)
    changed = [name for name, value in shared.items() if after[name] != value]
    return Fit(
        report,
        before,
        {},
        optimiser_steps=counts.steps,
        tokens=counts.tokens,
        watch=watch,
        leftovers=leftovers,
        shared=changed,
    )


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _shared_state(student: Student, world: World, context: RunContext) -> dict[str, str]:
    """What other runs of the same process use too, in a form that can be compared."""
    tokenizer = student.tokenizer
    return {
        "the tokenizer": repr(
            [
                tokenizer.backend_tokenizer.to_str(),
                tokenizer.chat_template,
                tokenizer.padding_side,
                tokenizer.truncation_side,
                tokenizer.special_tokens_map,
            ]
        ),
        "the questions": repr(world.questions),
        "the validation questions": repr(world.validation),
        "the settings": repr(context.settings),
    }


@dataclass
class _Counts:
    steps: int = 0
    tokens: int = 0


@contextmanager
def _counting(student: Student) -> Iterator[_Counts]:
    """Counts updates of the student's weights, by any optimiser, and tokens it reads to learn from."""
    counts = _Counts()
    size = sum(p.numel() for p in student.model.parameters() if p.requires_grad)
    padding = student.tokenizer.pad_token_id

    def stepped(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        # Copies of the student count as well; the few numbers that an objective owns do not.
        trained = sum(p.numel() for group in optimiser.param_groups for p in group["params"])
        counts.steps += 2 * trained >= size

    def read(module: nn.Module, arguments: tuple[Any, ...], *_: Any) -> None:
        if torch.is_grad_enabled() and arguments and isinstance(arguments[0], Tensor):
            counts.tokens += int((arguments[0] != padding).sum())

    model: Any = base_model(student.model)
    handles = [
        register_optimizer_step_post_hook(stepped),
        model.get_input_embeddings().register_forward_pre_hook(read),
    ]
    try:
        yield counts
    finally:
        for handle in handles:
            handle.remove()


def same_bits(one: Fit, other: Fit) -> bool:
    """Whether two fits ended with the same weights, bit by bit."""
    return one.after.keys() == other.after.keys() and all(
        torch.equal(tensor, other.after[name]) for name, tensor in one.after.items()
    )


def moved(fit: Fit) -> float:
    """How far the weights are from where they were: the norm over all of them."""
    return distance(fit.before, fit.after)


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Norm of the difference of two sets of weights with the same names."""
    return math.sqrt(sum(float((tensor - other[name]).double().norm()) ** 2 for name, tensor in one.items()))


def logged_losses(logs: Sequence[Mapping[str, Any]]) -> list[float]:
    """The losses of the steps, as they were logged."""
    return [float(entry["loss"]) for entry in logs if "loss" in entry]
