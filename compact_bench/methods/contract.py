"""What a method is: a card, a configuration and one verb, `fit`; and on which suites it can run.

A method holds no framework code: `train` owns optimiser, accumulation, clipping, budget, logging and
checkpoints. The usual method hands the loop an objective (see `training.protocol`: which branches, what
loss); a method that merges models calls `train` once per teacher; `zero_shot` returns an empty report.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import Field

from compact_bench.core.records import Question
from compact_bench.core.settings import Strict
from compact_bench.training.protocol import FitReport, RunContext

if TYPE_CHECKING:
    from compact_bench.students.student import Student

Reference = Literal["", "no reference"]
Statistic = Literal["mean", "seed_spread", "weight_on_easiest_teacher"]
SuiteData = Literal["truth", "pairs", "reviews", "feedback"]

SUITE_DATA: Mapping[SuiteData, str] = {
    "truth": "the truth about every rationale (whether it is really right)",
    "pairs": "pairs of a right and a wrong rationale on similar paths",
    "reviews": "every teacher's score for every other's rationale",
    "feedback": "the teachers' feedback on students' mistakes",
}
"""What only some suites have, and how a refusal says that it is missing."""

Gap = Literal["missing_teachers", "several_samples"]

GAPS: Mapping[Gap, str] = {
    "missing_teachers": "a rationale of every teacher for every question, and some questions lack one",
    "several_samples": "no more than one rationale of a teacher for a question, and some have several",
}
"""How a rationale set may be uneven, and how the refusal of a method that does not allow it goes on."""


class NoSettings(Strict):
    """Configuration of a method that has nothing to set."""


class _NamesARun:
    """Marks a field of a configuration whose value names a run that must be there first."""


RequiredMethod = Annotated[str, Field(min_length=1), _NamesARun()]
"""Type of a configuration's field that names a method, or a variant of one ("compact[no-consensus]"): its run
of the same seed, student, data and settings is made first, and `fit` finds it in `context.required`."""


def requiring_fields(config_type: type[Strict]) -> tuple[str, ...]:
    """Names of the fields of type `RequiredMethod`."""
    fields = config_type.model_fields.items()
    return tuple(name for name, info in fields if any(isinstance(m, _NamesARun) for m in info.metadata))


@dataclass(frozen=True)
class Claim:
    """What a method's source claims, as a comparison of two rows of a table.

    Attributes:
        text: the claim in one sentence.
        place: where the source makes it ("arXiv 2509.08814, abstract").
        against: the row it is compared with ("uniform", "single_teacher[best]", "zero_shot").
        group: column group whose mean is compared.
        expected: on which side of `against` the claim places the method.
        row: the row the claim is about; "" for the method's own.
        statistic: what is compared: the group's "mean"; its "seed_spread", the standard deviation of the mean
            over training seeds; or, whatever the group, "weight_on_easiest_teacher", the mean weight on the
            teacher whose rationales cost the student the fewest nats per token during training.
    """

    text: str
    place: str
    against: str
    group: str = "in_distribution"
    expected: Literal["above", "below"] = "above"
    row: str = ""
    statistic: Statistic = "mean"


@dataclass(frozen=True)
class MethodCard:
    """What a reader must know before believing a method's row.

    Attributes:
        title: one line.
        source: paper, section, equation, reference commit.
        deviations: where this code differs from its source, and why.
        ours: choices made here because the source is silent.
        uses_gold: whether training reads gold answers; it then runs only on suites that have them.
        requires: what else a suite must have for it: "truth", "pairs", "reviews", "feedback".
        allows: "missing_teachers" where it can train on questions for which some teachers have no rationale,
            "several_samples" where a teacher may have several for one question. A method that allows neither
            runs only where every question has exactly one rationale of every teacher.
        min_teachers: fewest teachers it works with; 0 for a method that does not train.
        reproduction: "no reference" where it has no source that claims anything; "" elsewhere. What runs say
            of `claims` is never written here: the reproduction page is made from them.
        short: name of its row in tables; "" for the title.
        needs: what it needs of every question, in words.
        extra_steps: "" where it never takes more optimiser steps than the schedule has (epochs times groups
            of questions); else what it spends beyond that, in one phrase.
        claims: what its source claims, where comparing rows can test it.
    """

    title: str
    source: str
    deviations: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    uses_gold: bool = False
    requires: tuple[SuiteData, ...] = ()
    allows: tuple[Gap, ...] = ()
    min_teachers: int = 1
    reproduction: Reference = ""
    short: str = ""
    needs: tuple[str, ...] = ()
    extra_steps: str = ""
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class SuiteInfo:
    """What a method may know of a suite before it runs: enough to say why it cannot.

    Attributes:
        name: the suite's name.
        teachers: names, in order.
        has_gold: whether questions have gold answers.
        has_truth: whether it is known of every rationale whether it is right.
        has_pairs: whether there are right and wrong rationales on similar paths.
        has_reviews: whether the teachers scored one another's rationales.
        has_feedback: whether the teachers wrote feedback on students' mistakes.
        missing_teachers: whether there are training questions for which some teacher has no rationale.
        several_samples: whether a teacher has several rationales for one training question.
        branches: teacher -> number of its rationales for training questions; empty where not known.
    """

    name: str
    teachers: tuple[str, ...]
    has_gold: bool = True
    has_truth: bool = False
    has_pairs: bool = False
    has_reviews: bool = False
    has_feedback: bool = False
    missing_teachers: bool = False
    several_samples: bool = False
    branches: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Method(Protocol):
    """A distillation method. The constructor only stores the configuration.

    The shortest way to write one is a frozen dataclass with the one field `config`. A class may also have

    - `variants`: named settings ("no-consensus": {"beta_consensus": 0.0}), which users and tables call
      "compact[no-consensus]";
    - `supports(suite)`: None, or why it cannot run on a suite, where the card cannot say it (see `refusal`);
    - `example_config`: values for the contract checks where the configuration has required fields.
    """

    # Properties to type checkers, so that a class may annotate them as class variables or not at all.
    @property
    def card(self) -> MethodCard:
        """What a reader must know; an attribute of the class."""
        ...

    @property
    def config_type(self) -> type[Strict]:
        """Its configuration's class; an attribute of the class."""
        ...

    def __init__(self, config: Any) -> None: ...

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place."""
        ...


METHOD_PARTS = ("card", "config_type", "fit")
"""What every method's class has."""


