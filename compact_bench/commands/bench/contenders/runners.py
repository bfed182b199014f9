"""Who makes the steps: a process of its own for each contender, or this process."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from compact_bench.commands.bench.contenders.contenders import Contender
from compact_bench.commands.bench.contenders.memory import Memory
from compact_bench.commands.bench.contenders.work import Work
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import Strict
from compact_bench.runs.workers.process import child_environment

STOP_SECONDS = 10.0


class Turn(Strict):
    """One turn of a contender: a step that is not timed, and one that is.

    Attributes:
        seconds: of the timed step.
        loss: of that step.
        memory: during both. Only a process's first turn tells what a fresh process takes.
        path: what computed it where that is ours; see `TimedStep`.
    """

    seconds: float
    loss: float
    memory: Memory
    path: dict[str, str]


class Runner(Protocol):
    """Makes turns; a context manager, which gives back what it took."""

    def __enter__(self) -> Runner:
        """Take what is needed."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        ...

    def prepare(self, name: str, contender: Contender, work: Work) -> None:
        """Encode some work for a contender under a name."""
        ...

    def turn(self, name: str) -> Turn:
        """Make a turn with what was prepared under this name."""
        ...


OpenRunner = Callable[[StepSettings], Runner]
"""Opens a runner for settings; `ProcessRunner` is one."""


class ProcessRunner:
    """Has turns made in a fresh process, which keeps its memory and its allocator to itself.

    Args:
        settings: how the student is set up there.
    """

    def __init__(self, settings: StepSettings) -> None:
        self._settings = settings
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> ProcessRunner:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "compact_bench.commands.bench.contenders.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=child_environment(self._settings.threads),
            text=True,
            encoding="utf-8",
        )
        try:
            self._ask({"settings": self._settings.model_dump(mode="json")})
        except ConfigError:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def prepare(self, name: str, contender: Contender, work: Work) -> None:
        """Encode some work for a contender under a name.

        Args:
            name: for `turn`.
            contender: who steps.
            work: the questions of a step.

        Raises:
            ConfigError: the contender refuses the student, or the process ended.
        """
        self._ask({"name": name, "contender": contender.name, "work": work.to_data()})

    def turn(self, name: str) -> Turn:
        """Make a turn.

        Args:
            name: of what was prepared.

        Raises:
            ConfigError: the step failed, or the process ended, for example because memory ran out.
        """
        return Turn.model_validate(self._ask({"turn": name}))

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line.endswith("\n"):
            raise ConfigError(self._how_it_ended(process))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ConfigError(str(answer["error"]))
        return answer

    def _how_it_ended(self, process: subprocess.Popen[str]) -> str:
        code = process.wait()
        if code < 0:
            known = {s.value: s.name for s in signal.Signals}
            return (
                f"a process that makes steps was ended by {known.get(-code, f'signal {-code}')}; memory may "
                "have run out. Use fewer teachers, shorter rationales or fewer questions."
            )
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        said = lines[-1] if lines else "no message"
        return f"a process that makes steps ended with status {code}: {said}"

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        # The pipe of a process that died cannot be flushed.
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._errors.close()
        self._process = None
