"""Tables from nothing, in one command: plan, run what is missing, write the tables from the records."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from compact_bench.commands.planning import plan_method, plan_table, plan_tuning, table_records, trial_runs
from compact_bench.commands.row_selection import AskedTable, ask_tables, methods_option, settled, with_found
from compact_bench.core.errors import ConfigError
from compact_bench.core.files import key_hash, write_atomic
from compact_bench.core.records import RunRecord
from compact_bench.methods.registry import get_method, split_name, variant_config
from compact_bench.results.claims import judge_claims
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.results.tuning import Tuning
from compact_bench.runs.execution import Outcome, Part, execute_plan, show_plan
from compact_bench.runs.plan import PlannedRun
from compact_bench.runs.session import Request, Workbench

if TYPE_CHECKING:
    from compact_bench.results.report import ReportFacts


@dataclass(frozen=True)
class TablesRequest:
    """What a command was asked to show, and where its files go.

    Attributes:
        tables: names or TOML files of the tables; one RESULTS.md holds them all.
        output: folder of the written files.
        methods: see `ask_tables`; the written tables show every row, whichever are run.
        tune: whether every row that trains first tries the same learning rates on the validation split, and
            then runs with the one it chose.
        figures: folder of the pictures, relative to `output`; "" for the same.
        reproduction: file of the reproduction page, or None.
    """

    tables: Sequence[str]
    output: Path
    methods: Sequence[str] = ()
    tune: bool = False
    figures: str = ""
    reproduction: Path | None = None


def reproduce_tables(
    request: Request,
    asked: TablesRequest,
    *,
    console: Console,
    quiet: bool = False,
    dry_run: bool = False,
    workers: int = 0,
) -> Outcome:
    """Plan tables, run what is missing, and write their files.

    Args:
        request: suite, profile, seeds, student, settings, folders.
        asked: which tables and rows, and where the files go.
        console: for the plan, progress and messages.
        quiet: whether to print nothing but warnings.
        dry_run: show the plan only.
        workers: runs at a time; 0 chooses by student and machine.

    Returns:
        The records of the tables' runs; an interruption is part of the outcome, not an exception.

    Raises:
        CompactBenchError: a name, setting, data file, student or folder is wrong.
    """
    tables = _asked_tables(asked)
    bench = Workbench(request)
    _announce(bench, console, quiet)
    tables = tuple(settled(bench, table) for table in tables)
    broken = _warned(tables, console)
    trials: list[Part] = []
    tuning = plan_tuning(bench, tables[0].spec, tables[0].planned) if asked.tune else None
    if tuning:
        trials.append(Part(bench, trial_runs(tuning), "Tuning"))
    runs = Part(bench, _plan(bench, tables, tuning))
    if dry_run:
        return show_plan([*trials, runs], console, workers=workers)
    if tuning:
        tried = execute_plan(trials, console, quiet=quiet, workers=workers, later=[runs])
        if tried.interrupted:
            _write(bench, tables, asked, console, quiet)
            return tried
        runs = Part(bench, _plan(bench, tables, plan_tuning(bench, tables[0].spec, tables[0].planned)))
    outcome = execute_plan([runs], console, quiet=quiet, workers=workers)
    _write(bench, tables, asked, console, quiet)
    return replace(outcome, broken=broken)


def _asked_tables(asked: TablesRequest) -> tuple[AskedTable, ...]:
    specs = [load_table_spec(name) for name in dict.fromkeys(asked.tables)]
    if not specs:
        raise ConfigError("--table: expected a table, got none. `compact-bench list tables` shows them.")
    if asked.tune and len(specs) > 1:
        raise ConfigError(
            f"--tune: expected one table, got {', '.join(asked.tables)}; tune each with its own --output."
        )
    return ask_tables(specs, asked.methods)


def _warned(tables: Sequence[AskedTable], console: Console) -> tuple[str, ...]:
    """Problems of broken methods, each told once."""
    wanted = [
        table.problems[row.asked_as]
        for table in tables
        for row in table.wanted
        if row.asked_as in table.problems
    ]
    found = tuple(dict.fromkeys(wanted))
    for problem in found:
        console.print(f"Warning: its row stays empty, as it {problem}", markup=False, soft_wrap=True)
    return found


def _plan(bench: Workbench, tables: Sequence[AskedTable], tuning: Tuning | None) -> list[PlannedRun]:
    """The runs of all tables, each once, seed by seed, so that partial tables have whole seeds."""
    rates = tuning.chosen if tuning else None
    found = [run for table in tables for run in plan_table(bench, table.spec, table.planned, rates)]
    once: dict[str, PlannedRun] = {}
    for run in found:
        once.setdefault(run.key.hash, run)
    return [run for seed in bench.seeds for run in once.values() if run.key.seed == seed]


def run_method(
    request: Request, name: str, *, console: Console, quiet: bool = False, workers: int = 0
) -> Outcome:
    """Run one method on every seed (and teacher, where it asks for one).

    Args:
        request: suite, profile, seeds, student, settings, folders.
        name: of a method or of a registered variant ("compact[no-consensus]").
        console: for the plan, progress and messages.
        quiet: whether to print nothing.
        workers: runs at a time; 0 chooses by student and machine.

    Raises:
        CompactBenchError: a name, setting, data file, student or folder is wrong.
    """
    bench = Workbench(request)
    # A mistyped name must not be answered by a download first.
    variant_config(*split_name(name))
    _announce(bench, console, quiet)
    return execute_plan([Part(bench, plan_method(bench, name))], console, quiet=quiet, workers=workers)


def report_tables(request: Request, asked: TablesRequest, *, console: Console, quiet: bool) -> None:
    """Write tables' files from the records that are there; runs nothing.

    Args:
        request, asked, console, quiet: as in `reproduce_tables`.

    Raises:
        CompactBenchError: a name, setting or folder is wrong.
    """
    tables = _asked_tables(asked)
    bench = Workbench(request)
    tables = tuple(settled(bench, table) for table in tables)
    _warned(tables, console)
    _write(bench, tables, asked, console, quiet)


def _announce(bench: Workbench, console: Console, quiet: bool) -> None:
    """Say what the first lines will wait for."""
    if bench.fetches_student and not quiet:
        console.print(f"Fetching student {bench.student_name} (once, a few minutes at most) ...")


def _write(
    bench: Workbench, tables: Sequence[AskedTable], asked: TablesRequest, console: Console, quiet: bool
) -> None:
    from compact_bench.results.report import ReportFacts, write_results

    tuning = plan_tuning(bench, tables[0].spec, tables[0].rows) if asked.tune else None
    # Methods that were not asked for were not tuned either.
    shown = tables if tuning else [settled(bench, with_found(bench, table)) for table in tables]
    rates = tuning.chosen if tuning else None
    found = [table_records(bench, table.spec, table.rows, rates) for table in shown]
    records = list({key_hash(record.key): record for same in found for record in same}.values())
    suites_own = bench.request.student in (None, bench.spec.student)
    titles = {teacher.name: teacher.title for teacher in bench.spec.teachers}
    facts = ReportFacts(
        command=command_line(bench, shown, tune=asked.tune),
        suite_title=bench.spec.title,
        profile_note=bench.profile.note,
        card=bench.spec.card,
        student=bench.spec.student_title if suites_own else bench.student_name,
        teachers={name: titles.get(name, "") for name in bench.teachers},
        tuning=tuning,
        figures=asked.figures,
    )
    built = [_built(bench, table, own) for table, own in zip(shown, found, strict=True)]
    written = write_results(built, records, asked.output, facts)
    if asked.reproduction is not None:
        _write_reproduction(bench, built, facts, asked.reproduction)
    if not quiet:
        console.print(
            f"Written from {len(records)} run record(s): {written.markdown}, {written.csv.name} and "
            f"{written.latex.name}",
            markup=False,
            soft_wrap=True,
        )


def _write_reproduction(bench: Workbench, tables: Sequence[Table], facts: ReportFacts, path: Path) -> None:
    from compact_bench.results.report.reproduction_page import ReproductionFacts, reproduction_markdown

    note = f" ({facts.profile_note})" if facts.profile_note else ""
    said = ReproductionFacts(
        command=facts.command,
        suite=f"{bench.spec.name}: {facts.suite_title}",
        profile=f"{bench.request.profile}{note}",
        student=facts.student,
        smoke=bench.request.profile == "smoke",
        seeds=bench.seeds,
        command_of=lambda table, methods: _command(bench, table, ",".join(methods)),
    )
    write_atomic(path, reproduction_markdown(judge_claims(tables), said).encode())


def _built(bench: Workbench, asked: AskedTable, records: Sequence[RunRecord]) -> Table:
    methods = {row.method for row in asked.rows}
    return build_table(
        asked.spec,
        records,
        bench.spec,
        teachers=bench.teachers,
        profile=bench.request.profile,
        seeds=bench.seeds,
        has_truth=bench.suite_info.has_truth,
        problems=asked.problems,
        extra_steps={name: get_method(name).card.extra_steps for name in methods},
    )


def command_line(bench: Workbench, tables: Sequence[AskedTable], *, tune: bool = False) -> str:
    """The command that makes these results, without the folders, which results do not depend on.

    Args:
        bench: suite, profile, seeds and settings.
        tables: what is shown.
        tune: whether learning rates are tuned.
    """
    words = _command(bench, ",".join(table.spec.number for table in tables), methods_option(tables))
    return f"{words} --tune" if tune else words


def _command(bench: Workbench, table: str, methods: str) -> str:
    asked = bench.request
    words = ["compact-bench", "reproduce", "--table", table]
    words += ["--suite", asked.suite, "--profile", asked.profile]
    words += ["--seeds", ",".join(map(str, bench.seeds))]
    for option, value in (
        ("--methods", methods),
        ("--student", asked.student),
        ("--rationales", asked.rationales),
        ("--teachers", ",".join(asked.teachers)),
        ("--on-fault", asked.on_fault if asked.on_fault != "stop" else ""),
    ):
        words += [option, value] if value else []
    for change in asked.world:
        words += ["--world", change]
    for override in asked.overrides:
        words += ["--set", override]
    return shlex.join(words)
