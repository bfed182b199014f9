"""What a probe is, and which probes there are: each one file with one `Probe`, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.records import Question
from compact_bench.core.registry import Registry

if TYPE_CHECKING:
    import pandas as pd

    from compact_bench.students.student import Student

Need = Literal["passages", "validation", "steps", "truth"]


@dataclass(frozen=True)
class Measure:
    """One number of a probe, as a column of a table shows it: its mean over seeds, with an interval.

    Attributes:
        name: column name.
        title: how it is headed, with its unit.
        source: where a record has it ("probes.weight_change").
        items_source: where the record has its per-item values, over which the interval resamples too, or "".
        weights_source: where the record has the items' weights in the mean, or "".
        unit: how it is written: "nats", "ratio", "share" (in [0, 1]), "steps", "tokens", "seconds"; of any
            other unit four digits are shown.
    """

    name: str
    title: str
    source: str
    items_source: str = ""
    weights_source: str = ""
    unit: str = "ratio"


@dataclass(frozen=True)
class ProbeInputs:
    """What a run gives its probes; they change nothing of it.

    Attributes:
        student: trained, with merged weights; the base itself where nothing was trained.
        base: before training.
        validation: held-out questions, as the student is asked them; empty unless needed.
        passages: neutral texts; empty unless needed.
        training: the training questions; empty unless the steps table or the truth is needed.
        steps: the run's steps table, where it is needed and the method left one.
    """

    student: Student
    base: Student
    validation: Sequence[Question] = ()
    passages: Sequence[str] = ()
    training: Sequence[Question] = ()
    steps: pd.DataFrame | None = None


@dataclass(frozen=True)
class Probe:
    """A read-only measurement of a trained student. A record keeps its result under the probe's name.

    Attributes:
        measure: gives the result: a number, or a dataclass or mapping of plain data. It is kept for other
            runs with the same weights and inputs, unless it needs "steps".
        measures: the numbers of it that a table or a summary can show.
        needs: what it reads besides the students. Without passages or validation questions it is left out;
            "steps" leaves it out where nothing was trained, "truth" where the suite does not know which
            rationales are right.
        in_trials: whether it judges trials of tuning, which read no benchmark, too.
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
        "truth": "compact_bench.evaluation.probes.truth:TRUTH",
    },
    "a Probe",
    lambda found: isinstance(found, Probe),
)
"""In the order in which a run measures."""


def all_measures(*, in_trials: bool = False) -> list[Measure]:
    """Measures of every probe that can be imported.

    Args:
        in_trials: only of the probes that judge trials of tuning.
    """
    found: list[Measure] = []
    for name in PROBES.sources():
        try:
            probe = PROBES.get(name)
        except ConfigError:
            continue
        found += probe.measures if probe.in_trials or not in_trials else ()
    return found


def find_measure(probe: str, name: str) -> Measure:
    """One measure of a probe.

    Raises:
        UnknownNameError: there is no such probe, or no such measure of it.
        ConfigError: the probe cannot be imported.
    """
    known = {measure.name: measure for measure in PROBES.get(probe).measures}
    if name not in known:
        raise UnknownNameError(f"measure of probe {probe!r}", name, known)
    return known[name]
