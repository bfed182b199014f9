"""A sweep: the same methods at several values of one setting of the world, run, compared and drawn."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from compact_bench.commands.planning import plan_table
from compact_bench.commands.row_selection import request_tables
from compact_bench.commands.table_plan import Plan
from compact_bench.core.errors import ConfigError
from compact_bench.core.written.values import number_text
from compact_bench.methods.registry import get_method
from compact_bench.results.sweeps.results import measure_sweep
from compact_bench.results.sweeps.spec import SweepSpec, load_sweep_spec
from compact_bench.runs.execution import Outcome, execute_plan, show_plan
from compact_bench.runs.plan import run_again
from compact_bench.runs.session import Request, Session
from compact_bench.runs.suite_settings import check_reach


@dataclass(frozen=True)
class SweepRequest:
    """A sweep and the settings that it runs under.

    Attributes:
        spec: its definition, with the user's rows, values and seeds.
        command: the command that makes the same results.
    """

    spec: SweepSpec
    request: Request
    command: str


def sweep_request(
    name: str, request: Request, *, values: Sequence[float] = (), rows: Sequence[str] = ()
) -> SweepRequest:
    """A sweep under the user's settings; what the user leaves open is as the sweep's definition says.

    Args:
        name: a packaged sweep, or the path of a TOML file.
        request: the user's; an empty suite, profile or list of seeds takes the definition's.
        values: of the axis; empty for the definition's.
        rows: names of the definition's rows; empty for all that are not optional.

    Raises:
        ConfigError: the sweep, a row or the suite is unknown, or the suite has no world to vary.
    """
    spec = load_sweep_spec(name).choose(tuple(rows))
    axis = spec.axis.model_copy(update={"values": tuple(sorted(set(values or spec.axis.values)))})
    complete = replace(
        request,
        suite=request.suite or spec.suite,
        profile=request.profile or spec.profile,
        seeds=request.seeds or spec.seeds,
    )
    chosen = spec.model_copy(update={"axis": axis, "seeds": complete.seeds})
    methods = {row.method for row in spec.rows}
    world = Session(complete, methods).spec.training.world
    if world is None or spec.axis.setting not in type(world).model_fields:
        known = "its questions are not generated" if world is None else ", ".join(type(world).model_fields)
        raise ConfigError(
            f"sweep {spec.name}: expected a suite with a world whose {spec.axis.setting!r} can be set, got "
            f"{complete.suite!r} ({known}). Use --suite {spec.suite}."
        )
    return SweepRequest(chosen, complete, _command(name, chosen, complete, rows))


def run_sweep(
    sweep: SweepRequest,
    *,
    output: Path,
    console: Console,
    quiet: bool = False,
    dry_run: bool = False,
    workers: int = 0,
    rerun: bool = False,
) -> Outcome:
    """Run what is missing of a sweep and write its files, even if some runs have no record.

    Other arguments, outcome and errors as of `compact_bench.commands.reproduce.reproduce_tables`.

    Args:
        output: folder of the written files.
    """
    from compact_bench.results.report.sweep_page import write_sweep

    spec = sweep.spec
    methods = {row.method for row in spec.rows}
    check_reach(sweep.request.overrides, methods)
    plans = {value: _plan(spec, Session(_at(sweep, value), methods)) for value in spec.axis.values}
    sections = [plan.section(f"{spec.axis.setting} {number_text(value)}") for value, plan in plans.items()]
    if rerun:
        sections = run_again(sections, dry_run=dry_run)
    if dry_run:
        return show_plan(sections, console, workers=workers)
    outcome = execute_plan(sections, console, quiet=quiet, workers=workers)
    if outcome.interrupted and (output / "SWEEP.md").exists():
        # It may show more than there is now.
        return outcome
    session = next(iter(plans.values())).session
    results = measure_sweep(
        spec,
        {value: plan.with_records(outcome.records).records for value, plan in plans.items()},
        {value: [run.key for run in section.runs] for value, section in zip(plans, sections, strict=True)},
        suite=session.spec,
        profile=session.request.profile,
        student=session.student_title,
        command=sweep.command,
    )
    page, *others = write_sweep(results, output)
    *names, last = (path.name for path in others)
    if not quiet:
        console.print(
            f"Written from {len(results.records)} run record(s): {page}, {', '.join(names)} and {last}",
            markup=False,
            soft_wrap=True,
        )
    return outcome


def _at(sweep: SweepRequest, value: float) -> Request:
    """The request at one value; only the groups that a panel shows are evaluated."""
    request, spec = sweep.request, sweep.spec
    groups = f"eval.groups=[{', '.join(spec.groups)}]"
    return replace(
        request,
        world=(*request.world, f"{spec.axis.setting}={number_text(value)}"),
        overrides=(*((groups,) if spec.groups else ()), *request.overrides),
    )


def _plan(spec: SweepSpec, session: Session) -> Plan:
    """The plan at one value; a broken method ends a sweep, as its rows are there to be compared."""
    for row in spec.rows:
        get_method(row.method)
    (request,) = request_tables([spec.as_table()])
    return Plan(session, (plan_table(session, request),))


def _command(name: str, spec: SweepSpec, request: Request, rows: Sequence[str]) -> str:
    """The command that makes these results, without the folders, which results do not depend on."""
    words = ["compact-bench", "sweep", name, "--suite", request.suite, "--profile", request.profile]
    words += ["--values", ",".join(map(number_text, spec.axis.values))]
    words += ["--seeds", ",".join(map(str, spec.seeds))]
    words += ["--methods", ",".join(rows)] if rows else []
    words += ["--student", request.student] if request.student else []
    words += [word for text in request.overrides for word in ("--set", text)]
    words += [word for text in request.world for word in ("--world", text)]
    return shlex.join(words)
