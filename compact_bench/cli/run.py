"""Commands that run: reproduce, run, report, prefetch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compact_bench.cli import options as o

if TYPE_CHECKING:
    from compact_bench.runs.execution import Outcome
    from compact_bench.runs.session import Request

EXIT_INTERRUPTED = 130

REPRODUCE_HELP = """
Plan a table's runs, run what is missing, and write RESULTS.md, RESULTS.csv and RESULTS.tex.

Runs that the store already has are not run again. A command that was interrupted continues when it is given
again; several at once on one store share the work.
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(
        help=REPRODUCE_HELP, epilog="Example: compact-bench reproduce --table 2 --profile smoke --seeds 1"
    )(reproduce)
    app.command(epilog="Example: compact-bench run compact --seeds 1 --set temperature=0.5")(run)
    app.command(epilog="Example: compact-bench report --table 2")(report)
    app.command(epilog="Example: compact-bench prefetch --suite svamp")(prefetch)


def reproduce(
    table: o.Tables = ["2"],  # noqa: B006
    suite: o.SuiteName = o.DEFAULT_SUITE,
    profile: o.Profile = "lite",
    seeds: o.Seeds = "",
    methods: o.MethodNames = "",
    student: o.StudentName = "",
    overrides: o.Overrides = [],  # noqa: B006
    world: o.World = [],  # noqa: B006
    on_fault: o.OnFault = o.FaultChoice.stop,
    rationales: o.Rationales = "",
    teachers: o.Teachers = "",
    mirror: o.Mirror = None,
    store: o.Store = None,
    output: o.Output = Path("."),
    figures: o.Figures = "",
    reproduction: o.Reproduction = None,
    offline: o.Offline = False,
    threads: o.Threads = 0,
    workers: o.Workers = 0,
    device: o.Device = "auto",
    tune: o.Tune = False,
    quiet: o.Quiet = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and run nothing.")] = False,
) -> None:
    """Plan a table, run what the store lacks, write RESULTS.md, .csv and .tex; interrupted, it continues."""
    request = _request(locals())
    from compact_bench.commands.reproduce import ReportRequest, reproduce_tables

    tables = ReportRequest(o.all_names(table), output, o.csv_names(methods), tune, figures, reproduction)
    end_with(
        reproduce_tables(request, tables, console=o.status(), quiet=quiet, dry_run=dry_run, workers=workers)
    )


def run(
    method: Annotated[
        str, typer.Argument(help="Method, or METHOD[VARIANT]; `compact-bench list methods` shows them.")
    ],
    suite: o.SuiteName = o.DEFAULT_SUITE,
    profile: o.Profile = "lite",
    seeds: o.Seeds = "",
    student: o.StudentName = "",
    overrides: o.Overrides = [],  # noqa: B006
    world: o.World = [],  # noqa: B006
    on_fault: o.OnFault = o.FaultChoice.stop,
    rationales: o.Rationales = "",
    teachers: o.Teachers = "",
    mirror: o.Mirror = None,
    store: o.Store = None,
    offline: o.Offline = False,
    threads: o.Threads = 0,
    workers: o.Workers = 0,
    device: o.Device = "auto",
    quiet: o.Quiet = False,
) -> None:
    """Run one method (single_teacher: each teacher, or the one of --set teacher=NAME) and show its scores."""
    request = _request(locals())
    from compact_bench.commands.reproduce import run_method

    outcome = run_method(request, method, console=o.status(), quiet=quiet, workers=workers)
    if not quiet:
        from compact_bench.commands.inspect.listing import record_summary

        for record in outcome.records:
            o.out().print(record_summary(record))
    end_with(outcome)


def report(
    table: o.Tables = ["2"],  # noqa: B006
    suite: o.SuiteName = o.DEFAULT_SUITE,
    profile: o.Profile = "lite",
    seeds: o.Seeds = "",
    methods: o.MethodNames = "",
    student: o.StudentName = "",
    overrides: o.Overrides = [],  # noqa: B006
    world: o.World = [],  # noqa: B006
    rationales: o.Rationales = "",
    teachers: o.Teachers = "",
    on_fault: o.OnFault = o.FaultChoice.stop,
    mirror: o.Mirror = None,
    store: o.Store = None,
    output: o.Output = Path("."),
    figures: o.Figures = "",
    reproduction: o.Reproduction = None,
    offline: o.Offline = False,
    tune: o.Tune = False,
    quiet: o.Quiet = False,
) -> None:
    """Write the tables from the records that are there; nothing is run, empty cells say why."""
    request = _request(locals())
    from compact_bench.commands.reproduce import ReportRequest, report_tables

    tables = ReportRequest(o.all_names(table), output, o.csv_names(methods), tune, figures, reproduction)
    report_tables(request, tables, console=o.status(), quiet=quiet)


def prefetch(
    suite: o.SuiteName = o.DEFAULT_SUITE,
    profile: o.Profile = "lite",
    student: o.StudentName = "",
    world: o.World = [],  # noqa: B006
    mirror: o.Mirror = None,
    offline: o.Offline = False,
    quiet: o.Quiet = False,
) -> None:
    """Fetch a suite's files and its student into the cache, so that runs need no network."""
    request = _request(locals())
    from compact_bench.commands.prefetch import prefetch_all

    console = o.status()
    for line in prefetch_all(request):
        if not quiet:
            console.print(line, markup=False, soft_wrap=True)


def _request(options: Mapping[str, Any]) -> Request:
    """The request of a command, whose options are named as everywhere; it has more options than these."""
    names = inspect.signature(o.make_request).parameters
    return o.make_request(**{name: value for name, value in options.items() if name in names})


def end_with(outcome: Outcome) -> None:
    """Leave with the exit code that says how the runs ended."""
    if outcome.interrupted:
        typer.echo("Interrupted. The same command continues where it stopped.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    if outcome.failed or outcome.broken:
        raise typer.Exit(1)
