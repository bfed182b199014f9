"""Options that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console

from compact_bench.core.errors import ConfigError
from compact_bench.core.written.names import checked_name, shown
from compact_bench.core.written.terminal import open_console
from compact_bench.core.written.values import LARGEST_SEED, read_whole

if TYPE_CHECKING:
    from compact_bench.runs.session import Request


PLAIN_WIDTH = 160
MOST_PROCESSES = 1024
"""Of workers and of threads: more is a slip of the keyboard."""
DEFAULT_SUITE = "lab"
"""The default suite: it needs nothing but what is installed."""


RUN, DATA, PLACE = "What is run", "Settings and data", "Where and how it runs"
"""Headings in the help of a command."""


def option(panel: str, *names: str, **more: Any) -> Any:
    """An option in a panel of a command's help; `names` and the rest as `typer.Option` takes them."""
    return typer.Option(*names, rich_help_panel=panel, **more)


class FaultChoice(StrEnum):
    """What a faulty training question does."""

    stop = "stop"
    drop = "drop"


class OverlapChoice(StrEnum):
    """What a near copy of a test question does."""

    refuse = "refuse"
    drop = "drop"
    keep = "keep"


SuiteName = Annotated[str, option(RUN, "--suite", help="Suite name or a suite's TOML file.")]
Profile = Annotated[str, option(RUN, "--profile", help="Scale: smoke, lite or full.")]
Seeds = Annotated[str, option(RUN, "--seeds", help="Seeds, as 1,2,3 or 1-5. Default: the profile's.")]
StudentName = Annotated[
    str, option(RUN, "--student", help="Hub id, folder or packaged student. Default: the suite's.")
]
MethodNames = Annotated[
    str,
    option(
        RUN,
        "--methods",
        help="Only these methods, as a,b[variant],mine.py; a method without a row gets one. "
        "table: every method of the table; all: these and every other registered method; "
        "claims: every method that a method's claims compare; "
        "stored: a row, not run, for what else the store has. Default: table.",
    ),
]
Tables = Annotated[
    list[str], option(RUN, "--table", help="Table, or tables as 2,5: names or TOML files; may be repeated.")
]
Overrides = Annotated[
    list[str], option(DATA, "--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")
]
World = Annotated[
    list[str],
    option(
        DATA,
        "--world",
        metavar="KEY=VALUE",
        help="Change a suite's world, as slip_rate=0.2; may be repeated.",
    ),
]
OnFault = Annotated[
    FaultChoice, option(DATA, "--on-fault", help="Faulty training questions: stop, or drop and list them.")
]
OnOverlap = Annotated[
    OverlapChoice,
    option(
        DATA,
        "--on-overlap",
        help="Training questions that nearly are test questions: refuse, drop and list, or keep and warn.",
    ),
]
Rationales = Annotated[
    str | None, option(DATA, "--rationales", help="Your own rationale file (JSON or JSONL) to train on.")
]
Teachers = Annotated[
    str,
    option(
        DATA, "--teachers", help="Only these teachers, as a,b or a@level,b; with --rationales, their names."
    ),
]
Mirror = Annotated[Path | None, option(PLACE, "--mirror", help="Folder laid out as owner/repo/commit/path.")]
Store = Annotated[
    Path | None, option(PLACE, "--store", help="Where runs are kept. Default: ./compact_bench_store.")
]
Tune = Annotated[
    bool,
    option(
        RUN,
        "--tune",
        help="Choose every row's learning rate from one grid, by generated answers to validation questions.",
    ),
]
Output = Annotated[
    Path | None,
    option(
        PLACE,
        "--output",
        help="Folder for what is written. Default: compact_bench_results beside the store, or "
        "COMPACT_BENCH_RESULTS.",
    ),
]
Reproduction = Annotated[
    Path | None,
    option(
        PLACE,
        "--reproduction",
        help="Also write the reproduction page to this file: methods' claims and what these runs say.",
    ),
]
Figures = Annotated[
    str,
    option(
        PLACE,
        "--figures",
        help="Folder of pictures and detail pages, relative to --output. Default: pictures beside "
        "RESULTS.md, pages in results.",
    ),
]
Offline = Annotated[bool, option(PLACE, "--offline", help="Never use the network.")]
Threads = Annotated[
    int,
    option(
        PLACE,
        "--threads",
        min=0,
        max=MOST_PROCESSES,
        help="CPU threads of a worker; 0: one for a small student, else all cores.",
    ),
]
TorchThreads = Annotated[
    int, option(PLACE, "--threads", min=0, max=MOST_PROCESSES, help="CPU threads; 0: torch's default.")
]
Workers = Annotated[
    int,
    option(
        PLACE,
        "--workers",
        min=0,
        max=MOST_PROCESSES,
        help="Runs at a time; 0: as many as cores (at most 4) for a small student on the CPU, else 1.",
    ),
]
Device = Annotated[str, option(PLACE, "--device", help="auto, cpu, cuda or cuda:N.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


Rerun = Annotated[
    bool,
    option(
        RUN,
        "--rerun",
        help="Run again what is done; its record stays until the new one is whole. Interrupted, the same "
        "command goes on with what is left.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan and run nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunName = Annotated[str, typer.Argument(help="Run, as hash, compact@1 or lab/lite/compact@1.")]


def out() -> Console:
    """Console for results (standard output)."""
    return _console(stderr=False)


def status() -> Console:
    """Console for progress and messages (standard error)."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    console = open_console(stderr=stderr)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        # A file or a pipe has no width of its own; the usual 80 columns would cut names.
        console.width = PLAIN_WIDTH
    return console


def csv_names(text: str) -> tuple[str, ...]:
    """The names in "a,b, c"; empty for "".

    Raises:
        ConfigError: there is nothing between two commas, before the first or behind the last, or a name holds
            a character that cannot be shown.
    """
    if not text:
        return ()
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise ConfigError(f"expected names as a,b,c, got {shown(text)!r}, where one is empty.")
    return tuple(checked_name("name", name, longest=len(name)) for name in names)


def method_names(text: str) -> tuple[str, ...]:
    """Names of the methods in "a,mine.py[strong]"; a file's method goes by its stem."""
    from compact_bench.methods.registry import split_file

    return tuple(split_file(name)[0] for name in csv_names(text))


def method_files(text: str) -> tuple[Path, ...]:
    """The files among the methods in "a,mine.py[strong]"."""
    from compact_bench.methods.registry import split_file

    files = (split_file(name)[1] for name in csv_names(text))
    return tuple(dict.fromkeys(file for file in files if file is not None))


def all_names(texts: Sequence[str]) -> tuple[str, ...]:
    """The names in an option that takes several, as a,b or repeated; each once."""
    return tuple(dict.fromkeys(name for text in texts for name in csv_names(text)))


MOST_SEEDS = 1000
"""More seeds than anybody runs are a slip of the keyboard."""


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds written as "1,2,3" or "1-3", in the order given.

    Raises:
        ConfigError: a part is neither a whole number nor a range, a seed is given twice or is larger than
            numpy takes, or there are more than anybody runs.
    """
    expected = f"--seeds: expected whole numbers as 1,2,3 or 1-5, got {shown(text)!r}"
    seeds: list[int] = []
    for part in text.split(",") if text else ():
        low, dash, high = (piece.strip() for piece in part.partition("-"))
        try:
            first = read_whole(low, LARGEST_SEED)
            last = read_whole(high, LARGEST_SEED) if dash else first
        except ValueError as error:
            raise ConfigError(f"{expected}: {error}.") from None
        if last < first:
            raise ConfigError(f"{expected}: {shown(part)!r} ends before it begins.")
        if len(seeds) + last - first >= MOST_SEEDS:
            raise ConfigError(f"{expected}: more than {MOST_SEEDS} seeds.")
        seeds.extend(range(first, last + 1))
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise ConfigError(f"{expected}: {', '.join(map(str, twice[:5]))} is given twice.")
    return tuple(seeds)


def prepare_libraries(offline: bool = False, threads: int = 0, mirror: Path | None = None) -> None:
    """Set what the libraries underneath read once, before any of them is imported.

    Args:
        offline: whether the network must not be used; the environment may say so too.
        threads: CPU threads, 0 to leave the default.
        mirror: the mirror folder, where the packaged student is looked for too.
    """
    from compact_bench.core import paths

    if mirror is not None:
        os.environ["COMPACT_BENCH_MIRROR"] = str(mirror)
    if offline or paths.offline():
        for name in (
            "COMPACT_BENCH_OFFLINE",
            "HF_HUB_OFFLINE",
            "HF_DATASETS_OFFLINE",
            "TRANSFORMERS_OFFLINE",
        ):
            os.environ[name] = "1"
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    # Nothing is told to anybody, and no repository's code is run, whatever the user's shell says elsewhere.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["DO_NOT_TRACK"] = "1"
    os.environ["HF_DATASETS_TRUST_REMOTE_CODE"] = "0"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("LOGLEVEL", "ERROR")
    # What other packages deprecate is for us to mend, not for the user to read in the middle of a run.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


@dataclass(frozen=True)
class RequestOptions:
    """The options that make a `Request`; a command takes those of them that `takes` names."""

    suite: SuiteName = DEFAULT_SUITE
    profile: Profile = "lite"
    seeds: Seeds = ""
    student: StudentName = ""
    overrides: Overrides = field(default_factory=list)
    world: World = field(default_factory=list)
    on_fault: OnFault = FaultChoice.stop
    on_overlap: OnOverlap = OverlapChoice.keep
    rationales: Rationales = None
    teachers: Teachers = ""
    mirror: Mirror = None
    store: Store = None
    offline: Offline = False
    threads: Threads = 0
    device: Device = "auto"

    def request(self) -> Request:
        """The request; folders that are not given come from the environment.

        Raises:
            ConfigError: the seeds are not numbers.
        """
        if self.rationales is not None and not self.rationales.strip():
            # An empty shell variable must not train on the suite's own rationales.
            raise ConfigError(
                "--rationales: expected a file, got an empty name. Leave the option out, or name one."
            )
        prepare_libraries(self.offline, self.threads, self.mirror)
        from compact_bench.core import paths
        from compact_bench.runs.session import Request

        return Request(
            suite=self.suite,
            profile=self.profile,
            seeds=parse_seeds(self.seeds),
            student=self.student or None,
            overrides=tuple(self.overrides),
            world=tuple(self.world),
            on_fault=self.on_fault.value,
            on_overlap=self.on_overlap.value,
            rationales=self.rationales,
            teachers=csv_names(self.teachers),
            mirror=self.mirror or paths.mirror_dir(),
            offline=self.offline or paths.offline(),
            cache=paths.cache_dir(),
            store=self.store or paths.store_dir(),
            device=self.device,
            threads=self.threads,
        )


def takes(
    options: type[Any], names: str = "", *, leave_out: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that a dataclass declares; its first argument is an instance of it.

    Args:
        options: a dataclass whose annotations are typer's.
        names: fields that become options, separated by spaces, the others keep their defaults; "" for all.
        leave_out: fields that do not, where `names` is "".
    """
    hints = get_type_hints(options, include_extras=True)
    shared = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=one.default if one.default_factory is MISSING else one.default_factory(),
            annotation=hints[one.name],
        )
        for one in fields(options)
        if (not names or one.name in names.split()) and one.name not in leave_out.split()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def with_options(**values: Any) -> None:
            chosen = {one.name: values.pop(one.name) for one in shared}
            command(options(**chosen), **values)

        _, *rest = inspect.signature(command, eval_str=True).parameters.values()
        # Typer reads a command's options from its signature.
        parameters = [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in rest), *shared]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {one.name: one.annotation for one in parameters}
        with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
        return with_options

    return decorate
