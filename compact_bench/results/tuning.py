"""Tuning: every trained row tries learning rates of one grid, and is judged on validation questions.

A trial is a run of its own kind: its profile ends in `TRIAL`, and no table takes it for a result. It is
chosen by generated answers to validation questions. Its in-distribution items are measured beside that, to be
shown: no choice reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import TRIAL, RunKey, RunRecord
from compact_bench.core.settings import EvalSettings
from compact_bench.results.selection import (
    FEWEST_QUESTIONS,
    Candidate,
    Choice,
    answers_by_seed,
    choose,
    steps_beyond,
    too_few,
)

FACTORS = (0.5, 1.0, 2.0)
MOST_STEPS = 2
"""How often a grid is extended beyond each of its ends."""
MOST_SEEDS = 3
"""Trials run under the first seeds of a command, no more: each costs a training for every rate and row."""
Rates = Mapping[tuple[str, str], float]
"""(method, variant) of a row's runs -> its learning rate."""


@dataclass(frozen=True)
class TrialRun:
    """A trial under one seed, and what the store has of it."""

    key: RunKey
    record: RunRecord | None


OpenTrial = Callable[[RunKey, float], TrialRun]
"""The trial of a row's run at a learning rate, with what the store has of it."""


@dataclass(frozen=True)
class Trial:
    """One learning rate of one row, under every seed of the trials."""

    rate: float
    runs: tuple[TrialRun, ...]

    @property
    def finished(self) -> bool:
        """Whether every run has a record, whatever its outcome."""
        return all(run.record is not None for run in self.runs)

    @property
    def failure(self) -> RunRecord | None:
        """The first record that is not done: a rate that fails under one seed is not chosen."""
        return next((r.record for r in self.runs if r.record and r.record.status != "done"), None)

    @property
    def candidate(self) -> Candidate | None:
        """What may be chosen: of equally good rates the smaller, which moves the student less."""
        records = [run.record for run in self.runs if run.record is not None]
        answers = answers_by_seed(records)
        whole = self.failure is None and len(answers) == len(self.runs)
        return Candidate(f"{self.rate:g}", answers, self.rate) if whole else None

    @property
    def test_mean(self) -> float | None:
        """Mean accuracy on the in-distribution test items, by which nothing is chosen; None if not known."""
        records = [run.record for run in self.runs]
        means = [
            sum(float(e["value"]) for e in r.evaluations.values()) / len(r.evaluations)
            for r in records
            if r is not None and r.status == "done" and r.evaluations
        ]
        return sum(means) / len(means) if len(means) == len(records) else None


@dataclass(frozen=True)
class TunedRow:
    """The trials of one row.

    Attributes:
        keys: its runs under the seeds of the trials, at its own learning rate.
        grid: learning rates that every row tries.
        trials: in ascending order of the rate; those beyond the grid were added.
    """

    title: str
    keys: tuple[RunKey, ...]
    grid: tuple[float, ...]
    trials: tuple[Trial, ...]

    @property
    def name(self) -> tuple[str, str]:
        """Method and variant of its runs."""
        return self.keys[0].method, self.keys[0].variant

    @property
    def own_rate(self) -> float:
        """Its learning rate without tuning."""
        return float(self.keys[0].settings["train"]["learning_rate"])

    @property
    def finished(self) -> bool:
        """Whether every trial has its records, whatever their outcome."""
        return all(trial.finished for trial in self.trials)

    @cached_property
    def choice(self) -> Choice | None:
        """The choice among the rates that succeeded; None where none did, or while trials are missing."""
        return choose([c for t in self.trials if (c := t.candidate)]) if self.finished else None

    @property
    def chosen(self) -> float | None:
        """The chosen rate; None while trials are missing.

        Where every trial failed, or the method cannot run, it is the row's own rate: the row's runs then say
        why.
        """
        if not self.finished:
            return None
        return self.choice.chosen.cost if self.choice else self.own_rate

    @property
    def edges(self) -> tuple[bool, bool]:
        """Whether the lowest, and the highest, rate that was tried is chosen or has the highest accuracy."""
        if self.choice is None or len(self.trials) < 2:
            return False, False
        picked = (self.choice.chosen.cost, self.choice.highest.cost)
        return self.trials[0].rate in picked, self.trials[-1].rate in picked

    @property
    def next_rates(self) -> tuple[float, ...]:
        """Rates beyond the grid that are due: one step past an end at which a choice lies, up to a limit."""
        if self.choice is None:
            return ()
        picked = (self.choice.chosen.cost, self.choice.highest.cost)
        return steps_beyond([trial.rate for trial in self.trials], self.grid, picked, MOST_STEPS)

    @property
    def test_rate(self) -> float | None:
        """The rate that the test items would have chosen: the highest mean, of equal ones the smaller."""
        means = [(-mean, trial.rate) for trial in self.trials if (mean := trial.test_mean) is not None]
        return min(means)[1] if self.finished and means else None


