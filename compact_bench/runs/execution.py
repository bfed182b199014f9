"""A plan carried out: what is to do and how long it will take, shown; then done by as many workers as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from compact_bench.core.hardware import choose_device
from compact_bench.core.progress import duration, open_display
from compact_bench.core.provenance import usable_cores
from compact_bench.core.records import RunRecord
from compact_bench.runs.estimate import Estimator, Workload, untrained
from compact_bench.runs.plan import PlannedRun
from compact_bench.runs.session import Session
from compact_bench.runs.workers.launch import execute
from compact_bench.runs.workers.queue import Job
from compact_bench.students.student import count_parameters, resolve_student

STATE_STYLES = {"done": "green", "unsupported": "yellow", "missing": "cyan", "failed": "red"}
SMALL_PARAMETERS = 20_000_000
"""Below it a second thread gains less than a second run at the same time does."""
MOST_AUTOMATIC_WORKERS = 4
"""Each takes most of a gigabyte."""
ASSUMED_QUESTIONS, ASSUMED_ITEMS = 500, 300
PLAN_ROWS = 24
"""A plan of more rows does not list those that have nothing to do."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        records: of all runs that have one.
        executed: how many runs this process or another executed meanwhile.
        interrupted: whether the user stopped it.
        broken: what is wrong with methods that could not even be planned.
    """

    records: tuple[RunRecord, ...]
    executed: int
    interrupted: bool = False
    broken: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """Records of failed runs."""
        return tuple(r for r in self.records if r.status == "failed")


@dataclass(frozen=True)
class PlanSection:
    """The runs of one suite under one set of settings.

    Attributes:
        session: what they share.
        plan: the runs, in order.
        title: what tells this part from the others; "" where there is one only.
    """

    session: Session
    plan: Sequence[PlannedRun]
    title: str = ""


@dataclass(frozen=True)
class Staff:
    """Who executes runs.

    Attributes:
        workers: runs at a time.
        threads: CPU threads of each; 0 leaves it to torch.
    """

    workers: int
    threads: int


def choose_staff(asked_workers: int, asked_threads: int, *, small: bool, cores: int, gpu: bool) -> Staff:
    """How many runs execute at a time, with how many threads each.

    A small student always computes with one thread: its tensors are too small to share, and results then do
    not depend on how many workers there are, to the last bit.

    Args:
        asked_workers, asked_threads: what the user wants; 0 leaves it to this function.
        small: whether the student is small.
        cores: CPU cores of this process.
        gpu: whether runs compute on a GPU.
    """
    fitting = min(cores // max(1, asked_threads), MOST_AUTOMATIC_WORKERS)
    automatic = max(1, fitting) if small and not gpu else 1
    workers = asked_workers or automatic
    if asked_threads:
        return Staff(workers, asked_threads)
    if small and not gpu:
        return Staff(workers, 1)
    return Staff(workers, max(1, cores // workers) if workers > 1 else 0)


def execute_plan(
    parts: Sequence[PlanSection],
    console: Console,
    *,
    quiet: bool = False,
    workers: int = 0,
    later: Sequence[PlanSection] = (),
) -> Outcome:
    """Show a plan and execute what is missing of it.

    Args:
        parts: the runs.
        console: for the plan, progress and messages.
        quiet: whether to print nothing.
        workers: runs at a time; 0 chooses.
        later: what the command will execute afterwards; it is shown, and counts in the time that is left.

    Returns:
        The records; an interruption is part of the outcome, not an exception.

    Raises:
        CompactBenchError: data, student or store are not as they must be.
    """
    planned, ahead = _Planned.of(parts, workers), _Planned.of(later, workers) if later else None
    if not quiet:
        shown, plan = parts, planned
        if later and planned.jobs:
            shown = [*parts, *later]
            plan = _Planned.of(shown, workers)
        _show(shown, plan, console)
    executed, interrupted = 0, False
    if planned.jobs:
        try:
            with open_display(console, quiet=quiet) as display:
                staff = planned.staff
                made = execute(
                    planned.jobs,
                    display,
                    planned.estimator,
                    workers=staff.workers,
                    threads=staff.threads,
                    later=[job.key for job in ahead.jobs] if ahead else (),
                )
                executed = len(made)
        except KeyboardInterrupt:
            interrupted = True
    found = [part.session.store.load(run.key) for part in parts for run in part.plan]
    return Outcome(tuple(r for r in found if r is not None), executed, interrupted)


def show_plan(parts: Sequence[PlanSection], console: Console, *, workers: int = 0) -> Outcome:
    """Show a plan and execute nothing.

    Args:
        parts, console, workers: as in `execute_plan`.
    """
    _show(parts, _Planned.of(parts, workers), console)
    found = [run.record for part in parts for run in part.plan]
    return Outcome(tuple(record for record in found if record is not None), 0)


@dataclass(frozen=True)
class _Planned:
    """What is to do, by whom, and how long it may take."""

    jobs: Sequence[Job]
    estimator: Estimator
    staff: Staff

    @classmethod
    def of(cls, parts: Sequence[PlanSection], workers: int) -> _Planned:
        session = parts[0].session
        parameters = count_parameters(resolve_student(session.student_name))
        jobs = [
            Job(part.session, run.key, "the base student" if untrained(run.key.method) else "")
            for part in parts
            for run in part.plan
            if run.needed
        ]
        asked = session.request
        staff = choose_staff(
            workers,
            asked.threads,
            small=parameters is not None and parameters < SMALL_PARAMETERS,
            cores=usable_cores(),
            gpu=choose_device(asked.device).type != "cpu",
        )
        return cls(jobs, Estimator(session.store.records(), _workload(session, parameters)), staff)

    @property
    def seconds(self) -> dict[str, float]:
        """Run -> estimate, of the runs to do."""
        return self.estimator.expected([job.key for job in self.jobs])


def _workload(session: Session, parameters: int | None) -> Workload:
    training = session.spec.training
    generated = training.world.questions if training.world else ASSUMED_QUESTIONS
    return Workload(
        questions=session.profile.questions or max(1, generated - (training.validation_questions or 0)),
        teachers=max(1, len(session.teachers)),
        items=[(b.group, b.items or ASSUMED_ITEMS) for b in session.spec.benchmarks],
        parameters=parameters,
    )


def _show(parts: Sequence[PlanSection], planned: _Planned, console: Console) -> None:
    session, seconds = parts[0].session, planned.seconds
    head = f"{session.spec.name}, profile {session.request.profile}, student {session.student_name}"
    table = RichTable("run", "seeds", "state", "estimate", title=Text(head), title_justify="left")
    for part in parts:
        rows: dict[str, list[PlannedRun]] = {}
        for run in part.plan:
            rows.setdefault(run.title, []).append(run)
        finished = [title for title, runs in rows.items() if all(run.state == "done" for run in runs)]
        if len(rows) > PLAN_ROWS and finished:
            text = f"{len(finished)} row(s) that have all their runs"
            table.add_row(f"{part.title}: {text}" if part.title else text, "", "done", "")
            rows = {title: runs for title, runs in rows.items() if title not in finished}
        for title, runs in rows.items():
            for state in dict.fromkeys(run.state for run in runs):
                same = [run for run in runs if run.state == state]
                cost = sum(seconds.get(run.key.hash, 0.0) for run in same)
                table.add_row(
                    Text(f"{part.title}: {title}" if part.title else title),
                    ",".join(str(run.key.seed) for run in same),
                    Text(state, style=STATE_STYLES[state]),
                    duration(cost) if any(run.needed for run in same) else "",
                )
    console.print(table)
    console.print(_summary(parts, planned, sum(seconds.values())), markup=False)


def _summary(parts: Sequence[PlanSection], planned: _Planned, seconds: float) -> str:
    count = sum(len(part.plan) for part in parts)
    if not planned.jobs:
        return f"All {count} runs are in the store; nothing to run."
    workers = min(planned.staff.workers, len(planned.jobs))
    threads = f", {planned.staff.threads} thread(s) each" if planned.staff.threads else ""
    beside = f" by {workers} workers{threads}" if workers > 1 else ""
    return (
        f"{len(planned.jobs)} of {count} runs to do, about {duration(seconds / workers)}{beside} "
        f"({planned.estimator.basis})."
    )
