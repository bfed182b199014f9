"""The result of `bench step`: everything that was measured, as JSON that reads back as it was."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ValidationError

from compact_bench.commands.bench.contenders.memory import Memory
from compact_bench.commands.bench.contenders.work import WorkFacts
from compact_bench.commands.bench.measuring.samples import Ratio, Spread
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.core.errors import DataError
from compact_bench.core.settings import Strict, describe_validation_error


class BenchResult(Strict):
    """What the results of all benchmarks have.

    Attributes:
        repeats: rounds.
        provenance: code, packages, machine.
    """

    format: Literal[1] = 1
    repeats: int
    provenance: dict[str, Any]


class ContenderResult(Strict):
    """What one contender took.

    Attributes:
        samples_seconds: of every timed step, in the order of the rounds.
        seconds: of a step.
        tokens_per_second: tokens of all branches as separate rows without padding, over the median time.
        memory: of a fresh process.
        useful_flops: of a step; see `flops`.
        flops_per_second: useful ones over the median time.
        share_of_square, share_of_shapes: useful operations per second over the ceiling that was measured in
            the same round, the median over rounds.
        loss: of the step, which all contenders of one objective must share where dropout is off.
        path: layout and kernels that computed it, where they are ours.
    """

    name: str
    title: str
    samples_seconds: tuple[float, ...]
    seconds: Spread
    tokens_per_second: float
    memory: Memory
    useful_flops: int
    flops_per_second: float
    share_of_square: float
    share_of_shapes: float
    loss: float
    path: dict[str, str]


class CeilingResult(Strict):
    """Matrix products measured in turn with the steps, operations per second.

    Attributes:
        samples_square, samples_shapes: in the order of the rounds.
        square: of one large square product.
        shapes: of the products of the student's own shapes.
    """

    samples_square: tuple[float, ...]
    samples_shapes: tuple[float, ...]
    square: Spread
    shapes: Spread


class TrainingResult(BenchResult):
    """What the results of benchmarks of training have; `compute` is the type of their products."""

    settings: StepSettings
    compute: str


class StepResult(TrainingResult):
    """The result of `bench step`.

    Attributes:
        work: what a step goes over.
        flops: useful operations of a step whose prompts are shared ("packed"), of a row per branch ("rows"),
            of the released algorithm ("released", without its padding), and of all that its padded rows
            compute ("padded").
        ratios: first name -> second name -> first over second.
    """

    work: WorkFacts
    flops: dict[str, int]
    ceiling: CeilingResult
    contenders: tuple[ContenderResult, ...]
    ratios: dict[str, dict[str, Ratio]]

    def contender(self, name: str) -> ContenderResult | None:
        """The result of one contender, or None."""
        return next((c for c in self.contenders if c.name == name), None)

    @classmethod
    def read(cls, text: str, where: str) -> StepResult:
        """The result in a file's text; `where` names the file in messages.

        Raises:
            DataError: it is no result of `bench step`.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise DataError(describe_validation_error(error, where)) from None
