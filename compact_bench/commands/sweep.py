"""A sweep: the same methods at several values of one setting of the world, run, compared and drawn."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from compact_bench.commands.planning import plan_table
from compact_bench.core.errors import ConfigError
from compact_bench.results.sweeps.results import SweepResults, measure_sweep
from compact_bench.results.sweeps.spec import SweepSpec, load_sweep_spec
from compact_bench.runs.execution import Outcome, PlanSection, execute_plan, show_plan
from compact_bench.runs.plan import PlannedRun
from compact_bench.runs.session import Request, Session


@dataclass(frozen=True)
class SweepRequest:
    """What a sweep was asked to do.

    Attributes:
        spec: its definition, with the rows, values and seeds that were asked for.
        request: suite, profile, student, settings, folders.
        command: the command that makes the same results.
    """

    spec: SweepSpec
    request: Request
    command: str


def sweep_request(
    name: str, request: Request, *, values: Sequence[float] = (), rows: Sequence[str] = ()
) -> SweepRequest:
    """Fill in what a sweep's definition says wherever nothing else was asked for.

    Args:
        name: a packaged sweep, or the path of a TOML file.
        request: as asked for; an empty suite, profile or list of seeds takes the definition's.
        values: of the axis; empty for the definition's.
        rows: names of the definition's rows; empty for all that are not optional.

    Raises:
        ConfigError: the sweep, a row or the suite is unknown, or the suite has no world to vary.
    """
    spec = load_sweep_spec(name).choose(tuple(rows))
    axis = spec.axis.model_copy(update={"values": tuple(sorted(set(values or spec.axis.values)))})
    asked = replace(
        request,
        suite=request.suite or spec.suite,
        profile=request.profile or spec.profile,
        seeds=request.seeds or spec.seeds,
    )
    chosen = spec.model_copy(update={"axis": axis, "seeds": asked.seeds})
    world = Session(asked).spec.training.world
    if world is None or spec.axis.setting not in type(world).model_fields:
        known = "its questions are not generated" if world is None else ", ".join(type(world).model_fields)
        raise ConfigError(
            f"sweep {spec.name}: expected a suite with a world whose {spec.axis.setting!r} can be set, got "
            f"{asked.suite!r} ({known}). Use --suite {spec.suite}."
        )
    return SweepRequest(chosen, asked, _command(name, chosen, asked, rows))


def sweep(
    asked: SweepRequest,
    *,
    output: Path,
    console: Console,
    quiet: bool = False,
    dry_run: bool = False,
    workers: int = 0,
) -> Outcome:
    """Run what is missing of a sweep and write its files; what is there is drawn even if some is missing.

    Args:
        asked: what to do.
        output: folder of the written files.
        console: for the plan, progress and messages.
        quiet: whether to print nothing.
        dry_run: show the plan only.
        workers: runs at a time; 0 chooses by student and machine.

    Returns:
        The records; an interruption is part of the outcome, not an exception.

    Raises:
        CompactBenchError: a name, setting, data file, student or folder is wrong.
    """
    from compact_bench.results.report.sweep_page import write_sweep

    spec = asked.spec
    table = spec.as_table()
    benches = {value: Session(_at(asked, value)) for value in spec.axis.values}
    parts = [
        PlanSection(session, plan_table(session, table), f"{spec.axis.setting} {value:g}")
        for value, session in benches.items()
    ]
    if dry_run:
        return show_plan(parts, console, workers=workers)
    outcome = execute_plan(parts, console, quiet=quiet, workers=workers)
    results = _results(spec, benches, asked.command)
    page, *others = write_sweep(results, output)
    *names, last = (path.name for path in others)
    if not quiet:
        console.print(
            f"Written from {len(results.records)} run record(s): {page}, {', '.join(names)} and {last}",
            markup=False,
            soft_wrap=True,
        )
    return outcome


def _at(asked: SweepRequest, value: float) -> Request:
    """The request at one value; only the groups that a panel shows are evaluated."""
    request, spec = asked.request, asked.spec
    groups = f"eval.groups=[{', '.join(spec.groups)}]"
    return replace(
        request,
        world=(*request.world, f"{spec.axis.setting}={value:g}"),
        overrides=(*((groups,) if spec.groups else ()), *request.overrides),
    )


def _results(spec: SweepSpec, benches: Mapping[float, Session], command: str) -> SweepResults:
    table = spec.as_table()
    plans: dict[float, Sequence[PlannedRun]] = {
        value: plan_table(session, table) for value, session in benches.items()
    }
    session = next(iter(benches.values()))
    own = session.request.student in (None, session.spec.student)
    return measure_sweep(
        spec,
        {value: [run.record for run in plan if run.record is not None] for value, plan in plans.items()},
        {value: [run.key for run in plan] for value, plan in plans.items()},
        suite=session.spec,
        profile=session.request.profile,
        student=(session.spec.student_title if own else "") or session.student_name,
        command=command,
    )


def _command(name: str, spec: SweepSpec, request: Request, rows: Sequence[str]) -> str:
    """The command that makes these results, without the folders, which results do not depend on."""
    words = ["compact-bench", "sweep", name, "--suite", request.suite, "--profile", request.profile]
    words += ["--values", ",".join(f"{value:g}" for value in spec.axis.values)]
    words += ["--seeds", ",".join(map(str, spec.seeds))]
    words += ["--methods", ",".join(rows)] if rows else []
    words += ["--student", request.student] if request.student else []
    for option, texts in (("--set", request.overrides), ("--world", request.world)):
        for text in texts:
            words += [option, text]
    return shlex.join(words)
