"""The plan of a command: its tables with their rows, each row's runs, and what the store has of them.

A plan is resolved once, by `planning`. Execution adds the records that were missing; then it is written.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from compact_bench.commands.row_selection import TableRequest, methods_option
from compact_bench.core.paths import store_dir
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.methods.registry import as_given
from compact_bench.results.tables.spec import RowSpec
from compact_bench.results.tuning import OpenTrial, TrialRun, Tuning, trial_key, with_rate
from compact_bench.runs.plan import PlannedRun, PlanSection, with_required
from compact_bench.runs.session import Session


@dataclass(frozen=True)
class PlannedRow:
    """One row of a table.

    Attributes:
        runs: of all seeds and teachers, seed by seed.
        executed: whether the command executes its runs; else it shows what the store has of them.
        problem: why there can be no runs, or "".
    """

    spec: RowSpec
    runs: tuple[PlannedRun, ...] = ()
    executed: bool = False
    problem: str = ""


@dataclass(frozen=True)
class TablePlan:
    """One table, with rows for methods that it does not list, and the same rows with their runs."""

    request: TableRequest
    rows: tuple[PlannedRow, ...]

    @property
    def problems(self) -> dict[str, str]:
        """Selector of a row that can have no runs -> why."""
        return {row.spec.selector: row.problem for row in self.rows if row.problem}

    @property
    def records(self) -> list[RunRecord]:
        """What there is of the table's runs, seed by seed."""
        return [run.record for run in _by_seed(self.rows) if run.record is not None]


@dataclass(frozen=True)
class Plan:
    """What a command runs and shows under one set of settings.

    Attributes:
        tuning: trials of learning rates; None where every row has the suite's own rate.
    """

    session: Session
    tables: tuple[TablePlan, ...]
    tuning: Tuning | None = None

    @property
    def executed_rows(self) -> list[PlannedRow]:
        """The rows of all tables whose runs the command executes."""
        return [row for table in self.tables for row in table.rows if row.executed]

    def section(self, title: str = "") -> PlanSection:
        """What is executed: every run once, seed by seed, so that an interrupted command has whole seeds."""
        runs: dict[str, PlannedRun] = {}
        for run in _by_seed(self.executed_rows):
            runs.setdefault(run.key.hash, run)
        return PlanSection(self.session, list(runs.values()), title)

    def trials(self) -> PlanSection:
        """The trials that are executed; that one diverged is its outcome, so it is not tried again."""
        executed = {(run.key.method, run.key.variant) for row in self.executed_rows for run in row.runs}
        runs = [
            PlannedRun(
                run.key,
                f"{row.title}, learning rate {trial.rate:g}",
                run.record,
                retried=run.record is None or not run.record.training.get("diverged"),
            )
            for row in (self.tuning.rows if self.tuning else ())
            if row.name in executed
            for trial in row.trials
            for run in trial.runs
        ]
        return PlanSection(self.session, runs, "Tuning")

    @property
    def broken(self) -> tuple[str, ...]:
        """Why selected rows can have no runs, each reason once."""
        problems = (
            problem
            for table in self.tables
            for selector, problem in table.problems.items()
            if selector in table.request.selected
        )
        return tuple(dict.fromkeys(problems))

    @property
    def records(self) -> list[RunRecord]:
        """What there is of the runs of all tables, each once."""
        return list({r.key.hash: r for table in self.tables for r in table.records}.values())

    @property
    def command(self) -> str:
        """The command that makes these results."""
        requests = [table.request for table in self.tables]
        numbers = ",".join(request.spec.number for request in requests)
        words = command_line(self.session, numbers, methods_option(requests))
        return f"{words} --tune" if self.tuning else words

    def with_records(self, records: Iterable[RunRecord]) -> Plan:
        """The plan after execution; a run without a new record keeps what the store had of it."""
        made = {record.key.hash: record for record in records}
        return self._with_runs(lambda run: replace(run, record=made.get(run.key.hash, run.record)))

    def with_trials(self, records: Iterable[RunRecord]) -> Plan:
        """The plan after its trials: runs of a row whose trials all have records are at the chosen rate, and
        a row whose choice lies at an edge has further trials.
        """
        assert self.tuning is not None
        store = self.session.store
        tuning = self.tuning.with_records(records, trials_of(self.session))
        rates = tuning.chosen

        def at_chosen_rate(run: PlannedRun) -> PlannedRun:
            rate = rates.get((run.key.method, run.key.variant))
            if rate is None:
                return run
            key = with_required(self.session, with_rate(run.key, rate))
            return PlannedRun(key, run.title, store.load(key))

        return replace(self._with_runs(at_chosen_rate), tuning=tuning)

    def _with_runs(self, change: Callable[[PlannedRun], PlannedRun]) -> Plan:
        def changed(row: PlannedRow) -> PlannedRow:
            return replace(row, runs=tuple(map(change, row.runs)))

        tables = tuple(replace(table, rows=tuple(map(changed, table.rows))) for table in self.tables)
        return replace(self, tables=tables)


def trials_of(session: Session) -> OpenTrial:
    """What gives the trial of a run at a rate, with the store's record and the trials that it requires."""

    def opened(key: RunKey, rate: float) -> TrialRun:
        tried = with_required(session, trial_key(key, rate))
        return TrialRun(tried, session.store.load(tried))

    return opened


def command_line(session: Session, table: str, methods: str) -> str:
    """The `reproduce` command of these results, without the folders, which results do not depend on.

    A store that is named from the working folder is told: without it the runs would be made again. One named
    by a machine's own path is of no use to another reader.
    """
    request, store = session.request, session.request.store
    words = ["compact-bench", "reproduce", "--table", table]
    words += ["--suite", request.suite, "--profile", request.profile]
    words += ["--seeds", ",".join(map(str, session.seeds))]
    methods = ",".join(map(as_given, methods.split(",")))
    for option, value in (
        ("--methods", methods),
        ("--student", request.student),
        ("--rationales", request.rationales),
        ("--teachers", ",".join(request.teachers)),
        ("--on-fault", request.on_fault if request.on_fault != "stop" else ""),
        ("--on-overlap", request.on_overlap if request.on_overlap != "keep" else ""),
        *(("--world", change) for change in request.world),
        *(("--set", override) for override in request.overrides),
        ("--store", "" if store.is_absolute() or store == store_dir() else str(store)),
    ):
        words += [option, value] if value else []
    return shlex.join(words)


def _by_seed(rows: Sequence[PlannedRow]) -> list[PlannedRun]:
    """The runs of rows, all of one seed before those of the next."""
    runs = [run for row in rows for run in row.runs]
    seeds = list(dict.fromkeys(run.key.seed for run in runs))
    return sorted(runs, key=lambda run: seeds.index(run.key.seed))
