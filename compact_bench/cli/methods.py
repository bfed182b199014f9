"""Commands for authors of methods: new, check."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from compact_bench.cli import options as o
from compact_bench.core.errors import ConfigError

if TYPE_CHECKING:
    from compact_bench.core.progress import Display
    from compact_bench.methods.checks import CheckResult

_STATES = {True: ("passed", "green"), False: ("failed", "red"), None: ("not checked", "yellow")}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: compact-bench new my_method")(new)
    app.command(epilog="Example: compact-bench check uniform compact[no-consensus] my_method.py")(check)


def new(
    name: Annotated[str, typer.Argument(help="Registry name of the method, as my_method.")],
    as_file: Annotated[
        bool,
        typer.Option(
            "--file/--package",
            help="One file with a test (the default), or a package with an entry point.",
        ),
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="Folder to write to. Default: the current; where a checkout begins, its baselines/.",
        ),
    ] = None,
) -> None:
    """Write a method that works, with its card and tests, to be changed into your own."""
    o.prepare_libraries()
    from compact_bench.methods.scaffolding import checkout_folder, new_method, write_files

    checkout = checkout_folder()
    # Other folders below a checkout may be anything, an environment or a temporary one too.
    inside = checkout is not None and Path.cwd() in (checkout, checkout / "baselines")
    folder = output or (checkout if as_file and inside and checkout else Path.cwd())
    made = new_method(name, folder, package=not as_file)
    write_files(made)
    out = o.out()
    for path in made.files:
        out.print(str(path), markup=False, soft_wrap=True)
    if made.near:
        names = " and ".join(map(repr, made.near))
        o.status().print(f"Note: there is nearly this name already: {names}.", markup=False, soft_wrap=True)
    for line in _next_steps(name, next(iter(made.files)), as_file, folder == checkout):
        out.print(line, markup=False, soft_wrap=True)


def _next_steps(name: str, first_file: Path, single: bool, registered: bool) -> list[str]:
    first = [] if single else [f"  pip install -e {shlex.quote(str(first_file.parent))}"]
    # A file that is not registered goes by its path.
    called = shlex.quote(_from_here(first_file)) if single and not registered else name
    steps = [f"  compact-bench check {called}", f"  compact-bench run {called} --suite lab --profile smoke"]
    return ["", "Next:", *first, *steps]


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Method, method[variant], or a Python file with a METHOD."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every registered method.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Run the public contract suite on methods: what each of them breaks, and how to mend it.

    Ends with exit code 1 where a check fails. Every method is trained some ten times, on a tiny student and
    six questions, without a GPU or a network.
    """
    if every == bool(names):
        raise ConfigError("check: expected names of methods, or --all.")
    o.prepare_libraries(threads=1)
    from compact_bench.core.progress import open_display
    from compact_bench.methods.registry import method_names

    chosen = list(method_names() if every else dict.fromkeys(names or ()))
    results_of: dict[str, list[CheckResult]] = {}
    seconds: dict[str, float] = {}
    started = time.monotonic()
    with open_display(o.status(), quiet=quiet) as display:
        for number, name in enumerate(chosen):
            before = time.monotonic()
            results_of[name] = _check_one(name, display, number, len(chosen), started)
            seconds[name] = time.monotonic() - before
    failed = [name for name, results in results_of.items() if any(r.passed is False for r in results)]
    if not quiet or failed:
        out = o.out()
        out.print(
            _overview(results_of, seconds) if len(chosen) > 1 else _details(chosen[0], results_of[chosen[0]])
        )
        for name in failed if len(chosen) > 1 else ():
            out.print(_details(name, [r for r in results_of[name] if r.passed is False]))
        out.print(f"{len(chosen) - len(failed)} of {len(chosen)} method(s) keep the contract", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _check_one(name: str, display: Display, number: int, total: int, started: float) -> list[CheckResult]:
    from compact_bench.core.progress import duration
    from compact_bench.methods.checks import CHECKS, check_method

    made = 0

    def on_result(result: CheckResult) -> None:
        nonlocal made
        made += 1
        done = number + made / len(CHECKS)
        left = duration((time.monotonic() - started) / done * (total - done))
        display.step(0, number, total, f"{name} ({made} of {len(CHECKS)} checks)", left)

    return check_method(name, on_result=on_result)


def _state(passed: bool | None) -> Text:
    word, style = _STATES[passed]
    return Text(word, style=style)


def _details(name: str, results: Sequence[CheckResult]) -> Table:
    from compact_bench.methods.checks import CHECKS

    table = Table("check", "state", "what it checks, or what is wrong", title=name, title_justify="left")
    for result in results:
        text = CHECKS[result.name] if result.passed else result.message
        table.add_row(result.name, _state(result.passed), Text(text))
    return table


def _overview(results_of: dict[str, list[CheckResult]], seconds: dict[str, float]) -> Table:
    table = Table("method", "state", "fails", "seconds", title="contract", title_justify="left")
    for name, results in results_of.items():
        wrong = [r.name for r in results if r.passed is False]
        table.add_row(Text(name), _state(not wrong), Text(", ".join(wrong)), f"{seconds[name]:.1f}")
    return table
