"""The command that varies one setting of a world and draws what comes of it: sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compact_bench.cli import options as o
from compact_bench.cli.run import end_with
from compact_bench.core.errors import ConfigError

SweepName = Annotated[str, typer.Argument(help="Sweep: a name (error_rate) or a TOML file.")]
Values = Annotated[
    str,
    typer.Option(
        "--values",
        rich_help_panel=o.RUN,
        help="Values of the setting, as 0,0.2,0.4. Default: the sweep's.",
    ),
]
Seeds = Annotated[
    str,
    typer.Option("--seeds", rich_help_panel=o.RUN, help="Seeds, as 1,2,3 or 1-5. Default: the sweep's."),
]
Lines = Annotated[
    str,
    typer.Option(
        "--methods",
        rich_help_panel=o.RUN,
        help="Only these lines of the sweep, as uniform,compact,oracle. Default: its usual ones.",
    ),
]
SuiteName = Annotated[
    str,
    typer.Option(
        "--suite", rich_help_panel=o.RUN, help="Suite name or a suite's TOML file. Default: the sweep's."
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        "--profile", rich_help_panel=o.RUN, help="Scale: smoke, lite or full. Default: the sweep's."
    ),
]
Output = Annotated[
    Path, typer.Option("--output", rich_help_panel=o.PLACE, help="Folder for SWEEP.md, picture and data.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands.

    Args:
        app: the command line.
    """
    app.command(epilog="Example: compact-bench sweep error_rate --values 0,0.4,0.8 --seeds 1 --output sweep")(
        sweep
    )


def sweep(
    name: SweepName = "error_rate",
    values: Values = "",
    seeds: Seeds = "",
    methods: Lines = "",
    suite: SuiteName = "",
    profile: Profile = "",
    student: o.StudentName = "",
    overrides: o.Overrides = [],  # noqa: B006
    world: o.World = [],  # noqa: B006
    store: o.Store = None,
    output: Output = Path("."),
    offline: o.Offline = False,
    threads: o.Threads = 0,
    workers: o.Workers = 0,
    device: o.Device = "auto",
    quiet: o.Quiet = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and run nothing.")] = False,
) -> None:
    """Run methods at several values of one setting of the world and draw what comes of it.

    error_rate raises the error rate of one of the lab's four teachers, and draws accuracy and the teacher
    weight on wrong rationales for uniform weights, COMPACT and its three scores alone.

    Writes SWEEP.md and sweep_NAME.png, .svg, .csv and .json. Runs that the store already has are not run
    again; after an interruption the same command continues, and what is there is drawn either way.
    """
    request = o.make_request(
        suite=suite,
        profile=profile,
        seeds=seeds,
        student=student,
        overrides=overrides,
        world=world,
        store=store,
        offline=offline,
        threads=threads,
        device=device,
    )
    from compact_bench.commands.sweep import run_sweep, sweep_request

    planned = sweep_request(name, request, values=parse_values(values), rows=o.csv_names(methods))
    outcome = run_sweep(
        planned, output=output, console=o.status(), quiet=quiet, dry_run=dry_run, workers=workers
    )
    end_with(outcome)


def parse_values(text: str) -> tuple[float, ...]:
    """Numbers written as "0,0.2,0.4".

    Args:
        text: as given; "" gives none.

    Raises:
        ConfigError: a part is no number.
    """
    found = []
    for part in o.csv_names(text):
        try:
            found.append(float(part))
        except ValueError:
            raise ConfigError(f"--values: expected numbers as 0,0.2,0.4, got {part!r} in {text!r}.") from None
    return tuple(found)
