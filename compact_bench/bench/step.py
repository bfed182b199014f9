"""`bench step`: contenders on the same work, in turn; memory in fresh processes; the machine's ceiling."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

from compact_bench.bench.ceiling import Ceiling
from compact_bench.bench.contenders import CONTENDERS, Contender, Rows, padded_tokens
from compact_bench.bench.flops import Counts, counts_of, step_flops
from compact_bench.bench.memory import Memory, measure_command
from compact_bench.bench.results import CeilingResult, ContenderResult, StepResult
from compact_bench.bench.samples import ratios, rotated, spread
from compact_bench.bench.settings import StepSettings
from compact_bench.bench.stepping import Stepper
from compact_bench.bench.work import Work, WorkFacts, work_facts
from compact_bench.errors import ConfigError
from compact_bench.progress import Display, duration
from compact_bench.provenance import collect_provenance
from compact_bench.students import Student

__all__ = ["Samples", "bench_step"]

CEILING = "ceiling"


@dataclass
class Samples:
    """What the rounds gave, a value a round.

    Attributes:
        seconds: contender -> time of its step.
        losses: contender -> loss of its last step.
        square, shapes: the ceiling.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    square: list[float] = field(default_factory=list)
    shapes: list[float] = field(default_factory=list)


class _Clock:
    """Tells a display how much of the measuring is done, and about how long the rest takes."""

    def __init__(self, display: Display, total: int) -> None:
        self._display, self._total, self._done = display, total, 0
        self._started = time.monotonic()

    def next(self, text: str) -> None:
        """A measurement begins."""
        passed = time.monotonic() - self._started
        left = passed / self._done * (self._total - self._done) if self._done else 0.0
        self._display.step(
            0, self._done, self._total, text, duration(left) if self._done else "not yet known"
        )
        self._done += 1


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
        ConfigError: fewer than one repeat, no contender, or a process that ended without its answer.
    """
    if repeats < 1 or not contenders:
        raise ConfigError(
            "bench step: expected at least one repeat and one contender, "
            f"got {repeats} and {len(contenders)}."
        )
    facts = work_facts(student, work, settings.max_length_tokens)
    clock = _Clock(display, len(contenders) * with_memory + (len(contenders) + 1) * (repeats + 1))
    memories: dict[str, Memory] = {}
    for contender in contenders if with_memory else ():
        clock.next(f"memory of {contender.name}")
        memories[contender.name] = _memory(contender, work, settings)
    samples = _rounds(student, work, settings, contenders, facts, clock, repeats)
    display.drop(0)
    return _result(student, work, settings, contenders, facts, samples, memories)


def _memory(contender: Contender, work: Work, settings: StepSettings) -> Memory:
    asked: dict[str, object] = {
        "settings": settings.model_dump(mode="json"),
        "work": work.to_data(),
        "contender": contender.name,
    }
    return measure_command(asked, f"contender {contender.name}", settings.threads)


def _rounds(
    student: Student,
    work: Work,
    settings: StepSettings,
    contenders: Sequence[Contender],
    facts: WorkFacts,
    clock: _Clock,
    repeats: int,
) -> Samples:
    counts = counts_of(facts, "packed")
    ceiling = Ceiling(student, counts.tokens, counts.head_positions)
    stepper = Stepper(student, work, settings)
    for contender in contenders:
        stepper.prepare(contender)
    samples = Samples({contender.name: [] for contender in contenders})
    names = [*samples.seconds, CEILING]
    for turn in range(-1, repeats):
        for name in rotated(names, max(turn, 0)):
            clock.next(f"{name}, {f'round {turn + 1}' if turn >= 0 else 'warm-up'}")
            if name == CEILING:
                square, shapes = ceiling.square(), ceiling.shapes()
                if turn >= 0:
                    samples.square.append(square)
                    samples.shapes.append(shapes)
                continue
            done = stepper.step(CONTENDERS[name])
            samples.losses[name] = done.loss
            if turn >= 0:
                samples.seconds[name].append(done.seconds)
    return samples


def _result(
    student: Student,
    work: Work,
    settings: StepSettings,
    contenders: Sequence[Contender],
    facts: WorkFacts,
    samples: Samples,
    memories: dict[str, Memory],
) -> StepResult:
    flops = {kind: step_flops(student, counts_of(facts, kind)) for kind in get_args(Rows)}
    shapes = padded_tokens(student, work, settings.max_length_tokens)
    computed = sum(rows * width for rows, width in shapes)
    pairs = sum(rows * width * (width + 1) // 2 for rows, width in shapes)
    flops["padded"] = step_flops(student, Counts(computed, computed, pairs))
    peaks = {name: memory.peak_bytes for name, memory in memories.items()}
    steps = {name: memory.step_bytes for name, memory in memories.items()}
    return StepResult(
        settings=settings,
        compute=student.compute,
        repeats=len(samples.square),
        work=facts,
        flops=flops,
        ceiling=CeilingResult(
            samples_square=tuple(samples.square),
            samples_shapes=tuple(samples.shapes),
            square=spread(samples.square),
            shapes=spread(samples.shapes),
        ),
        contenders=tuple(
            _one(c, flops[c.rows], facts.tokens, samples, memories.get(c.name)) for c in contenders
        ),
        ratios=ratios(samples.seconds, peaks, steps),
        provenance=collect_provenance(
            device=str(student.device), dtype=str(student.dtype), student_revision=student.revision
        ),
    )


def _one(
    contender: Contender, flops: int, tokens: int, samples: Samples, memory: Memory | None
) -> ContenderResult:
    seconds = samples.seconds[contender.name]
    times = spread(seconds)
    return ContenderResult(
        name=contender.name,
        title=contender.title,
        samples_seconds=tuple(seconds),
        seconds=times,
        tokens_per_second=tokens / times.median,
        memory=memory,
        useful_flops=flops,
        flops_per_second=flops / times.median,
        share_of_square=spread([flops / s / c for s, c in zip(seconds, samples.square, strict=True)]).median,
        share_of_shapes=spread([flops / s / c for s, c in zip(seconds, samples.shapes, strict=True)]).median,
        loss=samples.losses[contender.name],
    )
