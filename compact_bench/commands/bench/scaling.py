"""`bench scaling`: time and memory of a step along K, the length of rationales and questions per step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial

from compact_bench.commands.bench.contenders.contenders import Contender, padded_shapes
from compact_bench.commands.bench.contenders.runners import OpenRunner, ProcessRunner, Runner
from compact_bench.commands.bench.contenders.turns import Clock, in_turn
from compact_bench.commands.bench.contenders.work import Work, WorkFacts, work_facts
from compact_bench.commands.bench.measuring.ceiling import Ceiling
from compact_bench.commands.bench.measuring.fits import Fit, fit_growth
from compact_bench.commands.bench.measuring.flops import counts_of
from compact_bench.commands.bench.measuring.need import shortage
from compact_bench.commands.bench.measuring.results import CeilingResult, ContenderResult, TrainingResult
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.commands.bench.step import (
    CEILING,
    CeilingSamples,
    StepSamples,
    all_flops,
    ceiling_result,
    contender_result,
    provenance_of,
    step_amount,
)
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.progress import Display
from compact_bench.core.settings import Strict
from compact_bench.core.written.values import LARGEST_COUNT, read_whole
from compact_bench.students.student import Student

AXES: dict[str, tuple[int, ...]] = {
    "teachers": (2, 4, 8, 16),
    "rationale_tokens": (100, 200, 400, 800, 1600),
    "questions_per_step": (1, 2, 4, 8),
}
"""What can grow, and the values that are measured by default."""


class Scale(Strict):
    """The size of a step's work: K, the length of every rationale, and questions."""

    teachers: int = 4
    rationale_tokens: int = 100
    questions_per_step: int = 1


class ScalingPoint(Strict):
    """One value of an axis: contenders that were measured there, and name -> why one was skipped."""

    value: int
    work: WorkFacts
    contenders: tuple[ContenderResult, ...]
    skipped: dict[str, str]


class ScalingAxis(Strict):
    """Growth along one axis.

    Attributes:
        points: in ascending order.
        ceiling: measured in turn with the axis's steps.
        time: contender -> growth of the median step in seconds, where it has at least three points.
        memory: contender -> growth of the peak in bytes.
    """

    name: str
    points: tuple[ScalingPoint, ...]
    ceiling: CeilingResult
    time: dict[str, Fit]
    memory: dict[str, Fit]


class ScalingResult(TrainingResult):
    """The result of `bench scaling`; the axes that do not grow stay at `base`."""

    base: Scale
    axes: tuple[ScalingAxis, ...]


