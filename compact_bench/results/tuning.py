"""Tuning: every trained row tries the same learning rates, as often, and is judged on validation questions.

A trial is a run of its own kind: its profile ends in `TRIAL`, it evaluates no benchmark, and no table takes
it for a result. That makes tuning resumable like any other run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import TRIAL, RunKey, RunRecord, number_at
from compact_bench.core.settings import EvalSettings
from compact_bench.evaluation.probes.registry import measure_columns
from compact_bench.results.tables.spec import TableSpec

FACTORS = (0.5, 1.0, 2.0)
Rates = Mapping[tuple[str, str], float]
"""(method, variant) of a row's runs -> its learning rate."""


@dataclass(frozen=True)
class Trial:
    """One learning rate of one row: a run, and what the store has of it."""

    key: RunKey
    record: RunRecord | None

    @property
    def rate(self) -> float:
        """The learning rate that is tried."""
        return float(self.key.settings["train"]["learning_rate"])


@dataclass(frozen=True)
class TunedRow:
    """The trials of one row.

    Attributes:
        trials, values: by learning rate, with the validation value of each; None where it has none.
        own_rate: learning rate of the row without tuning.
    """

    title: str
    method: str
    variant: str
    trials: tuple[Trial, ...]
    values: tuple[float | None, ...]
    own_rate: float

    @property
    def finished(self) -> bool:
        """Whether every trial has a record, whatever its outcome."""
        return all(trial.record is not None for trial in self.trials)

    @property
    def judged(self) -> bool:
        """Whether any trial has a value, so that one can be chosen."""
        return any(value is not None for value in self.values)

    @property
    def chosen(self) -> float | None:
        """The learning rate of the lowest value, ties to the smaller; None while trials are missing.

        Where every trial failed, or the method cannot run, it is the row's own rate: the row's runs then say
        why.
        """
        if not self.finished:
            return None
        judged = [(v, t.rate) for v, t in zip(self.values, self.trials, strict=True) if v is not None]
        return min(judged)[1] if judged else self.own_rate

    @property
    def at_edge(self) -> bool:
        """Whether the lowest or the highest rate of a wider grid was chosen."""
        rates = [trial.rate for trial in self.trials]
        return len(rates) > 1 and self.judged and self.chosen in (min(rates), max(rates))


@dataclass(frozen=True)
class Tuning:
    """All trials of a table.

    Attributes:
        rates: the grid.
        judged_by: names of the validation values whose mean judges a trial.
    """

    rates: tuple[float, ...]
    seed: int
    judged_by: tuple[str, ...]
    rows: tuple[TunedRow, ...]

    @classmethod
    def of(
        cls,
        table: TableSpec,
        rates: Sequence[float],
        seed: int,
        runs: Sequence[tuple[str, float, Sequence[Trial]]],
    ) -> Tuning:
        """Judge trials.

        Args:
            table: its `selection` is what a trial is judged by; a value that no trial has is left out.
            runs: (title, learning rate without tuning, trials) of every row.
        """
        done = [t.record for _, _, trials in runs for t in trials if t.record and t.record.status == "done"]
        paths = [path for path in table.selection if any(number_at(r, path) is not None for r in done)]
        rows = []
        for title, own_rate, trials in runs:
            key, values = trials[0].key, tuple(_value(trial.record, paths) for trial in trials)
            rows.append(TunedRow(title, key.method, key.variant, tuple(trials), values, own_rate))
        return cls(tuple(rates), seed, tuple(path.rpartition(".")[2] for path in paths), tuple(rows))

    def with_records(self, table: TableSpec, records: Iterable[RunRecord]) -> Tuning:
        """The same trials, judged again; one that has no new record keeps what it had."""
        made = {record.key.hash: record for record in records}
        runs = [
            (row.title, row.own_rate, [Trial(t.key, made.get(t.key.hash, t.record)) for t in row.trials])
            for row in self.rows
        ]
        return Tuning.of(table, self.rates, self.seed, runs)

    @property
    def chosen(self) -> Rates:
        """The rates of the rows whose trials are all recorded."""
        return {(row.method, row.variant): row.chosen for row in self.rows if row.chosen is not None}


def _value(record: RunRecord | None, paths: Sequence[str]) -> float | None:
    if record is None or record.status != "done" or not paths:
        return None
    values = [value for path in paths if (value := number_at(record, path)) is not None]
    # A trial that lacks a value cannot be compared with those that have it.
    return sum(values) / len(values) if len(values) == len(paths) else None


def check_tunable(table: TableSpec) -> None:
    """Refuse to tune for a table that does not say what a trial is judged by.

    Raises:
        ConfigError: it has no `selection`, or one that is not measured on validation questions.
    """
    judging = [column["source"] for column in measure_columns(in_trials=True)]
    strange = [path for path in table.selection if path not in judging]
    if not table.selection or strange:
        raise ConfigError(
            f"--tune: table {table.number}: expected `selection` to name values under probes that "
            f"trials are judged by ({', '.join(judging)}), got {', '.join(strange) or 'none'}."
        )


def learning_rates(untuned: float, of_profile: Sequence[float] | None) -> tuple[float, ...]:
    """The grid: the profile's, or half, once and twice the learning rate without tuning."""
    return tuple(of_profile) if of_profile is not None else tuple(untuned * factor for factor in FACTORS)


def with_rate(key: RunKey, rate: float) -> RunKey:
    """The same run at another learning rate."""
    train = {**key.settings["train"], "learning_rate": rate}
    return replace(key, settings={**key.settings, "train": train})


def trial_key(key: RunKey, rate: float) -> RunKey:
    """The trial of a learning rate for a run; it does not depend on how benchmarks are evaluated."""
    # Other settings of evaluation would make trials of one training other runs, and train them again.
    limit = key.settings["eval"]["validation_questions"]
    evaluation = EvalSettings(validation_questions=limit).model_dump(mode="json")
    tried = with_rate(key, rate)
    return replace(tried, profile=key.profile + TRIAL, settings={**tried.settings, "eval": evaluation})
