"""The command that varies settings of a world and draws the results: sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from compact_bench.cli import options as o
from compact_bench.cli.run import end_with
from compact_bench.core.errors import ConfigError
from compact_bench.core.written.names import shown
from compact_bench.core.written.values import read_number

SweepName = Annotated[
    str, typer.Argument(help="Sweeps: names (style,competence) or TOML files; all: every dial of the lab.")
]


@dataclass(frozen=True)
class SweepOptions(o.RequestOptions):
    """A sweep has a suite, a profile and seeds of its own; these options replace them."""

    suite: Annotated[str, o.option(o.RUN, help="Suite name or TOML file. Default: the sweep's.")] = ""
    profile: Annotated[str, o.option(o.RUN, help="Scale: smoke, lite or full. Default: the sweep's.")] = ""
    seeds: Annotated[str, o.option(o.RUN, help="Seeds, as 1,2,3 or 1-5. Default: the sweep's.")] = ""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(
        epilog="Example: compact-bench sweep error_rate --values 0.15,0.55,0.95 --seeds 1 --output sweep"
    )(sweep)


@o.takes(SweepOptions, leave_out="on_fault on_overlap rationales teachers mirror")
def sweep(
    options: SweepOptions,
    name: SweepName = "error_rate",
    values: Annotated[
        str, o.option(o.RUN, help="Values of one sweep's setting, as 0,0.2,0.4. Default: the sweep's.")
    ] = "",
    methods: Annotated[
        str,
        o.option(o.RUN, help="Only these lines, as uniform,compact,oracle. Default: the sweep's usual ones."),
    ] = "",
    output: o.Output = None,
    workers: o.Workers = 0,
    quiet: o.Quiet = False,
    dry_run: o.DryRun = False,
    rerun: o.Rerun = False,
) -> None:
    """Run methods at several values of one setting of the world and draw the results.

    Each dial of the lab has a sweep: how styles are told, wrong steps behind right answers, shared mistakes,
    rationales that are too hard, error rates. Lines are COMPACT, what it is compared with, and the oracle.

    Several sweeps are one plan, in which a world that they share is trained once. Runs that the store already
    has are not run again; after an interruption the same command continues.

    One sweep writes SWEEP.md and sweep_NAME.png, .svg, .csv and .json, several FINDINGS.md with findings.png,
    .svg and .csv, and the files of each in a folder of its name. Runs that are missing or failed are named.
    """
    request = options.request()
    from compact_bench.commands.sweep import findings_command, run_sweeps, sweep_requests
    from compact_bench.core.paths import results_dir

    names, rows = o.csv_names(name), o.csv_names(methods)
    swept = sweep_requests(names, request, values=parse_values(values), rows=rows)
    folder = output or results_dir(request.store)
    how: Any = {"quiet": quiet, "dry_run": dry_run, "workers": workers, "rerun": rerun}
    command = findings_command(names, swept, rows)
    outcome = run_sweeps(swept, output=folder, console=o.status(), command=command, **how)
    end_with(outcome)


def parse_values(text: str) -> tuple[float, ...]:
    """Numbers written as "0,0.2,0.4"; none for "".

    Raises:
        ConfigError: a part is no number.
    """
    numbers = []
    for part in text.split(",") if text else ():
        try:
            numbers.append(read_number(part))
        except ValueError as error:
            got = f"{shown(part)!r} in {shown(text)!r}"
            raise ConfigError(f"--values: expected numbers as 0,0.2,0.4, got {got}: {error}.") from None
    return tuple(numbers)
