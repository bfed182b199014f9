"""Sweeps: the same methods at several values of settings of the world, in one plan, compared and drawn."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from compact_bench.commands.planning import plan_table
from compact_bench.commands.row_selection import request_tables
from compact_bench.commands.table_plan import Plan
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.records import fingerprint
from compact_bench.core.written.values import number_text
from compact_bench.methods.registry import get_method
from compact_bench.results.sweeps.findings import Findings, check_together
from compact_bench.results.sweeps.results import SweepResults, measure_sweep
from compact_bench.results.sweeps.spec import DIALS, SweepSpec, load_sweep_spec
from compact_bench.runs.execution import Outcome, execute_plan, show_plan
from compact_bench.runs.plan import PlannedRun, PlanSection, run_again
from compact_bench.runs.session import Request, Session
from compact_bench.runs.suite_settings import check_reach

ALL = "all"
"""Stands for the sweeps of `DIALS`."""


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


def sweep_requests(
    names: Sequence[str], request: Request, *, values: Sequence[float] = (), rows: Sequence[str] = ()
) -> list[SweepRequest]:
    """Sweeps that one command runs, in their order; "all" stands for the dials.

    Args:
        names: packaged sweeps, or paths of TOML files.
        values: of the axis, for a sweep alone.
        rows: names of rows; each sweep has those that it defines.

    Raises:
        ConfigError: see `sweep_request`; or the sweeps do not fit on one page.
    """
    chosen = [one for name in names for one in (DIALS if name == ALL else (name,))]
    if len(chosen) == 1:
        return [sweep_request(chosen[0], request, values=values, rows=rows)]
    if values:
        raise ConfigError(
            f"--values: expected one sweep with them, got {', '.join(chosen)}, whose settings differ. "
            "Leave out --values, or give the sweeps one by one."
        )
    specs = [load_sweep_spec(name) for name in chosen]
    known = dict.fromkeys(row.name for spec in specs for row in spec.rows)
    for row in rows:
        if row not in known:
            raise UnknownNameError(f"row of the sweeps {', '.join(chosen)}", row, known)
    found = []
    for name, spec in zip(chosen, specs, strict=True):
        own = [row for row in rows if row in {r.name for r in spec.rows}]
        if rows and not own:
            raise ConfigError(f"--methods: expected a row of sweep {spec.name}, got {', '.join(rows)}.")
        found.append(sweep_request(name, request, rows=own))
    check_together([(s.spec.name, s.request.suite, s.request.profile, s.spec.reference) for s in found])
    return found


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
    for setting in (*spec.axis.settings, *spec.world):
        if world is None or setting not in type(world).model_fields:
            known = (
                "its questions are not generated" if world is None else ", ".join(type(world).model_fields)
            )
            raise ConfigError(
                f"sweep {spec.name}: expected a suite with a world whose {setting!r} can be set, got "
                f"{complete.suite!r} ({known}). Use --suite {spec.suite}."
            )
    return SweepRequest(chosen, complete, _command(name, chosen, complete, rows))


def run_sweeps(
    sweeps: Sequence[SweepRequest],
    *,
    output: Path,
    console: Console,
    quiet: bool = False,
    dry_run: bool = False,
    workers: int = 0,
    rerun: bool = False,
    command: str = "",
) -> Outcome:
    """Run what is missing of sweeps, in one plan, and write their files, even if some runs have no record.

    Other arguments, outcome and errors as of `compact_bench.commands.reproduce.reproduce_tables`.

    Args:
        sweeps: one, or several that are shown on one page of findings.
        output: folder of the written files; with several sweeps each has a folder of its name in it.
        command: the command that makes these results, of several sweeps.
    """
    for sweep in sweeps:
        check_reach(sweep.request.overrides, _methods(sweep.spec))
    alone = len(sweeps) == 1
    plans = [_plans(sweep) for sweep in sweeps]
    planned = [[plan.section() for plan in some.values()] for some in plans]
    sections = one_section_a_world(
        [
            # Two sweeps may turn the same setting.
            (f"{sweep.spec.axis.setting if alone else sweep.spec.name} {number_text(value)}", section)
            for sweep, some, own in zip(sweeps, plans, planned, strict=True)
            for value, section in zip(some, own, strict=True)
        ]
    )
    if rerun:
        sections = run_again(sections, dry_run=dry_run)
    if dry_run:
        return show_plan(sections, console, workers=workers)
    outcome = execute_plan(sections, console, quiet=quiet, workers=workers)
    if outcome.interrupted and (output / ("SWEEP.md" if alone else "FINDINGS.md")).exists():
        # It may show more than there is now.
        return outcome
    results = tuple(
        _measured(sweep, some, own, outcome) for sweep, some, own in zip(sweeps, plans, planned, strict=True)
    )
    page, *others = _write(results, output, command)
    *names, last = (path.name for path in others)
    if not quiet:
        count = len({record.key.hash for one in results for record in one.records})
        console.print(
            f"Written from {count} run record(s): {page}, {', '.join(names)} and {last}",
            markup=False,
            soft_wrap=True,
        )
    return outcome


def one_section_a_world(sections: Sequence[tuple[str, PlanSection]]) -> list[PlanSection]:
    """Sections of a plan, in which values of several sweeps that make the same world share their runs.

    Worlds are the same where the suite's fingerprint is, and so all of its data: then keys are equal too.

    Args:
        sections: title of a value and what is run at it.
    """
    of_world: dict[str, list[tuple[str, PlanSection]]] = {}
    for title, section in sections:
        session = section.session
        settings = session.settings.model_dump(mode="json")
        of_world.setdefault(fingerprint([session.suite_fingerprint, settings]), []).append((title, section))
    merged = []
    for same in of_world.values():
        runs: dict[str, PlannedRun] = {}
        for _, section in same:
            for run in section.runs:
                runs.setdefault(run.key.hash, run)
        title = ", ".join(dict.fromkeys(title for title, _ in same))
        merged.append(PlanSection(same[0][1].session, list(runs.values()), title))
    return merged


def _methods(spec: SweepSpec) -> set[str]:
    return {row.method for row in spec.rows}


def _plans(sweep: SweepRequest) -> dict[float, Plan]:
    methods = _methods(sweep.spec)
    return {value: _plan(sweep.spec, Session(_at(sweep, value), methods)) for value in sweep.spec.axis.values}


def _measured(
    sweep: SweepRequest, plans: Mapping[float, Plan], planned: Sequence[PlanSection], outcome: Outcome
) -> SweepResults:
    session = next(iter(plans.values())).session
    world = Session(sweep.request, _methods(sweep.spec)).spec.training.world
    own = [value for value, plan in plans.items() if plan.session.spec.training.world == world]
    return measure_sweep(
        sweep.spec,
        {value: plan.with_records(outcome.records).records for value, plan in plans.items()},
        {value: [run.key for run in section.runs] for value, section in zip(plans, planned, strict=True)},
        suite=session.spec,
        profile=session.request.profile,
        student=session.student_title,
        command=sweep.command,
        own_value=own[0] if own else None,
    )


def _write(results: tuple[SweepResults, ...], output: Path, command: str) -> tuple[Path, ...]:
    from compact_bench.results.report.findings_page import write_findings
    from compact_bench.results.report.sweep_page import write_sweep

    return (
        write_sweep(results[0], output)
        if len(results) == 1
        else write_findings(Findings(results, command), output)
    )


def _at(sweep: SweepRequest, value: float) -> Request:
    """The request at one value; only the groups that a panel shows are evaluated."""
    request, spec = sweep.request, sweep.spec
    groups = f"eval.groups=[{', '.join(spec.groups)}]"
    fixed = (f"{name}={number_text(number)}" for name, number in spec.world.items())
    return replace(
        request,
        world=(*fixed, *request.world, *(f"{name}={number_text(value)}" for name in spec.axis.settings)),
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
    return _line(name, request, ["--values", ",".join(map(number_text, spec.axis.values))], spec.seeds, rows)


def findings_command(names: Sequence[str], sweeps: Sequence[SweepRequest], rows: Sequence[str]) -> str:
    """The command that makes the findings of several sweeps; seeds are named where all have the same."""
    seeds = {sweep.spec.seeds for sweep in sweeps}
    return _line(",".join(names), sweeps[0].request, [], seeds.pop() if len(seeds) == 1 else (), rows)


def _line(
    name: str, request: Request, values: Sequence[str], seeds: Sequence[int], rows: Sequence[str]
) -> str:
    words = ["compact-bench", "sweep", name, "--suite", request.suite, "--profile", request.profile, *values]
    words += ["--seeds", ",".join(map(str, seeds))] if seeds else []
    words += ["--methods", ",".join(rows)] if rows else []
    words += ["--student", request.student] if request.student else []
    words += [word for text in request.overrides for word in ("--set", text)]
    words += [word for text in request.world for word in ("--world", text)]
    return shlex.join(words)
