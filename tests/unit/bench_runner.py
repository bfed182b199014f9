"""Turns made in this process, and ceilings that take no time: for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

import pytest

from compact_bench.commands.bench.contenders.contenders import Contender
from compact_bench.commands.bench.contenders.memory import peak_during
from compact_bench.commands.bench.contenders.runners import Turn
from compact_bench.commands.bench.contenders.stepping import Prepared, Stepper, open_student
from compact_bench.commands.bench.contenders.work import Work
from compact_bench.commands.bench.settings import StepSettings


class LocalRunner:
    """What `ProcessRunner` is, without the process.

    Args:
        settings: how the student is set up.
    """

    def __init__(self, settings: StepSettings) -> None:
        self._stepper = Stepper(open_student(settings), settings)
        self._prepared: dict[str, Prepared] = {}

    def __enter__(self) -> LocalRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._prepared.clear()

    def prepare(self, name: str, contender: Contender, work: Work) -> None:
        self._prepared[name] = self._stepper.prepare(contender, work)

    def turn(self, name: str) -> Turn:
        step, memory = peak_during(lambda: self._stepper.turn(self._prepared[name]))
        return Turn(seconds=step.seconds, loss=step.loss, memory=memory, path=step.path)


@pytest.fixture(autouse=True, scope="module")
def quick_ceiling() -> Iterator[None]:
    """Small products, measured for a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("compact_bench.commands.bench.measuring.ceiling.SQUARE", {"cpu": 64})
        patch.setattr("compact_bench.commands.bench.measuring.ceiling.LEAST_SECONDS", 0.001)
        yield
