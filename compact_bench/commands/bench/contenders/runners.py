"""Who makes the steps: a separate process for each contender, or this process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from compact_bench.commands.bench.contenders.contenders import Contender
from compact_bench.commands.bench.contenders.memory import Memory
from compact_bench.commands.bench.contenders.work import Work
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.core.errors import ConfigError
from compact_bench.core.processes import Child, ChildEnded
from compact_bench.core.settings import Strict


class Turn(Strict):
    """One turn of a contender: a step that is not timed, and one that is.

    Attributes:
        seconds, loss: of the timed step.
        memory: during both. Only a process's first turn shows what a fresh process takes.
        path: what computed it where that is ours; see `TimedStep`.
    """

    seconds: float
    loss: float
    memory: Memory
    path: dict[str, str]


class Runner(Protocol):
    """Makes turns."""

    def prepare(self, name: str, contender: Contender, work: Work) -> None:
        """Encode some work for a contender under a name.

        Raises:
            ConfigError: the contender refuses the student, or the process ended.
        """
        ...

    def turn(self, name: str) -> Turn:
        """Make a turn with what was prepared under this name.

        Raises:
            ConfigError: the step failed, or the process ended, for example because memory ran out.
        """
        ...


OpenRunner = Callable[[StepSettings], AbstractContextManager[Runner]]
"""Opens a runner for settings and gives back what it took; `ProcessRunner` is one."""


class ProcessRunner:
    """Makes turns in a fresh process, whose memory and allocator no other contender shares."""

    def __init__(self, settings: StepSettings) -> None:
        self._settings = settings

    def __enter__(self) -> Runner:
        self._child = Child("compact_bench.commands.bench.contenders.process", self._settings.threads)
        try:
            self._ask({"settings": self._settings.model_dump(mode="json")})
        except BaseException:
            self._child.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._child.stop()

    def prepare(self, name: str, contender: Contender, work: Work) -> None:
        """See `Runner`."""
        self._ask({"name": name, "contender": contender.name, "work": work.to_data()})

    def turn(self, name: str) -> Turn:
        """See `Runner`."""
        return Turn.model_validate(self._ask({"turn": name}))

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            self._child.send(message)
            answer = self._child.receive()
        except ChildEnded as error:
            hint = (
                "; memory may have run out. Use fewer teachers, shorter rationales or fewer questions."
                if error.signal
                else ""
            )
            raise ConfigError(f"a process that makes steps {error}{hint}") from None
        if "error" in answer:
            raise ConfigError(str(answer["error"]))
        return answer
