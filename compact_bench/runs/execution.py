"""Executes a plan: shows what is missing and how long it will take, then has as many workers do it as fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from compact_bench.core.hardware import choose_device
from compact_bench.core.progress import duration, open_display
from compact_bench.core.provenance import usable_cores
from compact_bench.core.records import RunRecord
from compact_bench.data.files.task_parts import task_parts
from compact_bench.data.suites.teacher_statistics import right_answers
from compact_bench.runs.estimate import Estimator, Workload, untrained
from compact_bench.runs.plan import PlannedRun, PlanSection, ask_where_again, required_first
from compact_bench.runs.session import Session
from compact_bench.runs.workers.launch import execute
from compact_bench.runs.workers.queue import Job
from compact_bench.students.student import count_parameters, resolve_student

STATE_STYLES = {
    "done": "green",
    "again": "cyan",
    "missing": "cyan",
    "failed": "red",
    "unsupported": "yellow",
    "untrained": "yellow",
}
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
        executed: how many runs this process or another executed meanwhile.
        interrupted: whether the user stopped it.
        broken: what is wrong with methods that could not even be planned.
        failed_again: records of runs that failed when they were made anew; the store keeps the old ones.
    """

    records: tuple[RunRecord, ...]
    executed: int
    interrupted: bool = False
    broken: tuple[str, ...] = ()
    failed_again: tuple[RunRecord, ...] = ()

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """Records of failed runs."""
        return (*(r for r in self.records if r.status == "failed"), *self.failed_again)


@dataclass(frozen=True)
class Staff:
    """How many runs execute at a time, and the CPU threads of each; 0 leaves these to torch."""

    workers: int
    threads: int


