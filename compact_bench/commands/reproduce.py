"""Tables from nothing, in one command: plan, run what is missing, write the tables from the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from compact_bench.commands.data_card import data_card, data_warnings, is_users
from compact_bench.commands.planning import plan_method, plan_tables
from compact_bench.commands.row_selection import STORED, request_tables
from compact_bench.commands.table_plan import Plan, TablePlan, command_line
from compact_bench.core.errors import ConfigError
from compact_bench.core.files import write_atomic
from compact_bench.core.registry import PACKAGED
from compact_bench.methods.registry import (
    get_method,
    method_sources,
    split_name,
    use_method_files,
    variant_config,
)
from compact_bench.results.claims import judge_claims
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.runs.execution import Outcome, execute_plan, show_plan
from compact_bench.runs.plan import PlanSection, run_again
from compact_bench.runs.session import Request, Session
from compact_bench.runs.suite_settings import check_reach

if TYPE_CHECKING:
    from compact_bench.results.report import ReportFacts


@dataclass(frozen=True)
class ReportRequest:
    """Which tables a command makes, and where its files go.

    Attributes:
        tables: names or TOML files; one RESULTS.md holds them all.
        output: folder of the written files.
        methods: see `request_tables`; the written tables show every row, whichever are run.
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
    report: ReportRequest,
    *,
    console: Console,
    quiet: bool = False,
    dry_run: bool = False,
    workers: int = 0,
    rerun: bool = False,
) -> Outcome:
    """Plan tables, run what is missing, and write their files.

    Args:
        request: suite, profile, seeds, student, settings, folders.
        report: which tables and rows, and where the files go.
        console: for the plan, progress and messages.
        quiet: whether to print nothing but warnings.
        dry_run: show the plan only.
        workers: runs at a time; 0 chooses by student and machine.
        rerun: whether what is done runs again.

    Returns:
        The records of the tables' runs; an interruption is part of the outcome, not an exception.

    Raises:
        CompactBenchError: a name, setting, data file, student or folder is wrong.
    """
    plan = _plan(request, report, console, quiet)
    sections = [plan.trials(), plan.section()] if report.tune else [plan.section()]
    if rerun:
        sections = run_again(sections, dry_run=dry_run)
    if dry_run:
        return show_plan(sections, console, workers=workers)
    if report.tune:
        plan, outcome = _with_trials(plan, sections, console, quiet=quiet, workers=workers)
        if outcome.interrupted:
            _write_if_new(plan, report, console, quiet)
            return outcome
        # At the chosen rates; of what was done before, what was to run again says so in its folder.
        sections = run_again([plan.section()]) if rerun else [plan.section()]
    outcome = execute_plan(sections[-1:], console, quiet=quiet, workers=workers)
    write = _write_if_new if outcome.interrupted else write_plan
    write(plan.with_records(outcome.records), report, console, quiet)
    return replace(outcome, broken=plan.broken)


def _with_trials(
    plan: Plan, sections: Sequence[PlanSection], console: Console, *, quiet: bool, workers: int
) -> tuple[Plan, Outcome]:
    """Execute the trials of a plan, then those that a choice at an edge asks for, until no more are due.

    Args:
        sections: the trials, and what comes after them.

    Returns:
        The plan at the chosen rates, and how the last trials ended.
    """
    trials, later = sections[0], list(sections[1:])
    tried = {run.key.hash for run in trials.runs}
    while True:
        outcome = execute_plan([trials], console, quiet=quiet, workers=workers, later=later)
        plan = plan.with_trials(outcome.records)
        # What failed has a record; only what was never tried is due, and nothing is due twice.
        due = [r for r in plan.trials().runs if r.record is None and r.key.hash not in tried]
        if outcome.interrupted or not due:
            return plan, outcome
        tried |= {run.key.hash for run in due}
        trials, later = replace(trials, runs=due, title="Tuning, grid extended"), [plan.section()]


def report_tables(request: Request, report: ReportRequest, *, console: Console, quiet: bool) -> None:
    """Write tables' files from the records of the store; runs nothing. Arguments as in `reproduce_tables`."""
    write_plan(_plan(request, report, console, quiet=True), report, console, quiet)


def run_method(
    request: Request,
    name: str,
    *,
    console: Console,
    quiet: bool = False,
    workers: int = 0,
    rerun: bool = False,
) -> Outcome:
    """Run one method, or registered variant ("compact[no-consensus]"), on every seed (and each teacher).

    Other arguments, and errors, as of `reproduce_tables`.
    """
    use_method_files(request.method_files)
    # A mistyped name must not be answered by a download first.
    method, variant = split_name(name)
    variant_config(method, variant)
    session = Session(request, [method])
    check_reach(request.overrides, [method])
    _announce(session, console, quiet)
    sections = [plan_method(session, name)]
    _warn(session, console)
    return execute_plan(run_again(sections) if rerun else sections, console, quiet=quiet, workers=workers)


