"""Commands that run: reproduce, run, report, prefetch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compact_bench.cli import options as o

if TYPE_CHECKING:
    from compact_bench.commands.reproduce import ReportRequest
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
    app.command(epilog="Example: compact-bench run my_method.py --seeds 1 --set temperature=0.5")(run)
    app.command(epilog="Example: compact-bench report --table 2")(report)
    app.command(epilog="Example: compact-bench prefetch --suite svamp")(prefetch)


@dataclass(frozen=True)
class TableOptions(o.RequestOptions):
    """The options of commands that write tables."""

    table: o.Tables = field(default_factory=lambda: ["2"])
    methods: o.MethodNames = ""
    output: o.Output = None
    figures: o.Figures = ""
    reproduction: o.Reproduction = None
    tune: o.Tune = False

    def request(self) -> Request:
        """The request, with the method files that `--methods` names."""
        return replace(super().request(), method_files=o.method_files(self.methods))

    def tables(self, request: Request) -> ReportRequest:
        """Which tables are written, and where: beside the store unless `--output` says otherwise."""
        from compact_bench.commands.reproduce import ReportRequest
        from compact_bench.core.paths import results_dir

        names, methods = o.all_names(self.table), o.method_names(self.methods)
        output = self.output or results_dir(request.store)
        return ReportRequest(names, output, methods, self.tune, self.figures, self.reproduction)


@o.takes(TableOptions)
def reproduce(
    options: TableOptions,
    workers: o.Workers = 0,
    quiet: o.Quiet = False,
    dry_run: o.DryRun = False,
    rerun: o.Rerun = False,
) -> None:
    """Plan a table, run what the store lacks, write RESULTS.md, .csv and .tex; continue if interrupted."""
    request = options.request()
    from compact_bench.commands.reproduce import reproduce_tables

    tables = options.tables(request)
    how: Any = {"quiet": quiet, "dry_run": dry_run, "workers": workers, "rerun": rerun}
    end_with(reproduce_tables(request, tables, console=o.status(), **how))


@o.takes(o.RequestOptions)
def run(
    options: o.RequestOptions,
    method: Annotated[
        str,
        typer.Argument(
            help="Method, METHOD[VARIANT] or a method's FILE.py; `compact-bench list methods` shows them."
        ),
    ],
    workers: o.Workers = 0,
    quiet: o.Quiet = False,
    rerun: o.Rerun = False,
) -> None:
    """Run one method (single_teacher: each teacher, or the one of --set teacher=NAME) and show its scores."""
    request = replace(options.request(), method_files=o.method_files(method))
    from compact_bench.commands.reproduce import run_method

    (name,) = o.method_names(method) or ("",)
    outcome = run_method(request, name, console=o.status(), quiet=quiet, workers=workers, rerun=rerun)
    if not quiet:
        from compact_bench.commands.inspect.listing import record_summary

        for record in outcome.records:
            o.out().print(record_summary(record))
    end_with(outcome)


@o.takes(TableOptions, leave_out="threads device")
def report(options: TableOptions, quiet: o.Quiet = False) -> None:
    """Write the tables from the records in the store; nothing is run, empty cells say why."""
    request = options.request()
    from compact_bench.commands.reproduce import report_tables

    report_tables(request, options.tables(request), console=o.status(), quiet=quiet)


@o.takes(o.RequestOptions, "suite profile student world mirror offline")
def prefetch(options: o.RequestOptions, quiet: o.Quiet = False) -> None:
    """Fetch a suite's files and its student into the cache, so that runs need no network."""
    request = options.request()
    from compact_bench.commands.prefetch import prefetch_all

    console = o.status()
    for line in prefetch_all(request):
        if not quiet:
            console.print(line, markup=False, soft_wrap=True)


def end_with(outcome: Outcome) -> None:
    """Leave with the exit code that says how the runs ended."""
    if outcome.interrupted:
        # `main` says what is kept.
        raise typer.Exit(EXIT_INTERRUPTED)
    if outcome.failed or outcome.broken:
        raise typer.Exit(1)
