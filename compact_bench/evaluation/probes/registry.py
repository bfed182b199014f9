"""What a probe is, and which probes there are: each one file with one `Probe`, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.records import Question
from compact_bench.core.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

    from compact_bench.evaluation.task_results import TaskResult
    from compact_bench.students.student import Student

Need = Literal["passages", "validation", "steps", "truth", "answers"]


@dataclass(frozen=True)
class Measure:
    """One number of a probe, as a column of a table shows it: its mean over seeds, with an interval.

    Attributes:
        name, title: of the column.
        source: where a record has it, under its probes ("validation_nats.after_question").
        items_source: where it has the values per item, over which the interval resamples too, or "".
        weights_source: where it has the items' weights in the mean, or "".
        unit: how it is written: "nats", "ratio", "share" (in [0, 1]), "steps", "tokens", "seconds"; of any
            other unit four digits are shown.
        ids_source: where it has the items' ids, which pair seeds and rows; "" pairs them by place.
    """

    name: str
    title: str
    source: str
    items_source: str = ""
    weights_source: str = ""
    unit: str = "ratio"
    ids_source: str = ""

    def column(self) -> dict[str, str]:
        """The same as a table's column: with paths in a record."""
        paths = ("source", "items_source", "weights_source", "ids_source")
        return {k: f"probes.{v}" if v and k in paths else v for k, v in asdict(self).items()}


def _not_given() -> TaskResult:
    raise TypeError("a probe that calls `answers` names it among its needs")


@dataclass(frozen=True)
class ProbeInputs:
    """What a run gives its probes to read; what a probe does not need is left out.

    Attributes:
        student: trained, with merged weights; the base itself where nothing was trained.
        validation: held-out questions, as the student is asked them.
        passages: neutral texts.
        training: the training questions, for a probe that needs the steps table or the truth.
        steps: the run's steps table; None where the method left none.
        answers: has the student answer the validation questions as it answers those of benchmarks.
    """

    student: Student
    base: Student
    validation: Sequence[Question] = ()
    passages: Sequence[str] = ()
    training: Sequence[Question] = ()
    steps: pd.DataFrame | None = None
    answers: Callable[[], TaskResult] = _not_given


@dataclass(frozen=True)
class Probe:
    """A read-only measurement of a trained student. A record keeps its result under the probe's name.

    Attributes:
        measure: returns the result: a number, or a dataclass or mapping of plain data. It is kept for other
            runs with the same weights and inputs, unless it needs "steps" or "answers", which are kept as
            evaluations are.
        measures: the numbers of it that a table or a summary can show.
        needs: what it reads besides the students. Without passages or validation questions it is left out;
            "steps" leaves it out where nothing was trained, "truth" where the suite does not know which
            rationales are right, "answers" where nothing is chosen among runs of the kind.
        in_trials: whether trials of tuning are measured with it too.
        recorded: entries of the record's probes made of the result, where that is more than one.
    """

    measure: Callable[[ProbeInputs], Any]
    measures: tuple[Measure, ...] = ()
    needs: tuple[Need, ...] = ()
    in_trials: bool = False
    recorded: Callable[[Any], Mapping[str, Any]] | None = None


PROBES: Registry[Probe] = Registry(
    "probe",
    "compact_bench.probes",
    {
        "drift": "compact_bench.evaluation.probes.drift:DRIFT",
        "weight_change": "compact_bench.evaluation.probes.weight_change:WEIGHT_CHANGE",
        "validation_nats": "compact_bench.evaluation.probes.answer_nats:VALIDATION_NATS",
        "validation_accuracy": "compact_bench.evaluation.probes.validation_accuracy:VALIDATION_ACCURACY",
        "truth": "compact_bench.evaluation.probes.truth:TRUTH",
    },
    "a Probe",
    lambda entry: isinstance(entry, Probe),
)
"""In the order in which a run measures."""


def measure_columns(*, in_trials: bool = False) -> list[dict[str, str]]:
    """Columns of every probe that can be imported, or of those that judge trials of tuning."""
    columns: list[dict[str, str]] = []
    for name in PROBES.sources():
        # A broken one of another package has no measures, and says why where it is asked for.
        with suppress(ConfigError):
            probe = PROBES.get(name)
            columns += [m.column() for m in probe.measures if probe.in_trials or not in_trials]
    return columns


def measure_column(probe: str, name: str) -> dict[str, str]:
    """The column of one measure of a probe.

    Raises:
        UnknownNameError, ConfigError: there is no such probe or measure, or the probe cannot be imported.
    """
    known = {measure.name: measure for measure in PROBES.get(probe).measures}
    if name not in known:
        raise UnknownNameError(f"measure of probe {probe!r}", name, known)
    return known[name].column()
