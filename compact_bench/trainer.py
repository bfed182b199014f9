"""The contract between a method and the rest of the suite.

A method is a small class with a `card`, a `config_type` and one required verb, `fit`. It holds no
framework code: `loop.train` owns optimiser, accumulation, clipping, budget, logging and checkpoints. The
usual method hands the loop an `Objective` (which branches, what loss); a method that merges models calls
the loop once per teacher; `zero_shot` returns an empty report.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from compact_bench.records import Question
from compact_bench.settings import RunSettings, Strict

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compact_bench.branches import EncodedQuestion
    from compact_bench.students import Student

__all__ = [
    "Claim",
    "CombinesGradients",
    "FitReport",
    "Method",
    "MethodCard",
    "Objective",
    "OwnsParameters",
    "RunContext",
    "StepAware",
    "StepLoss",
    "SuiteInfo",
    "derive_seed",
]

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


@dataclass
class StepLoss:
    """The loss of one forward pass over some questions.

    Attributes:
        loss: scalar, what is minimised.
        rows: one dictionary per question and teacher (question_id, teacher, teacher_weight,
            supervised_loss, and the scores where there are any), kept as the steps table.
        metrics: scalars for the log.
        seen: the questions with the branches that were really computed, for the counts of branches and
            tokens; None where that is every branch of the batch.
    """

    loss: Tensor
    rows: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    seen: tuple[EncodedQuestion, ...] | None = None


class Objective(Protocol):
    """What the loop needs from a method: branches of a question, and the loss of a few questions."""

    def encode(self, student: Student, question: Question) -> EncodedQuestion:
        """Tokens, labels and spans of the branches that this method trains on."""
        ...

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """One forward pass; no backward."""
        ...


@runtime_checkable
class StepAware(Protocol):
    """An objective that wants to know where in the schedule it is."""

    def begin_step(self, step: int, total: int) -> None:
        """Called before every optimiser step.

        Args:
            step: from 0; after a resume, the step that is really next.
            total: steps of the whole schedule.
        """
        ...


@runtime_checkable
class CombinesGradients(Protocol):
    """An objective that makes the gradient of a step itself, of several losses, instead of one backward."""

    def add_gradients(self, found: StepLoss, share: float, parameters: Sequence[nn.Parameter]) -> None:
        """Take in one forward pass of a step.

        Args:
            found: what `loss` returned.
            share: the pass's share of the step, by which its losses are multiplied.
            parameters: those that are trained.
        """
        ...

    def settle_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Write the step's gradient into `.grad` of every parameter and forget what was taken in."""
        ...


@runtime_checkable
class OwnsParameters(Protocol):
    """An objective with parameters of its own, trained and kept in checkpoints beside the student's.

    Attributes:
        parameters: by name; they get no weight decay.
    """

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        """By name; they get no weight decay."""
        ...


def derive_seed(seed: int, axis: str) -> int:
    """Seed of one named axis ("data", "init", "dropout"), so that methods share the axes they should.

    Args:
        seed: the run's seed.
        axis: name of the axis.

    Returns:
        A non-negative integer below 2**31.
    """
    digest = hashlib.sha256(f"{seed}/{axis}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 2**31


@dataclass(frozen=True)
class RunContext:
    """What a run gives its method.

    Attributes:
        directory: where the run may write; the loop keeps checkpoints and tables here.
        settings: the resolved settings.
        seed: the run's seed; use `seed_for`.
        log: called with a dictionary of metrics after every optimiser step.
        on_progress: called with (done, total, text) for the progress display.
        validation: held-out questions to choose by; no method may train on them.
    """

    directory: Path
    settings: RunSettings
    seed: int
    log: Callable[[Mapping[str, Any]], None] = lambda metrics: None
    on_progress: Callable[[int, int, str], None] = lambda done, total, text: None
    validation: tuple[Question, ...] = ()

    def seed_for(self, axis: str) -> int:
        """Seed of one named axis."""
        return derive_seed(self.seed, axis)


@dataclass(frozen=True)
class FitReport:
    """What training did. An untrained method returns `FitReport()`.

    Attributes:
        optimiser_steps: updates made.
        branches: branches seen, over all epochs.
        supervised_tokens: label tokens seen.
        total_tokens: tokens of all branches as separate rows, without padding.
        seconds: wall-clock time in the loop, over all of its processes' lives.
        final_loss: mean loss of the last epoch, or None.
        extra: anything else worth recording.
        prompt_prefix: what stands before every question that the trained student is asked, "" for nothing.
    """

    optimiser_steps: int = 0
    branches: int = 0
    supervised_tokens: int = 0
    total_tokens: int = 0
    seconds: float = 0.0
    final_loss: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    prompt_prefix: str = ""


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
