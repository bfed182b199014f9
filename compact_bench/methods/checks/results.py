"""What a check of the contract found, and how a method's own failure is told from ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from compact_bench.core.errors import CompactBenchError


@dataclass(frozen=True)
class CheckResult:
    """What one check of one method found.

    Attributes:
        name: the check ("teacher order"); `checks.CHECKS` says what each one asks.
        passed: None where it could not be made, because another check failed that it builds on.
        message: what is wrong and how to mend it, in plain words; or why it was not made; "" where all is
            well.
    """

    name: str
    passed: bool | None
    message: str = ""


class MethodError(CompactBenchError):
    """The method under test raised something; the message names it and where."""


@contextmanager
def guarded(where: str) -> Iterator[None]:
    """Whatever a method raises inside becomes a `MethodError`; `where` is what was called ("fit").

    Raises:
        MethodError: with the kind of exception, its first line, and the method's line that raised it.
    """
    try:
        yield
    # Another package's method may raise anything, and may even try to end the process.
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines()
        text = f": {lines[0]}" if lines else ""
        raise MethodError(f"{where} raised {type(error).__name__}{text}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """The line of the method's file that was under way, for a reader without the traceback."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if not name.startswith(("compact_bench.methods.checks", "compact_bench.training.loop", "contextlib")):
            place = place or f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place