def choose_staff(user_workers: int, user_threads: int, *, small: bool, cores: int, gpu: bool) -> Staff:
    """How many runs execute at a time, with how many threads each.

    A small student always computes with one thread: its tensors are too small to share, and results then do
    not depend on how many workers there are, to the last bit.

    Args:
        user_workers, user_threads: what the user wants; 0 leaves it to this function.
        small: whether the student is.
        cores: of this process.
    """
    small_on_cpu = small and not gpu
    fitting = min(cores // max(1, user_threads), MOST_AUTOMATIC_WORKERS)
    workers = user_workers or (max(1, fitting) if small_on_cpu else 1)
    shared = max(1, cores // workers) if workers > 1 else 0
    return Staff(workers, user_threads or (1 if small_on_cpu else shared))


def execute_plan(
    sections: Sequence[PlanSection],
    console: Console,
    *,
    quiet: bool = False,
    workers: int = 0,
    later: Sequence[PlanSection] = (),
) -> Outcome:
    """Show a plan and execute what is missing of it.

    Args:
        workers: runs at a time; 0 chooses.
        later: what the command will execute afterwards; it is shown, and counts in the time that is left.

    Returns:
        The records; an interruption is part of the outcome, not an exception.

    Raises:
        CompactBenchError: data, student or store are not as they must be.
    """
    sections, later = ([required_first(section) for section in some] for some in (sections, later))
    for section in sections:
        ask_where_again(section)
    work = _Work.of(sections, workers)
    if not quiet:
        shown = [*sections, *later] if work.jobs else sections
        _show(shown, _Work.of(shown, workers) if later else work, console)
    executed: list[RunRecord] = []
    interrupted = False
    if work.jobs:
        keys_ahead = [job.key for job in _needed_jobs(later)]
        if not quiet:
            for line in (_usable_rationales(sections[0].session), *_own_task_files(sections[0].session)):
                console.print(line, markup=False, soft_wrap=True)
        try:
            with open_display(console, quiet=quiet) as display:
                staff = asdict(work.staff)
                executed = execute(work.jobs, display, work.estimator, later=keys_ahead, **staff)
        except KeyboardInterrupt:
            interrupted = True
    # What an interruption left is in the store too; a record read back is the one that later commands see.
    runs = [(section.session.store, run) for section in sections for run in section.runs]
    records = [store.load(run.key) if run.needed else run.record for store, run in runs]
    found = tuple(record for record in records if record is not None)
    kept = {record.key.hash for record in found if record.status != "failed"}
    lost = tuple(r for r in executed if r.status == "failed" and r.key.hash in kept)
    return Outcome(found, len(executed), interrupted, failed_again=lost)


def _usable_rationales(session: Session) -> str:
    """What a filter will find: per teacher the counts of right answers and of rationales without one."""
    teachers: dict[str, dict[str, int]] = session.data_notes["teachers"]
    shares = (
        f"{name} {right_answers(count):,} of {count['rationales']:,} right"
        + (f", {count['no_answer']:,} without an answer" if count["no_answer"] else "")
        for name, count in teachers.items()
    )
    notes = session.data_notes
    drawn = ""
    if "drawn_questions" in notes:
        count, pool = notes["drawn_questions"], notes["training_questions"]
        drawn = f" Every seed draws {count:,} of {pool:,} training questions."
    return f"Rationales by their last answers: {'; '.join(shares)}.{drawn}"


def _own_task_files(session: Session) -> list[str]:
    """Which files count as a task of the suite's own: a change of one makes other runs."""
    return [
        f"Task {benchmark.task} is what these files say, and a change of one makes other runs: "
        f"{', '.join(path.name for path in task_parts(Path(benchmark.task_file.path)))}."
        for benchmark in session.spec.benchmarks
        if benchmark.task_file is not None
    ]


def show_plan(sections: Sequence[PlanSection], console: Console, *, workers: int = 0) -> Outcome:
    """Show a plan and execute nothing; arguments as in `execute_plan`."""
    sections = [required_first(section) for section in sections]
    _show(sections, _Work.of(sections, workers), console)
    return Outcome(tuple(run.record for section in sections for run in section.runs if run.record), 0)


def _needed_jobs(sections: Sequence[PlanSection]) -> list[Job]:
    return [
        Job(section.session, run.key, "the base student" if untrained(run.key.method) else "", run.again)
        for section in sections
        for run in section.runs
        if run.needed
    ]


@dataclass(frozen=True)
class _Work:
    """What is to do, by whom, and how long it may take."""

    jobs: Sequence[Job]
    estimator: Estimator
    staff: Staff

    @classmethod
    def of(cls, sections: Sequence[PlanSection], workers: int) -> _Work:
        session = sections[0].session
        parameters = count_parameters(resolve_student(session.student_name))
        staff = choose_staff(
            workers,
            session.request.threads,
            small=parameters is not None and parameters < SMALL_PARAMETERS,
            cores=usable_cores(),
            gpu=choose_device(session.request.device).type != "cpu",
        )
        training = session.spec.training
        generated = training.world.questions if training.world else ASSUMED_QUESTIONS
        load = Workload(
            session.profile.questions or max(1, generated - (training.validation_questions or 0)),
            teachers=max(1, len(session.teachers)),
            items=[(b.group, b.items or ASSUMED_ITEMS) for b in session.spec.benchmarks],
            parameters=parameters,
        )
        return cls(_needed_jobs(sections), Estimator(session.store.records(), load), staff)


def _show(sections: Sequence[PlanSection], work: _Work, console: Console) -> None:
    session, seconds = sections[0].session, work.estimator.expected([job.key for job in work.jobs])
    own = (
        f", training data {session.own_file.name}" if session.request.rationales and session.own_file else ""
    )
    head = f"{session.spec.name}{own}, profile {session.request.profile}, student {session.student_name}"
    table = RichTable("run", "seeds", "state", "estimate", title=Text(head), title_justify="left")
    for section in sections:
        prefix = f"{section.title}: " if section.title else ""
        rows: dict[str, list[PlannedRun]] = {}
        for run in section.runs:
            rows.setdefault(run.title, []).append(run)
        finished = [title for title, runs in rows.items() if all(run.state == "done" for run in runs)]
        if len(rows) > PLAN_ROWS and finished:
            table.add_row(f"{prefix}{len(finished)} row(s) that have all their runs", "", "done", "")
            rows = {title: runs for title, runs in rows.items() if title not in finished}
        for title, runs in rows.items():
            for state in dict.fromkeys(run.state for run in runs):
                same = [run for run in runs if run.state == state]
                cost = sum(seconds.get(run.key.hash, 0.0) for run in same)
                table.add_row(
                    Text(prefix + title),
                    ",".join(str(run.key.seed) for run in same),
                    Text(state, style=STATE_STYLES[state]),
                    duration(cost) if any(run.needed for run in same) else "",
                )
    console.print(table)
    if session.gaps:
        console.print(session.gaps, markup=False)
    count = sum(len(section.runs) for section in sections)
    console.print(_summary(count, work, sum(seconds.values())), markup=False)


def _summary(count: int, work: _Work, seconds: float) -> str:
    if not work.jobs:
        return f"All {count} runs are in the store; nothing to run."
    workers = min(work.staff.workers, len(work.jobs))
    threads = f", {work.staff.threads} thread(s) each" if work.staff.threads else ""
    beside = f" by {workers} workers{threads}" if workers > 1 else ""
    return (
        f"{len(work.jobs)} of {count} runs to do, about {duration(seconds / workers)}{beside} "
        f"({work.estimator.basis})."
    )
