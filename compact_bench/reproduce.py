"""A table from nothing, in one command: plan, run what is missing, write the tables from the records."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from compact_bench.estimate import Estimator, untrained
from compact_bench.launch import Job, execute_here
from compact_bench.planning import PlannedRun, check_methods, plan_method, plan_table, table_records
from compact_bench.progress import Ticker, duration, open_display
from compact_bench.records import RunRecord
from compact_bench.registry import get_method
from compact_bench.table_spec import TableSpec, load_table_spec
from compact_bench.tables import build_table
from compact_bench.workbench import Request, Workbench

__all__ = ["Outcome", "report_table", "reproduce_table", "run_method"]

STATE_STYLES = {"done": "green", "unsupported": "yellow", "missing": "cyan", "failed": "red"}


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        records: of all runs that have one.
        executed: how many runs this process or another executed meanwhile.
        interrupted: whether the user stopped it.
    """

    records: tuple[RunRecord, ...]
    executed: int
    interrupted: bool = False

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """Records of failed runs."""
        return tuple(r for r in self.records if r.status == "failed")


def reproduce_table(
    request: Request,
    table: str,
    *,
    methods: Sequence[str] = (),
    output: Path,
    console: Console,
    quiet: bool = False,
    dry_run: bool = False,
) -> Outcome:
    """Plan a table, run what is missing, and write its files.

    Args:
        request: suite, profile, seeds, student, settings, folders.
        table: a table's name or TOML file.
        methods: only these rows' runs; the written table still shows every row.
        output: folder of the written files.
        console: for the plan, progress and messages.
        quiet: whether to print nothing.
        dry_run: show the plan only.

    Returns:
        The records; an interruption is part of the outcome, not an exception.

    Raises:
        CompactBenchError: a name, setting, data file, student or folder is wrong.
    """
    spec = load_table_spec(table)
    check_methods(spec, methods)
    bench = Workbench(request)
    _announce(bench, console, quiet)
    plan = plan_table(bench, spec, methods)
    if dry_run:
        _show_plan(bench, plan, *_jobs(bench, plan), console)
        return Outcome(tuple(run.record for run in plan if run.record), 0)
    outcome = _execute(bench, plan, console, quiet)
    _write(bench, spec, output, console, quiet)
    return outcome


def run_method(request: Request, method: str, *, console: Console, quiet: bool = False) -> Outcome:
    """Run one method on every seed (and teacher, where it asks for one).

    Args:
        request: suite, profile, seeds, student, settings, folders.
        method: registry name.
        console: for the plan, progress and messages.
        quiet: whether to print nothing.

    Raises:
        CompactBenchError: a name, setting, data file, student or folder is wrong.
    """
    bench = Workbench(request)
    # A mistyped name must not be answered by a download first.
    get_method(method)
    _announce(bench, console, quiet)
    return _execute(bench, plan_method(bench, method), console, quiet)


def report_table(request: Request, table: str, *, output: Path, console: Console, quiet: bool) -> None:
    """Write a table's files from the records that are there; runs nothing.

    Args:
        request, table, output, console, quiet: as in `reproduce_table`.

    Raises:
        CompactBenchError: a name, setting or folder is wrong.
    """
    _write(Workbench(request), load_table_spec(table), output, console, quiet)


def _announce(bench: Workbench, console: Console, quiet: bool) -> None:
    """Say what the first lines will wait for."""
    if bench.fetches_student and not quiet:
        console.print(f"Fetching student {bench.student_name} (once, a few minutes at most) ...")


