"""Tables from nothing, in one command: plan, run what is missing, write the tables from the records."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from compact_bench.commands.planning import plan_method, plan_table, plan_tuning, table_records, trial_runs
from compact_bench.commands.row_selection import (
    TableRequest,
    add_stored_rows,
    ask_tables,
    mark_broken_rows,
    methods_option,
)
from compact_bench.core.errors import ConfigError
from compact_bench.core.files import write_atomic
from compact_bench.core.records import RunRecord
from compact_bench.methods.registry import get_method, split_name, variant_config
from compact_bench.results.claims import judge_claims
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.results.tuning import Tuning
from compact_bench.runs.execution import Outcome, PlanSection, execute_plan, show_plan
from compact_bench.runs.plan import PlannedRun
from compact_bench.runs.session import Request, Session

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
    session = Session(request)
    _announce(session, console, quiet)
    tables = tuple(mark_broken_rows(session, table) for table in tables)
    broken = _warned(tables, console)
    trials: list[PlanSection] = []
    tuning = plan_tuning(session, tables[0].spec, tables[0].planned) if asked.tune else None
    if tuning:
        trials.append(PlanSection(session, trial_runs(tuning), "Tuning"))
    runs = PlanSection(session, _plan(session, tables, tuning))
    if dry_run:
        return show_plan([*trials, runs], console, workers=workers)
    if tuning:
        tried = execute_plan(trials, console, quiet=quiet, workers=workers, later=[runs])
        if tried.interrupted:
            _write(session, tables, asked, console, quiet)
            return tried
        runs = PlanSection(
            session, _plan(session, tables, plan_tuning(session, tables[0].spec, tables[0].planned))
        )
    outcome = execute_plan([runs], console, quiet=quiet, workers=workers)
    _write(session, tables, asked, console, quiet)
    return replace(outcome, broken=broken)


def _asked_tables(asked: TablesRequest) -> tuple[TableRequest, ...]:
    specs = [load_table_spec(name) for name in dict.fromkeys(asked.tables)]
    if not specs:
        raise ConfigError("--table: expected a table, got none. `compact-bench list tables` shows them.")
    if asked.tune and len(specs) > 1:
        raise ConfigError(
            f"--tune: expected one table, got {', '.join(asked.tables)}; tune each with its own --output."
        )
    return ask_tables(specs, asked.methods)


def _warned(tables: Sequence[TableRequest], console: Console) -> tuple[str, ...]:
    """Problems of broken methods, each told once."""
    wanted = [
        table.problems[row.selector]
        for table in tables
        for row in table.wanted
        if row.selector in table.problems
    ]
    found = tuple(dict.fromkeys(wanted))
    for problem in found:
        console.print(f"Warning: its row stays empty, as it {problem}", markup=False, soft_wrap=True)
    return found


def _plan(session: Session, tables: Sequence[TableRequest], tuning: Tuning | None) -> list[PlannedRun]:
    """The runs of all tables, each once, seed by seed, so that partial tables have whole seeds."""
    rates = tuning.chosen if tuning else None
    found = [run for table in tables for run in plan_table(session, table.spec, table.planned, rates)]
    once: dict[str, PlannedRun] = {}
    for run in found:
        once.setdefault(run.key.hash, run)
    return [run for seed in session.seeds for run in once.values() if run.key.seed == seed]


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
    session = Session(request)
    # A mistyped name must not be answered by a download first.
    variant_config(*split_name(name))
    _announce(session, console, quiet)
    return execute_plan(
        [PlanSection(session, plan_method(session, name))], console, quiet=quiet, workers=workers
    )


def report_tables(request: Request, asked: TablesRequest, *, console: Console, quiet: bool) -> None:
    """Write tables' files from the records that are there; runs nothing.

    Args:
        request, asked, console, quiet: as in `reproduce_tables`.

    Raises:
        CompactBenchError: a name, setting or folder is wrong.
    """
    tables = _asked_tables(asked)
    session = Session(request)
    tables = tuple(mark_broken_rows(session, table) for table in tables)
    _warned(tables, console)
    _write(session, tables, asked, console, quiet)


def _announce(session: Session, console: Console, quiet: bool) -> None:
    """Say what the first lines will wait for."""
    if session.fetches_student and not quiet:
        console.print(f"Fetching student {session.student_name} (once, a few minutes at most) ...")


def _write(
    session: Session, tables: Sequence[TableRequest], asked: TablesRequest, console: Console, quiet: bool
) -> None:
    from compact_bench.results.report import ReportFacts, write_results

    tuning = plan_tuning(session, tables[0].spec, tables[0].rows) if asked.tune else None
    # Methods that were not asked for were not tuned either.
    shown = (
        tables if tuning else [mark_broken_rows(session, add_stored_rows(session, table)) for table in tables]
    )
    rates = tuning.chosen if tuning else None
    found = [table_records(session, table.spec, table.rows, rates) for table in shown]
    records = list({record.key.hash: record for same in found for record in same}.values())
    suites_own = session.request.student in (None, session.spec.student)
    titles = {teacher.name: teacher.title for teacher in session.spec.teachers}
    facts = ReportFacts(
        command=command_line(session, shown, tune=asked.tune),
        suite_title=session.spec.title,
        profile_note=session.profile.note,
        card=session.spec.card,
        student=session.spec.student_title if suites_own else session.student_name,
        teachers={name: titles.get(name, "") for name in session.teachers},
        tuning=tuning,
        figures=asked.figures,
    )
    built = [_built(session, table, own) for table, own in zip(shown, found, strict=True)]
    written = write_results(built, records, asked.output, facts)
    if asked.reproduction is not None:
        _write_reproduction(session, built, facts, asked.reproduction)
    if not quiet:
        console.print(
            f"Written from {len(records)} run record(s): {written.markdown}, {written.csv.name} and "
            f"{written.latex.name}",
            markup=False,
            soft_wrap=True,
        )


def _write_reproduction(session: Session, tables: Sequence[Table], facts: ReportFacts, path: Path) -> None:
    from compact_bench.results.report.reproduction_page import ReproductionFacts, reproduction_markdown

    note = f" ({facts.profile_note})" if facts.profile_note else ""
    said = ReproductionFacts(
        command=facts.command,
        suite=f"{session.spec.name}: {facts.suite_title}",
        profile=f"{session.request.profile}{note}",
        student=facts.student,
        smoke=session.request.profile == "smoke",
        seeds=session.seeds,
        command_of=lambda table, methods: _command(session, table, ",".join(methods)),
    )
    write_atomic(path, reproduction_markdown(judge_claims(tables), said).encode())


def _built(session: Session, asked: TableRequest, records: Sequence[RunRecord]) -> Table:
    methods = {row.method for row in asked.rows}
    return build_table(
        asked.spec,
        records,
        session.spec,
        teachers=session.teachers,
        profile=session.request.profile,
        seeds=session.seeds,
        has_truth=session.suite_info.has_truth,
        problems=asked.problems,
        extra_steps={name: get_method(name).card.extra_steps for name in methods},
    )


def command_line(session: Session, tables: Sequence[TableRequest], *, tune: bool = False) -> str:
    """The command that makes these results, without the folders, which results do not depend on.

    Args:
        session: suite, profile, seeds and settings.
        tables: what is shown.
        tune: whether learning rates are tuned.
    """
    words = _command(session, ",".join(table.spec.number for table in tables), methods_option(tables))
    return f"{words} --tune" if tune else words


def _command(session: Session, table: str, methods: str) -> str:
    asked = session.request
    words = ["compact-bench", "reproduce", "--table", table]
    words += ["--suite", asked.suite, "--profile", asked.profile]
    words += ["--seeds", ",".join(map(str, session.seeds))]
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
