"""`bench step`: contenders on the same work, in turn, each in a separate process; the machine's ceiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

from compact_bench.commands.bench.contenders.contenders import Contender, Rows, padded_shapes
from compact_bench.commands.bench.contenders.memory import Memory
from compact_bench.commands.bench.contenders.runners import OpenRunner, ProcessRunner, Runner
from compact_bench.commands.bench.contenders.turns import Clock, in_turn
from compact_bench.commands.bench.contenders.work import Work, WorkFacts, work_facts
from compact_bench.commands.bench.measuring.ceiling import Ceiling
from compact_bench.commands.bench.measuring.flops import Counts, counts_of, step_flops
from compact_bench.commands.bench.measuring.need import check_memory
from compact_bench.commands.bench.measuring.results import CeilingResult, ContenderResult, StepResult
from compact_bench.commands.bench.measuring.samples import ratios, spread
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.core.errors import ConfigError
from compact_bench.core.progress import Display
from compact_bench.core.provenance import collect_provenance
from compact_bench.students.student import Student

CEILING = "ceiling"


@dataclass
class StepSamples:
    """Turns of one contender on some work.

    Attributes:
        seconds: of the timed step, a value a round.
        loss, path: of the last one.
        memory: of a fresh process's first turn, or None before it.
    """

    seconds: list[float] = field(default_factory=list)
    loss: float = 0.0
    path: dict[str, str] = field(default_factory=dict)
    memory: Memory | None = None

    def take(self, runner: Runner, name: str, keep: bool = True) -> None:
        """Make a turn with what was prepared under `name`; with `keep`, its time counts."""
        done = runner.turn(name)
        self.loss, self.path = done.loss, done.path
        if self.memory is None:
            self.memory = done.memory
        if keep:
            self.seconds.append(done.seconds)


@dataclass
class CeilingSamples:
    """Both rates of the ceiling in operations per second, a value a round."""

    square: list[float] = field(default_factory=list)
    shapes: list[float] = field(default_factory=list)

    def take(self, ceiling: Ceiling) -> None:
        """Measure both rates once more."""
        self.square.append(ceiling.square())
        self.shapes.append(ceiling.shapes())


def step_amount(flops: dict[str, int], contender: Contender) -> float:
    """About how much there is to compute in a step, for the time that is left; `flops` as in `StepResult`."""
    kind = "padded" if contender.rows == "released" else contender.rows
    return flops[kind] * (4.0 / 3.0 if contender.checkpointed else 1.0)


def all_flops(student: Student, facts: WorkFacts, padded: Sequence[tuple[int, int]]) -> dict[str, int]:
    """Operations of a step, as `StepResult.flops`; `padded` is (rows, width) of every question's batch."""
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
    open_runner: OpenRunner = ProcessRunner,
) -> StepResult:
    """Measure. Each contender runs in a separate process; they make their turns one after the other.

    Args:
        student: what `open_student` gave for these settings; it counts tokens and gives shapes.

    Raises:
        ConfigError: fewer than one repeat, no contender, too little memory, or a process that ended.
    """
    if repeats < 1 or not contenders:
        raise ConfigError(
            f"bench step: expected at least one repeat and one contender, got {repeats} and "
            f"{len(contenders)}."
        )
    facts = work_facts(student, work, settings.train.max_length_tokens)
    padded = padded_shapes(student, work, settings.train.max_length_tokens)
    check_memory(student, contenders, facts, padded)
    flops = all_flops(student, facts, padded)
    amounts = {c.name: step_amount(flops, c) for c in contenders} | {CEILING: min(flops.values())}
    clock = Clock(display, repeats * sum(amounts.values()), repeats * len(amounts))
    counts = counts_of(facts, "packed")
    ceiling, rates = Ceiling(student, counts.tokens, counts.head_positions), CeilingSamples()
    samples = {contender.name: StepSamples() for contender in contenders}
    with ExitStack() as stack:
        acts: dict[str, Callable[[], None]] = {}
        for contender in contenders:
            runner = stack.enter_context(open_runner(settings))
            runner.prepare(contender.name, contender, work)
            acts[contender.name] = partial(samples[contender.name].take, runner, contender.name)
        in_turn(acts | {CEILING: partial(rates.take, ceiling)}, repeats, clock, amounts)
    results = tuple(contender_result(c, flops[c.rows], facts, samples[c.name], rates) for c in contenders)
    return StepResult(
        settings=settings,
        compute=student.compute,
        repeats=repeats,
        work=facts,
        flops=flops,
        ceiling=ceiling_result(rates),
        contenders=results,
        ratios=ratios(
            {c.name: c.samples_seconds for c in results},
            {c.name: c.memory.peak_bytes for c in results},
            {c.name: c.memory.step_bytes for c in results},
        ),
        provenance=provenance_of(student),
    )


def provenance_of(student: Student) -> dict[str, Any]:
    """Code, packages and machine, and what the student is."""
    return collect_provenance(
        device=str(student.device), dtype=str(student.dtype), student_revision=student.revision
    )


def ceiling_result(rates: CeilingSamples) -> CeilingResult:
    """The ceiling with its medians, of at least one round."""
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
) -> ContenderResult:
    """Times and shares of a contender whose step needs `flops`; samples and rates share their rounds."""
    assert samples.memory is not None
    times = spread(samples.seconds)
    speeds = [flops / seconds for seconds in samples.seconds]
    return ContenderResult(
        name=contender.name,
        title=contender.title,
        samples_seconds=tuple(samples.seconds),
        seconds=times,
        tokens_per_second=facts.tokens / times.median,
        memory=samples.memory,
        useful_flops=flops,
        flops_per_second=flops / times.median,
        share_of_square=spread([a / b for a, b in zip(speeds, rates.square, strict=True)]).median,
        share_of_shapes=spread([a / b for a, b in zip(speeds, rates.shapes, strict=True)]).median,
        loss=samples.loss,
        path=samples.path,
    )