def parse_axes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Axes written as "teachers" or "teachers=2,4,8"; all of them where none is given.

    Raises:
        ConfigError: an axis is unknown, or its values are not at least two ascending whole numbers.
    """
    axes: dict[str, tuple[int, ...]] = {}
    for text in texts or tuple(AXES):
        name, sign, values = text.partition("=")
        if name not in AXES:
            raise UnknownNameError("axis", name, AXES)
        try:
            numbers = [read_whole(part, LARGEST_COUNT) for part in values.split(",")] if sign else []
        except ValueError:
            numbers = []
        if sign and (len(numbers) < 2 or 0 in numbers or numbers != sorted(set(numbers))):
            raise ConfigError(
                f"--axis: expected at least two ascending whole numbers as {name}=2,4,8, got {text!r}."
            )
        axes[name] = tuple(numbers) if sign else AXES[name]
    return axes


@dataclass
class _Point:
    """One value of an axis while it is measured."""

    value: int
    work: Work
    facts: WorkFacts
    flops: dict[str, int]
    contenders: list[Contender]
    skipped: dict[str, str]
    samples: dict[str, StepSamples] = field(default_factory=dict)


def bench_scaling(
    student: Student,
    make_work: Callable[[Scale], Work],
    settings: StepSettings,
    contenders: Sequence[Contender],
    axes: Mapping[str, Sequence[int]],
    display: Display,
    *,
    base: Scale | None = None,
    repeats: int = 3,
    open_runner: OpenRunner = ProcessRunner,
) -> ScalingResult:
    """Measure along every axis. All points of an axis take turns, so that a drifting machine bends no line.

    A point's memory is that of a fresh process, which ends afterwards; a contender's steps at all points are
    timed in one other process.

    Args:
        student: what `open_student` gave for these settings.
        contenders: what is measured; one that a point has too little memory for is skipped there.
        axes: name -> ascending values.
        base: what the other axes are kept at.
    """
    base = base or Scale()
    planned = {
        name: [
            _plan(student, make_work(base.model_copy(update={name: value})), settings, contenders, value)
            for value in values
        ]
        for name, values in axes.items()
    }
    steps = [step_amount(p.flops, c) for points in planned.values() for p in points for c in p.contenders]
    rates = [_ceiling_amount(points) for points in planned.values()]
    total = sum(steps) * (repeats + 1) + sum(rates) * repeats
    clock = Clock(display, total, len(steps) * (repeats + 1) + len(rates) * repeats)
    measured = []
    for name, points in planned.items():
        for point in points:
            _measure_memory(point, name, partial(open_runner, settings), clock)
        measured.append(_measure_axis(student, name, points, partial(open_runner, settings), repeats, clock))
    return ScalingResult(
        settings=settings,
        compute=student.compute,
        repeats=repeats,
        base=base,
        axes=tuple(measured),
        provenance=provenance_of(student),
    )


def _plan(
    student: Student, work: Work, settings: StepSettings, contenders: Sequence[Contender], value: int
) -> _Point:
    longest = settings.train.max_length_tokens
    facts, padded = work_facts(student, work, longest), padded_shapes(student, work, longest)
    reasons = {c.name: shortage(student, c, facts, padded) for c in contenders}
    return _Point(
        value=value,
        work=work,
        facts=facts,
        flops=all_flops(student, facts, padded),
        contenders=[c for c in contenders if not reasons[c.name]],
        skipped={name: reason for name, reason in reasons.items() if reason},
    )


def _ceiling_amount(points: Sequence[_Point]) -> float:
    return min(min(p.flops.values()) for p in points)


def _measure_memory(
    point: _Point, axis: str, open_runner: Callable[[], AbstractContextManager[Runner]], clock: Clock
) -> None:
    for contender in list(point.contenders):
        clock.begin(f"memory of {contender.name} at {axis} {point.value}")
        samples = StepSamples()
        try:
            with open_runner() as runner:
                runner.prepare(contender.name, contender, point.work)
                samples.take(runner, contender.name, keep=False)
        except ConfigError as error:
            # It took more than was thought, and would again.
            point.contenders.remove(contender)
            point.skipped[contender.name] = str(error)
        else:
            point.samples[contender.name] = samples
        clock.end(step_amount(point.flops, contender))


def _measure_axis(
    student: Student,
    name: str,
    points: list[_Point],
    open_runner: Callable[[], AbstractContextManager[Runner]],
    repeats: int,
    clock: Clock,
) -> ScalingAxis:
    rates, acts, amounts = CeilingSamples(), dict[str, Callable[[], None]](), dict[str, float]()
    runners: dict[str, Runner] = {}
    with ExitStack() as stack:
        for point in points:
            for contender in point.contenders:
                if contender.name not in runners:
                    runners[contender.name] = stack.enter_context(open_runner())
                runner, label = runners[contender.name], f"{contender.name} at {name} {point.value}"
                runner.prepare(label, contender, point.work)
                acts[label] = partial(point.samples[contender.name].take, runner, label)
                amounts[label] = step_amount(point.flops, contender)
        counts = counts_of(points[len(points) // 2].facts, "packed")
        ceiling = Ceiling(student, counts.tokens, counts.head_positions)
        acts[CEILING], amounts[CEILING] = partial(rates.take, ceiling), _ceiling_amount(points)
        in_turn(acts, repeats, clock, amounts)
    done = tuple(_point_result(point, rates) for point in points)
    return ScalingAxis(
        name=name,
        points=done,
        ceiling=ceiling_result(rates),
        time=_fits(done, lambda c: c.seconds.median),
        memory=_fits(done, lambda c: float(c.memory.peak_bytes)),
    )


def _point_result(point: _Point, rates: CeilingSamples) -> ScalingPoint:
    return ScalingPoint(
        value=point.value,
        work=point.facts,
        contenders=tuple(
            contender_result(c, point.flops[c.rows], point.facts, point.samples[c.name], rates)
            for c in point.contenders
        ),
        skipped=point.skipped,
    )


def _fits(points: Sequence[ScalingPoint], read: Callable[[ContenderResult], float]) -> dict[str, Fit]:
    values: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        for contender in point.contenders:
            values.setdefault(contender.name, []).append((point.value, read(contender)))
    fits = {name: fit_growth(*zip(*pairs, strict=True)) for name, pairs in values.items()}
    return {name: fit for name, fit in fits.items() if fit is not None}
