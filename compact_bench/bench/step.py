"""`bench step`: contenders on the same work, in turn; memory in fresh processes; the machine's ceiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

from compact_bench.bench.ceiling import Ceiling
from compact_bench.bench.contenders import Contender, Rows, padded_shapes
from compact_bench.bench.flops import Counts, counts_of, step_flops
from compact_bench.bench.memory import Memory, measure_command
from compact_bench.bench.need import check_memory
from compact_bench.bench.results import CeilingResult, ContenderResult, StepResult
from compact_bench.bench.samples import ratios, spread
from compact_bench.bench.settings import StepSettings
from compact_bench.bench.stepping import Prepared, Stepper
from compact_bench.bench.turns import Clock, in_turn
from compact_bench.bench.work import Work, WorkFacts, work_facts
from compact_bench.errors import ConfigError
from compact_bench.progress import Display
from compact_bench.provenance import collect_provenance
from compact_bench.students import Student

__all__ = [
    "CEILING",
    "MEMORY_STEPS",
    "CeilingSamples",
    "StepSamples",
    "all_flops",
    "bench_step",
    "ceiling_result",
    "contender_result",
    "measure_memory",
    "provenance_of",
    "step_amount",
]

CEILING = "ceiling"
MEMORY_STEPS = 3.0
"""A fresh process loads the student and makes two steps."""


@dataclass
class StepSamples:
    """Steps of one contender.

    Attributes:
        seconds: a value a round.
        loss: of the last step.
    """

    seconds: list[float] = field(default_factory=list)
    loss: float = 0.0

    def take(self, stepper: Stepper, prepared: Prepared, keep: bool) -> None:
        """Make a step.

        Args:
            stepper: makes it.
            prepared: who steps.
            keep: whether its time counts.
        """
        done = stepper.step(prepared)
        self.loss = done.loss
        if keep:
            self.seconds.append(done.seconds)


@dataclass
class CeilingSamples:
    """The ceiling, a value a round each.

    Attributes:
        square, shapes: operations per second.
    """

    square: list[float] = field(default_factory=list)
    shapes: list[float] = field(default_factory=list)

    def take(self, ceiling: Ceiling, keep: bool) -> None:
        """Measure both rates.

        Args:
            ceiling: measures them.
            keep: whether they count.
        """
        square, shapes = ceiling.square(), ceiling.shapes()
        if keep:
            self.square.append(square)
            self.shapes.append(shapes)


def step_amount(flops: dict[str, int], contender: Contender) -> float:
    """About how much there is to compute in a step, for the time that is left.

    Args:
        flops: as in `StepResult`.
        contender: who steps.
    """
    kind = "padded" if contender.rows == "released" else contender.rows
    return flops[kind] * (4.0 / 3.0 if contender.checkpointed else 1.0)


def all_flops(student: Student, facts: WorkFacts, padded: Sequence[tuple[int, int]]) -> dict[str, int]:
    """Operations of a step, as `StepResult.flops` has them.

    Args:
        student: as it is trained.
        facts: of the work.
        padded: rows and width of every question's padded batch.
    """
    flops = {kind: step_flops(student, counts_of(facts, kind)) for kind in get_args(Rows)}
    computed = sum(rows * width for rows, width in padded)
    pairs = sum(rows * width * (width + 1) // 2 for rows, width in padded)
    return {**flops, "padded": step_flops(student, Counts(computed, computed, pairs))}


def bench_step(
    student: Student,
    work: Work,
    settings: StepSettings,
    contenders: Sequence[Contender],
    display: Display,
    *,
    repeats: int = 5,
    with_memory: bool = True,
) -> StepResult:
    """Measure.

    Args:
        student: what `open_student` gave for these settings.
        work: the questions of a step.
        settings: a fresh process is given the same.
        contenders: who takes part, at least one.
        display: shows progress.
        repeats: rounds after a warm-up.
        with_memory: whether to start a fresh process per contender.

    Raises:
        ConfigError: fewer than one repeat, no contender, too little memory, or a process that ended without
            its answer.
    """
    if repeats < 1 or not contenders:
        raise ConfigError(
            "bench step: expected at least one repeat and one contender, "
            f"got {repeats} and {len(contenders)}."
        )
    facts = work_facts(student, work, settings.train.max_length_tokens)
    padded = padded_shapes(student, work, settings.train.max_length_tokens)
    check_memory(student, contenders, facts, padded)
    flops = all_flops(student, facts, padded)
    amounts = {c.name: step_amount(flops, c) for c in contenders} | {CEILING: min(flops.values())}
    total = (repeats + 1) * sum(amounts.values())
    count = (repeats + 1) * len(amounts)
    if with_memory:
        total += sum(MEMORY_STEPS * amounts[c.name] for c in contenders)
        count += len(contenders)
    clock = Clock(display, total, count)
    memories: dict[str, Memory] = {}
    for contender in contenders if with_memory else ():
        clock.begin(f"memory of {contender.name}")
        memories[contender.name] = measure_memory(contender, work, settings)
        clock.end(MEMORY_STEPS * amounts[contender.name])
    counts = counts_of(facts, "packed")
    ceiling, stepper = Ceiling(student, counts.tokens, counts.head_positions), Stepper(student, settings)
    rates, samples = CeilingSamples(), {contender.name: StepSamples() for contender in contenders}
    acts: dict[str, Callable[[bool], None]] = {
        c.name: partial(samples[c.name].take, stepper, stepper.prepare(c, work)) for c in contenders
    }
    in_turn(acts | {CEILING: partial(rates.take, ceiling)}, repeats, clock, amounts)
    results = [
        contender_result(c, flops[c.rows], facts, samples[c.name], rates, memories.get(c.name))
        for c in contenders
    ]
    return _result(student, settings, facts, flops, ceiling_result(rates), results)


def _result(
    student: Student,
    settings: StepSettings,
    facts: WorkFacts,
    flops: dict[str, int],
    ceiling: CeilingResult,
    results: Sequence[ContenderResult],
) -> StepResult:
    return StepResult(
        settings=settings,
        compute=student.compute,
        repeats=len(ceiling.samples_square),
        work=facts,
        flops=flops,
        ceiling=ceiling,
        contenders=tuple(results),
        ratios=ratios(
            {c.name: c.samples_seconds for c in results},
            {c.name: c.memory.peak_bytes for c in results if c.memory},
            {c.name: c.memory.step_bytes for c in results if c.memory},
        ),
        provenance=provenance_of(student),
    )


def provenance_of(student: Student) -> dict[str, Any]:
    """Code, packages and machine, and what the student is.

    Args:
        student: as it was measured.
    """
    return collect_provenance(
        device=str(student.device), dtype=str(student.dtype), student_revision=student.revision
    )


def measure_memory(contender: Contender, work: Work, settings: StepSettings) -> Memory:
    """Peak of a fresh process that makes the contender's steps.

    Args:
        contender: who steps.
        work: the questions of a step.
        settings: how the student is set up.

    Raises:
        ConfigError: the process ended without its answer.
    """
    asked: dict[str, object] = {
        "settings": settings.model_dump(mode="json"),
        "work": work.to_data(),
        "contender": contender.name,
    }
    return measure_command(asked, f"contender {contender.name}", settings.threads)


def ceiling_result(rates: CeilingSamples) -> CeilingResult:
    """The ceiling with its medians.

    Args:
        rates: at least one round.
    """
    return CeilingResult(
        samples_square=tuple(rates.square),
        samples_shapes=tuple(rates.shapes),
        square=spread(rates.square),
        shapes=spread(rates.shapes),
    )


def contender_result(
    contender: Contender,
    flops: int,
    facts: WorkFacts,
    samples: StepSamples,
    rates: CeilingSamples,
    memory: Memory | None,
) -> ContenderResult:
    """What is read from a contender's samples.

    Args:
        contender: who stepped.
        flops: useful ones of its step.
        facts: of the work.
        samples, rates: of the same rounds.
        memory: where it was measured.
    """
    times = spread(samples.seconds)
    speeds = [flops / seconds for seconds in samples.seconds]
    return ContenderResult(
        name=contender.name,
        title=contender.title,
        samples_seconds=tuple(samples.seconds),
        seconds=times,
        tokens_per_second=facts.tokens / times.median,
        memory=memory,
        useful_flops=flops,
        flops_per_second=flops / times.median,
        share_of_square=spread([a / b for a, b in zip(speeds, rates.square, strict=True)]).median,
        share_of_shapes=spread([a / b for a, b in zip(speeds, rates.shapes, strict=True)]).median,
        loss=samples.loss,
    )
