"""What a method is: a card, a configuration and one verb, `fit`; and what it may know of a suite.

A method holds no framework code: `loop.train` owns optimiser, accumulation, clipping, budget, logging and
checkpoints. The usual method hands the loop an objective (see `training.protocol`: which branches, what
loss); a method that merges models calls the loop once per teacher; `zero_shot` returns an empty report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from compact_bench.core.records import Question
from compact_bench.core.settings import Strict
from compact_bench.training.protocol import FitReport, RunContext

if TYPE_CHECKING:
    from compact_bench.students.student import Student

Reproduction = Literal["reproduced", "not reproduced", "untested", "no reference"]


@dataclass(frozen=True)
class Claim:
    """What a method's source claims, as a comparison of two rows of a table.

    Attributes:
        text: the claim in one sentence.
        place: where the source makes it ("arXiv 2509.08814, abstract").
        against: the row it is compared with ("uniform", "single_teacher[best]", "zero_shot").
        group: column group whose mean is compared.
        expected: on which side of `against` the method comes out by the claim.
        row: the row the claim is about; "" for the method's own.
    """

    text: str
    place: str
    against: str
    group: str = "in_distribution"
    expected: Literal["above", "below"] = "above"
    row: str = ""


@dataclass(frozen=True)
class MethodCard:
    """What a reader must know before believing a method's row.

    Attributes:
        title: one line.
        source: paper, section, equation, reference commit.
        deviations: where this code differs from its source, and why.
        ours: choices made here because the source is silent.
        uses_gold: whether training reads gold answers.
        min_teachers: fewest teachers it works with.
        reproduction: status against the source's own claims.
        short: name of its row in tables; "" for the title.
        needs: what it needs of every question, in words.
        extra_steps: "" where it never takes more optimiser steps than the schedule has (epochs times groups
            of questions); else what it spends more, in one phrase.
        claims: what its source claims, where that can be told by comparing rows.
    """

    title: str
    source: str
    deviations: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    uses_gold: bool = False
    min_teachers: int = 1
    reproduction: Reproduction = "untested"
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
        has_truth: whether it is known of every rationale if it is really right.
        has_pairs: whether there are right and wrong rationales on similar paths.
        has_reviews: whether the teachers scored one another's rationales.
        has_feedback: whether the teachers wrote feedback on students' mistakes.
    """

    name: str
    teachers: tuple[str, ...]
    has_gold: bool = True
    has_truth: bool = False
    has_pairs: bool = False
    has_reviews: bool = False
    has_feedback: bool = False


@runtime_checkable
class Method(Protocol):
    """A distillation method. The constructor only stores the configuration.

    A class may also have `variants`: registered settings of it by name ("no-consensus": {"beta_consensus":
    0.0}), which users and tables call "compact[no-consensus]".
    """

    card: ClassVar[MethodCard]
    config_type: ClassVar[type[Strict]]

    def __init__(self, config: Any) -> None: ...

    def supports(self, suite: SuiteInfo) -> str | None:
        """None, or the reason why this method cannot run there."""
        ...

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place."""
        ...