def _plan(request: Request, report: ReportRequest, console: Console, quiet: bool) -> Plan:
    specs = [load_table_spec(name) for name in dict.fromkeys(report.tables)]
    if not specs:
        raise ConfigError("--table: expected a table, got none. `compact-bench list tables` shows them.")
    if report.tune and len(specs) > 1:
        raise ConfigError(
            f"--tune: expected one table, got {', '.join(report.tables)}; tune each with its own --output."
        )
    stored = STORED in report.methods
    if report.tune and stored:
        raise ConfigError(f"--methods {STORED}: expected no --tune: the stored rows were not tuned with it.")
    # Names may be of files that the command brings.
    use_method_files(request.method_files)
    tables = request_tables(specs, report.methods)
    methods = {row.method for table in tables for row in table.spec.rows}
    session = Session(request, methods)
    check_reach(request.overrides, methods)
    _announce(session, console, quiet)
    plan = plan_tables(session, tables, tune=report.tune, stored=stored)
    _warn(session, console)
    for problem in plan.broken:
        console.print(f"Warning: its row stays empty, as it {problem}", markup=False, soft_wrap=True)
    return plan


def _announce(session: Session, console: Console, quiet: bool) -> None:
    """Say what the first lines will wait for."""
    if session.fetches_student and not quiet:
        console.print(f"Fetching student {session.student_name} (once, a few minutes at most) ...")


def _write_if_new(plan: Plan, report: ReportRequest, console: Console, quiet: bool) -> None:
    """Write what there is when a command was interrupted, but never over a page that may show more."""
    page = report.output / "RESULTS.md"
    if not page.exists():
        write_plan(plan, report, console, quiet)
    elif not quiet:
        text = f"{page} stays as it was; `compact-bench report` writes it from what there is now."
        console.print(text, markup=False, soft_wrap=True)


def _warn(session: Session, console: Console) -> None:
    for line in data_warnings(session):
        console.print(line, markup=False, soft_wrap=True)


def write_plan(plan: Plan, report: ReportRequest, console: Console, quiet: bool) -> None:
    """Write the tables of an executed plan from the records that it holds.

    Raises:
        StoreError: a file cannot be written.
    """
    from compact_bench.results.report import ReportFacts, write_results

    session, records = plan.session, plan.records
    card = data_card(session)
    facts = ReportFacts(
        command=plan.command,
        suite_title=card.title,
        profile_note=card.profile_note,
        card=card.text,
        student=session.student_title,
        teachers=card.teachers,
        own_data=is_users(session),
        caveats=(*card.caveats, *_methods_left_out(plan)),
        tuning=plan.tuning,
        figures=report.figures,
    )
    tables = [replace(_build(session, table), data_title=card.caption) for table in plan.tables]
    written = write_results(tables, records, report.output, facts)
    if report.reproduction is not None:
        _write_reproduction(session, tables, facts, report.reproduction)
    if not quiet:
        console.print(
            f"Written from {len(records)} run record(s): {written.markdown}, {written.csv.name} and "
            f"{written.latex.name}",
            markup=False,
            soft_wrap=True,
        )


def _methods_left_out(plan: Plan) -> list[str]:
    """Packaged methods that no table has a row of: a reader must not take the tables for the whole field."""
    shown = {row.spec.method for table in plan.tables for row in table.rows}
    packaged = [name for name, source in method_sources().items() if source.origin in (PACKAGED, "baselines")]
    absent = [name for name in packaged if name not in shown]
    if not absent:
        return []
    return [f"Methods without a row here: {', '.join(absent)}. With --methods all every method is run."]


def _build(session: Session, table: TablePlan) -> Table:
    methods = {row.spec.method for row in table.rows if not row.problem}
    return build_table(
        table.request.spec,
        table.records,
        session.spec,
        teachers=session.teachers,
        profile=session.request.profile,
        seeds=session.seeds,
        has_truth=session.suite_info.has_truth,
        problems=table.problems,
        extra_steps={name: get_method(name).card.extra_steps for name in methods},
    )


def _write_reproduction(session: Session, tables: Sequence[Table], facts: ReportFacts, path: Path) -> None:
    from compact_bench.results.report.reproduction_page import ReproductionFacts, reproduction_markdown

    note = f" ({facts.profile_note})" if facts.profile_note else ""
    page = ReproductionFacts(
        command=facts.command,
        suite=facts.suite_title
        if session.request.rationales
        else f"{session.spec.name}: {facts.suite_title}",
        profile=f"{session.request.profile}{note}",
        student=facts.student,
        smoke=session.request.profile == "smoke",
        seeds=session.seeds,
        command_of=lambda table, methods: command_line(session, table, ",".join(methods)),
        page=path.name if path.is_absolute() else str(path),
    )
    write_atomic(path, reproduction_markdown(judge_claims(tables), page).encode())
