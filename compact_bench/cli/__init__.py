"""The command line: options, help texts and exit codes; what a command does is in `commands`.

Import inside a command, never at the head of a file: `--help` stays quick. Option names are a promise.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated

import typer

from compact_bench import __version__
from compact_bench.cli import bench, inspect, keep, lab, methods, run, sweep
from compact_bench.core.errors import CompactBenchError, ConfigError, StoreError
from compact_bench.core.files import unusable
from compact_bench.core.progress import say_warnings
from compact_bench.core.written.names import shown, unreadable

__all__ = ["app", "main"]

EXIT_BUG = 70
_LONGEST_LINE = 1500

app = typer.Typer(
    name="compact-bench",
    help="A reproducible benchmark suite for multi-teacher chain-of-thought distillation.",
    epilog="Example: compact-bench reproduce --table 2",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Paragraphs of a docstring are wrapped to the width of the terminal, not where the source breaks them.
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"compact-bench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A reproducible benchmark suite for multi-teacher chain-of-thought distillation."""


for commands in (run, sweep, inspect, keep, methods):
    commands.register(app)
app.add_typer(lab.app, name="lab")
app.add_typer(bench.app, name="bench")


class _Stopping:
    """While it is entered, SIGTERM ends a command as Ctrl-C does: workers stop, what is done is kept.

    Attributes:
        how: of the signal, for the message.
        exit_code: 130, or 143 after SIGTERM.
    """

    def __init__(self) -> None:
        self.how, self.exit_code = "", run.EXIT_INTERRUPTED

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        self.how, self.exit_code = " by SIGTERM", 128 + number
        # A second one ends the process at once.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    def __enter__(self) -> None:
        # Only the main thread may; whoever runs the command line elsewhere keeps his own.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._terminated)

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


def _write_log(error: BaseException) -> str:
    """Where the report of an error lies; nobody else can foresee the name, put a link there, or read it."""
    head = f"compact-bench {__version__}, Python {sys.version}\n{sys.argv}\n"
    try:
        handle, name = tempfile.mkstemp(
            prefix=f"compact_bench_error_{time.strftime('%Y%m%d_%H%M%S')}_", suffix=".log"
        )
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(head + "".join(traceback.format_exception(error)))
    except OSError as problem:
        return f"nowhere, as no temporary file could be written ({problem.strerror or problem})"
    return name


def _shortened(text: str) -> str:
    """A message whose lines hold no whole file or argument that was given; their ends say what to do."""
    half = _LONGEST_LINE // 2
    return "\n".join(
        line
        if len(line) <= _LONGEST_LINE
        else f"{line[:half]} ... ({len(line):,} characters) ... {line[-half:]}"
        for line in text.splitlines()
    )


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse bytes that are no UTF-8 and characters that hide: no record and no page could show them.

    Raises:
        ConfigError: an argument has some.
    """
    for place, argument in enumerate(arguments):
        if problem := unreadable(argument, lines=True):
            before = arguments[place - 1] if place else ""
            option = f"{before}: " if before.startswith("--") else ""
            raise ConfigError(
                f"{option}expected printable arguments in UTF-8, got {problem} in {shown(argument)!r}."
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: what follows the program's name; None reads `sys.argv`.

    Raises:
        SystemExit: always, with the exit code: 0, that of the `CompactBenchError`, 7 for a file or
            folder that cannot be read or written, 70 for a fault of this package (both write their report to
            a file that the message names), 130 when interrupted, 143 by SIGTERM.
    """
    say_warnings()
    stopping = _Stopping()
    try:
        check_arguments(sys.argv[1:] if arguments is None else arguments)
        with stopping:
            app(args=None if arguments is None else list(arguments), prog_name="compact-bench")
    except CompactBenchError as error:
        print(f"Error: {_shortened(shown(str(error), lines=True))}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except (KeyboardInterrupt, SystemExit) as ended:
        # typer ends a command that is interrupted by itself.
        if isinstance(ended, SystemExit) and ended.code != run.EXIT_INTERRUPTED:
            raise
        print(
            f"Interrupted{stopping.how}. Finished runs are kept, unfinished ones as far as their last "
            "checkpoint. The same command continues where it stopped.",
            file=sys.stderr,
        )
        raise SystemExit(stopping.exit_code) from None
    except BrokenPipeError:
        # The reader of our output went away (`| head`); nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if (place := unusable(error)) is not None:
            print(f"Error: {place}", file=sys.stderr)
            raise SystemExit(place.exit_code) from None
        log = _write_log(error)
        if isinstance(error, OSError) and error.filename:
            print(
                f"Error: cannot use {shown(str(error.filename))}: {error.strerror}. To mend: name a place "
                f"that can be read and written and has room left. The full report is in {log}",
                file=sys.stderr,
            )
            raise SystemExit(StoreError.exit_code) from None
        print(
            f"Error: something unexpected happened ({type(error).__name__}: {shown(_first_line(error))}).\n"
            f"This is a fault of compact-bench, not yours. The full report is in {log}",
            file=sys.stderr,
        )
        raise SystemExit(EXIT_BUG) from None
