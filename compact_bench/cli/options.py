"""Options that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from compact_bench.core.errors import ConfigError

if TYPE_CHECKING:
    from compact_bench.runs.session import Request


PLAIN_WIDTH = 160
DEFAULT_SUITE = "lab"
"""The suite of every command that is not told another: it needs nothing but what is installed."""


RUN, DATA, PLACE = "What is run", "Settings and data", "Where and how it runs"
"""Headings in the help of a command."""


class FaultChoice(StrEnum):
    """What a faulty training question does."""

    stop = "stop"
    drop = "drop"


SuiteName = Annotated[
    str, typer.Option("--suite", rich_help_panel=RUN, help="Suite name or a suite's TOML file.")
]
Profile = Annotated[str, typer.Option("--profile", rich_help_panel=RUN, help="Scale: smoke, lite or full.")]
Seeds = Annotated[
    str, typer.Option("--seeds", rich_help_panel=RUN, help="Seeds, as 1,2,3 or 1-5. Default: the profile's.")
]
StudentName = Annotated[
    str,
    typer.Option(
        "--student", rich_help_panel=RUN, help="Hub id, folder or packaged student. Default: the suite's."
    ),
]
MethodNames = Annotated[
    str,
    typer.Option(
        "--methods",
        rich_help_panel=RUN,
        help="Only these methods, as a,b[variant],c; those without a row get one. table: all of the table's; "
        "all: these and every other registered method; claims: all that methods' claims are about.",
    ),
]
Tables = Annotated[
    list[str],
    typer.Option(
        "--table", rich_help_panel=RUN, help="Table, or tables as 2,5: names or TOML files; may be repeated."
    ),
]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set", rich_help_panel=DATA, metavar="KEY=VALUE", help="Change a setting; may be repeated."
    ),
]
World = Annotated[
    list[str],
    typer.Option(
        "--world",
        rich_help_panel=DATA,
        metavar="KEY=VALUE",
        help="Change a suite's world, as slip_rate=0.2; may be repeated.",
    ),
]
OnFault = Annotated[
    FaultChoice,
    typer.Option(
        "--on-fault", rich_help_panel=DATA, help="Faulty training questions: stop, or drop and list them."
    ),
]
Rationales = Annotated[
    str,
    typer.Option(
        "--rationales", rich_help_panel=DATA, help="Your own rationale file (JSON or JSONL) to train on."
    ),
]
Teachers = Annotated[
    str,
    typer.Option(
        "--teachers",
        rich_help_panel=DATA,
        help="Only these teachers, as a,b or a@level,b; with --rationales, their names.",
    ),
]
Mirror = Annotated[
    Path | None,
    typer.Option("--mirror", rich_help_panel=PLACE, help="Folder laid out as owner/repo/commit/path."),
]
Store = Annotated[
    Path | None,
    typer.Option(
        "--store", rich_help_panel=PLACE, help="Where runs are kept. Default: ./compact_bench_store."
    ),
]
Tune = Annotated[
    bool,
    typer.Option(
        "--tune",
        rich_help_panel=RUN,
        help="Choose every row's learning rate from one grid, on the validation split, with equal trials.",
    ),
]
Output = Annotated[
    Path, typer.Option("--output", rich_help_panel=PLACE, help="Folder for RESULTS.md, .csv and .tex.")
]
Reproduction = Annotated[
    Path | None,
    typer.Option(
        "--reproduction",
        rich_help_panel=PLACE,
        help="Also write the reproduction page to this file: methods' claims and what these runs say.",
    ),
]
Figures = Annotated[
    str,
    typer.Option(
        "--figures",
        rich_help_panel=PLACE,
        help="Folder of pictures and detail pages, seen from --output. Default: beside, and results.",
    ),
]
Offline = Annotated[bool, typer.Option("--offline", rich_help_panel=PLACE, help="Never use the network.")]
Threads = Annotated[
    int,
    typer.Option(
        "--threads",
        rich_help_panel=PLACE,
        min=0,
        help="CPU threads of a worker; 0: one for a small student, else all there are.",
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        rich_help_panel=PLACE,
        min=0,
        help="Runs at a time; 0: as many as cores (at most 4) for a small student on the CPU, else 1.",
    ),
]
Device = Annotated[str, typer.Option("--device", rich_help_panel=PLACE, help="auto, cpu, cuda or cuda:N.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def out() -> Console:
    """Console for results (standard output)."""
    return _console(stderr=False)


def status() -> Console:
    """Console for progress and messages (standard error)."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        # A file or a pipe has no width of its own; the usual 80 columns would cut names.
        console.width = PLAIN_WIDTH
    return console


def csv_names(text: str) -> tuple[str, ...]:
    """The names in "a,b, c"; empty for ""."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def all_names(texts: Sequence[str]) -> tuple[str, ...]:
    """The names in an option that takes several, as a,b or repeated; each once."""
    return tuple(dict.fromkeys(name for text in texts for name in csv_names(text)))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds written as "1,2,3" or "1-3", each once, in the order given.

    Raises:
        ConfigError: a part is neither a whole number nor a range.
    """
    seeds: list[int] = []
    for part in csv_names(text):
        low, dash, high = part.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()) or (dash and int(high) < int(low)):
            raise ConfigError(f"--seeds: expected whole numbers as 1,2,3 or 1-5, got {part!r} in {text!r}.")
        seeds.extend(range(int(low), int(high or low) + 1))
    return tuple(dict.fromkeys(seeds))


def quieten(offline: bool, threads: int) -> None:
    """Set what the libraries underneath read once, before any of them is imported.

    Args:
        offline: whether the network must not be used.
        threads: CPU threads, 0 to leave the default.
    """
    if offline:
        os.environ["COMPACT_BENCH_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("LOGLEVEL", "ERROR")
    # What other packages deprecate is for us to mend, not for the user to read in the middle of a run.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def make_request(
    *,
    suite: str,
    profile: str,
    seeds: str = "",
    student: str = "",
    overrides: Sequence[str] = (),
    world: Sequence[str] = (),
    on_fault: FaultChoice = FaultChoice.stop,
    rationales: str = "",
    teachers: str = "",
    mirror: Path | None = None,
    store: Path | None = None,
    offline: bool = False,
    threads: int = 0,
    device: str = "auto",
) -> Request:
    """What the options ask for; folders that are not given come from the environment.

    Args:
        suite, profile, seeds, student, overrides, world, on_fault, rationales, teachers, mirror, store,
            offline, threads, device: as the options above give them.

    Raises:
        ConfigError: the seeds are not numbers.
    """
    from compact_bench.core import paths

    offline = offline or paths.offline()
    quieten(offline, threads)
    if mirror is not None:
        # The packaged student is looked for in the mirror too.
        os.environ["COMPACT_BENCH_MIRROR"] = str(mirror)
    from compact_bench.runs.session import Request

    return Request(
        suite=suite,
        profile=profile,
        seeds=parse_seeds(seeds),
        student=student or None,
        overrides=tuple(overrides),
        world=tuple(world),
        on_fault=on_fault.value,
        rationales=rationales or None,
        teachers=csv_names(teachers),
        mirror=mirror or paths.mirror_dir(),
        offline=offline,
        cache=paths.cache_dir(),
        store=store or paths.store_dir(),
        device=device,
        threads=threads,
    )