def _execute(bench: Workbench, plan: Sequence[PlannedRun], console: Console, quiet: bool) -> Outcome:
    jobs, basis = _jobs(bench, plan)
    if not quiet:
        _show_plan(bench, plan, jobs, basis, console)
    made: list[RunRecord] = []
    interrupted = False
    if jobs:
        try:
            # Data and student are needed by every run; what is wrong with them ends the command here.
            bench.load_shared()
            with open_display(console, quiet=quiet) as display:
                ticker = Ticker(display, sum(job.seconds for job in jobs))
                made = execute_here(bench, jobs, ticker)
        except KeyboardInterrupt:
            interrupted = True
    executed = len(made)
    found = [bench.store.load(run.key) for run in plan]
    return Outcome(tuple(r for r in found if r is not None), executed, interrupted)


def _jobs(bench: Workbench, plan: Sequence[PlannedRun]) -> tuple[list[Job], str]:
    """The runs to do with their estimates, and what the estimates rest on."""
    spec, settings = bench.spec, bench.settings_for()
    items = sum(settings.eval.items_per_task or 300 for _ in spec.benchmarks)
    questions = bench.profile.questions or 500
    estimator = Estimator(bench.store.records(), questions, max(1, len(bench.teachers)), items)
    base_evaluated = any(untrained(run.key) and run.state == "done" for run in plan)
    jobs = []
    for run in plan:
        if not run.needed:
            continue
        known = untrained(run.key) and base_evaluated
        jobs.append(Job(run.key, estimator.seconds(run.key, evaluated=known)))
        base_evaluated = base_evaluated or untrained(run.key)
    return jobs, estimator.basis


def _show_plan(
    bench: Workbench, plan: Sequence[PlannedRun], jobs: Sequence[Job], basis: str, console: Console
) -> None:
    seconds = {job.key.hash: job.seconds for job in jobs}
    head = f"{bench.spec.name}, profile {bench.request.profile}, student {bench.student_name}"
    table = RichTable("run", "seeds", "state", "estimate", title=Text(head), title_justify="left")
    for title in dict.fromkeys(run.title for run in plan):
        runs = [run for run in plan if run.title == title]
        for state in dict.fromkeys(run.state for run in runs):
            same = [run for run in runs if run.state == state]
            cost = sum(seconds.get(run.key.hash, 0.0) for run in same)
            table.add_row(
                Text(title),
                ",".join(str(run.key.seed) for run in same),
                Text(state, style=STATE_STYLES[state]),
                duration(cost) if any(run.needed for run in same) else "",
            )
    console.print(table)
    if jobs:
        total = duration(sum(seconds.values()))
        console.print(f"{len(jobs)} of {len(plan)} runs to do, about {total} ({basis}).")
    else:
        console.print(f"All {len(plan)} runs are in the store; nothing to run.")


def _write(bench: Workbench, spec: TableSpec, output: Path, console: Console, quiet: bool) -> None:
    from compact_bench.report import ReportFacts, write_results

    records = table_records(bench, spec)
    table = build_table(
        spec,
        records,
        bench.spec,
        teachers=bench.teachers,
        profile=bench.request.profile,
        seeds=bench.seeds,
    )
    own = bench.request.student in (None, bench.spec.student)
    titles = {teacher.name: teacher.title for teacher in bench.spec.teachers}
    facts = ReportFacts(
        command=command_line(bench, spec.number),
        suite_title=bench.spec.title,
        card=bench.spec.card,
        student=bench.spec.student_title if own else bench.student_name,
        teachers={name: titles.get(name, "") for name in bench.teachers},
    )
    written = write_results([table], records, output, facts)
    if not quiet:
        console.print(
            f"Written from {len(records)} run record(s): {written.markdown}, {written.csv.name} and "
            f"{written.latex.name}",
            markup=False,
            soft_wrap=True,
        )


def command_line(bench: Workbench, table: str) -> str:
    """The command that makes these results, without the folders, which results do not depend on.

    Args:
        bench: suite, profile, seeds and settings.
        table: the table's number.
    """
    asked = bench.request
    words = ["compact-bench", "reproduce", "--table", table, "--suite", asked.suite]
    words += ["--profile", asked.profile, "--seeds", ",".join(map(str, bench.seeds))]
    for option, value in (
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