@dataclass(frozen=True)
class Tuning:
    """All trials of a table.

    Attributes:
        rates: the grid that every row starts with.
        seeds: of the trials.
    """

    rates: tuple[float, ...]
    seeds: tuple[int, ...]
    rows: tuple[TunedRow, ...]

    @classmethod
    def of(
        cls,
        rates: Sequence[float],
        seeds: Sequence[int],
        rows: Iterable[tuple[str, Sequence[RunKey]]],
        opened: OpenTrial,
    ) -> Tuning:
        """The trials of a grid, and those beyond it that what is there already asks for.

        Args:
            rates: the grid, in any order.
            rows: (title, keys under the seeds of the trials) of every row.
        """
        grid = tuple(sorted(rates))
        empty = (TunedRow(title, tuple(keys), grid, ()) for title, keys in rows)
        return cls(
            grid, tuple(seeds), tuple(_extended(_with_rates(row, grid, opened), opened) for row in empty)
        )

    def with_records(self, records: Iterable[RunRecord], opened: OpenTrial) -> Tuning:
        """The same trials judged again, and those that are due now; what has no new record keeps its own."""
        made = {record.key.hash: record for record in records}

        def judged(trial: Trial) -> Trial:
            return replace(
                trial, runs=tuple(TrialRun(r.key, made.get(r.key.hash, r.record)) for r in trial.runs)
            )

        rows = (replace(row, trials=tuple(map(judged, row.trials))) for row in self.rows)
        return replace(self, rows=tuple(_extended(row, opened) for row in rows))

    @property
    def chosen(self) -> Rates:
        """The rates of the rows whose trials are all recorded."""
        return {row.name: row.chosen for row in self.rows if row.chosen is not None}

    @property
    def questions(self) -> int | None:
        """How many validation questions judge; None while nothing is judged."""
        return min((row.choice.questions for row in self.rows if row.choice), default=None)


def _with_rates(row: TunedRow, rates: Sequence[float], opened: OpenTrial) -> TunedRow:
    added = []
    for rate in rates:
        added.append(Trial(rate, tuple(opened(key, rate) for key in row.keys)))
    return replace(row, trials=tuple(sorted((*row.trials, *added), key=lambda trial: trial.rate)))


def _extended(row: TunedRow, opened: OpenTrial) -> TunedRow:
    while due := row.next_rates:
        row = _with_rates(row, due, opened)
    return row


def check_tunable(questions: int, profile: str) -> None:
    """Refuse to tune by so few validation questions that chance would choose.

    Raises:
        ConfigError: there are fewer than `FEWEST_QUESTIONS`.
    """
    if few := too_few(questions, profile):
        raise ConfigError(
            f"--tune: got {few}. By fewer than {FEWEST_QUESTIONS}, whose standard error is over 10 pp, "
            "chance would choose. Set more aside (training.validation_questions of the suite, "
            "eval.answered_questions), or leave out --tune."
        )


def learning_rates(untuned: float, of_profile: Sequence[float] | None) -> tuple[float, ...]:
    """The grid: the profile's, or half, once and twice the learning rate without tuning."""
    return tuple(of_profile) if of_profile is not None else tuple(untuned * factor for factor in FACTORS)


def with_rate(key: RunKey, rate: float) -> RunKey:
    """The same run at another learning rate."""
    train = {**key.settings["train"], "learning_rate": rate}
    return replace(key, settings={**key.settings, "train": train})


def trial_key(key: RunKey, rate: float) -> RunKey:
    """The trial of a learning rate for a run: it answers validation questions and in-distribution items."""
    # What a trial does not measure is as it is by default: it would make trials of one training other runs.
    changes = {"validation_accuracy": True, "groups": ("in_distribution",)}
    changes |= {"drift_passages": None, "validation_questions": None}
    settings = EvalSettings.model_validate({**key.settings["eval"], **changes}).model_dump(mode="json")
    tried = with_rate(key, rate)
    return replace(tried, profile=key.profile + TRIAL, settings={**tried.settings, "eval": settings})
