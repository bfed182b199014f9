"""A table from nothing, in one command: plan, run what is missing, write the tables from the records."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from compact_bench.executing import Outcome, Part, execute_plan, show_plan
from compact_bench.planning import (
    check_methods,
    plan_method,
    plan_table,
    plan_tuning,
    table_records,
    trial_runs,
)
from compact_bench.registry import get_method
from compact_bench.table_spec import TableSpec, load_table_spec
from compact_bench.tables import build_table
from compact_bench.workbench import Request, Workbench

__all__ = ["Outcome", "report_table", "reproduce_table", "run_method"]


def reproduce_table(
    request: Request,
    table: str,
    *,
    methods: Sequence[str] = (),
    output: Path,
    console: Console,
    quiet: bool = False,
    dry_run: bool = False,
    workers: int = 0,
    tune: bool = False,
    figures: str = "",
) -> Outcome:
    """Plan a table, run what is missing, and write its files.

    Args:
        request: suite, profile, seeds, student, settings, folders.
        table: a table's name or TOML file.
        methods: only these rows' runs; the written table still shows every row.
        output: folder of the written files.
        figures: folder of the pictures, relative to `output`; "" for the same.
        console: for the plan, progress and messages.
        quiet: whether to print nothing.
        dry_run: show the plan only.
        workers: runs at a time; 0 chooses by student and machine.
        tune: whether every row that trains first tries the same learning rates on the validation split, and
            then runs with the one it chose.

    Returns:
        The records of the table's runs; an interruption is part of the outcome, not an exception.

    Raises:
        CompactBenchError: a name, setting, data file, student or folder is wrong.
    """
    spec = load_table_spec(table)
    check_methods(spec, methods)
    bench = Workbench(request)
    _announce(bench, console, quiet)
    trials: list[Part] = []
    tuning = plan_tuning(bench, spec, methods) if tune else None
    if tuning:
        trials.append(Part(bench, trial_runs(tuning), "Tuning"))
    runs = Part(bench, plan_table(bench, spec, methods, tuning.chosen if tuning else None))
    if dry_run:
        return show_plan([*trials, runs], console, workers=workers)
    if tuning:
        tried = execute_plan(trials, console, quiet=quiet, workers=workers, later=[runs])
        if tried.interrupted:
            _write(bench, spec, output, console, quiet, tune, figures)
            return tried
        chosen = plan_tuning(bench, spec, methods).chosen
        runs = Part(bench, plan_table(bench, spec, methods, chosen))
    outcome = execute_plan([runs], console, quiet=quiet, workers=workers)
    _write(bench, spec, output, console, quiet, tune, figures)
    return outcome


def run_method(
    request: Request, method: str, *, console: Console, quiet: bool = False, workers: int = 0
) -> Outcome:
    """Run one method on every seed (and teacher, where it asks for one).

    Args:
        request: suite, profile, seeds, student, settings, folders.
        method: registry name.
        console: for the plan, progress and messages.
        quiet: whether to print nothing.
        workers: runs at a time; 0 chooses by student and machine.

    Raises:
        CompactBenchError: a name, setting, data file, student or folder is wrong.
    """
    bench = Workbench(request)
    # A mistyped name must not be answered by a download first.
    get_method(method)
    _announce(bench, console, quiet)
    return execute_plan([Part(bench, plan_method(bench, method))], console, quiet=quiet, workers=workers)


def report_table(
    request: Request,
    table: str,
    *,
    output: Path,
    console: Console,
    quiet: bool,
    tune: bool = False,
    figures: str = "",
) -> None:
    """Write a table's files from the records that are there; runs nothing.

    Args:
        request, table, output, console, quiet, tune, figures: as in `reproduce_table`.

    Raises:
        CompactBenchError: a name, setting or folder is wrong.
    """
    _write(Workbench(request), load_table_spec(table), output, console, quiet, tune, figures)


def _announce(bench: Workbench, console: Console, quiet: bool) -> None:
    """Say what the first lines will wait for."""
    if bench.fetches_student and not quiet:
        console.print(f"Fetching student {bench.student_name} (once, a few minutes at most) ...")


def _write(
    bench: Workbench,
    spec: TableSpec,
    output: Path,
    console: Console,
    quiet: bool,
    tune: bool,
    figures: str,
) -> None:
    from compact_bench.report import ReportFacts, write_results

    tuning = plan_tuning(bench, spec) if tune else None
    records = table_records(bench, spec, tuning.chosen if tuning else None)
    table = build_table(
        spec,
        records,
        bench.spec,
        teachers=bench.teachers,
        profile=bench.request.profile,
        seeds=bench.seeds,
        has_truth=bench.suite_info.has_truth,
    )
    own = bench.request.student in (None, bench.spec.student)
    titles = {teacher.name: teacher.title for teacher in bench.spec.teachers}
    facts = ReportFacts(
        command=command_line(bench, spec.number, tune=tune),
        suite_title=bench.spec.title,
        profile_note=bench.profile.note,
        card=bench.spec.card,
        student=bench.spec.student_title if own else bench.student_name,
        teachers={name: titles.get(name, "") for name in bench.teachers},
        tuning=tuning,
        figures=figures,
    )
    written = write_results([table], records, output, facts)
    if not quiet:
        console.print(
            f"Written from {len(records)} run record(s): {written.markdown}, {written.csv.name} and "
            f"{written.latex.name}",
            markup=False,
            soft_wrap=True,
        )


def command_line(bench: Workbench, table: str, *, tune: bool = False) -> str:
    """The command that makes these results, without the folders, which results do not depend on.

    Args:
        bench: suite, profile, seeds and settings.
        table: the table's number.
        tune: whether learning rates are tuned.
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
    words += ["--tune"] if tune else []
    return shlex.join(words)