def refusal(method: Method, suite: SuiteInfo) -> str | None:
    """Why a method cannot run on a suite, or None where it can; the table's cell shows the reason.

    The card decides first (`min_teachers`, `uses_gold`, `allows`, `requires`), then the configuration, whose
    field `teacher` names a teacher of the suite where it is set, then `supports`, if the method has one.

    Args:
        method: with its configuration, as `make_method` makes it.
        suite: what is known of the suite before a run.
    """
    card, count = method.card, len(suite.teachers)
    if count < card.min_teachers:
        return f"it needs at least {card.min_teachers} teachers, the data have {count}"
    if card.uses_gold and not suite.has_gold:
        return "it needs gold answers, which the data lack"
    for gap, rest in GAPS.items():
        if getattr(suite, gap) and gap not in card.allows and card.min_teachers:
            return f"it needs {rest}"
    for data in card.requires:
        if not getattr(suite, f"has_{data}"):
            return f"it needs {SUITE_DATA[data]}, which the data lack"
    teacher = getattr(getattr(method, "config", None), "teacher", None)
    if isinstance(teacher, str) and teacher not in suite.teachers:
        return f"the data have no teacher {teacher!r}, only {', '.join(suite.teachers)}"
    supports: Callable[[SuiteInfo], str | None] | None = getattr(method, "supports", None)
    return supports(suite) if supports else None


def config_doc(config_type: type[Strict]) -> str:
    """Docstrings of a configuration and of those it extends, up to `Strict`."""
    kinds = [kind for kind in config_type.__mro__ if issubclass(kind, Strict) and kind is not Strict]
    return "\n\n".join(inspect.cleandoc(kind.__doc__ or "") for kind in kinds)
