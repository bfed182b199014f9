"""Between the loop and a method: objectives, the loss of a step, the run's context, the report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from compact_bench.core.records import Question
from compact_bench.core.settings import RunSettings, TrainSettings

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from compact_bench.students.student import Student
    from compact_bench.training.branches import EncodedQuestion
    from compact_bench.training.required import RequiredRun


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
        used, offered: of an objective that chooses among its questions' rationales, how many it took and of
            how many; both 0 where it takes all.
    """

    loss: Tensor
    rows: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    seen: tuple[EncodedQuestion, ...] | None = None
    used: int = 0
    offered: int = 0


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
    """An objective that needs to know its place in the schedule."""

    def begin_step(self, step: int, total: int) -> None:
        """Called before every optimiser step.

        Args:
            step: from 0; after a resume, the step that is really next.
            total: steps of the whole schedule.
        """
        ...


@runtime_checkable
class CombinesGradients(Protocol):
    """An objective that builds a step's gradient itself, from several losses."""

    def add_gradients(self, step_loss: StepLoss, share: float, parameters: Sequence[nn.Parameter]) -> None:
        """Accumulate the gradients of one forward pass of a step.

        Args:
            step_loss: what `loss` returned for it.
            share: the pass's share of the step, by which its losses are multiplied.
            parameters: those that are trained.
        """
        ...

    def combine_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Write the step's gradient into `.grad` of every parameter and drop what was accumulated."""
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


@runtime_checkable
class MakesOptimiser(Protocol):
    """An objective that is trained with an optimiser other than AdamW.

    It must be a dataclass whose fields say which: they are part of a checkpoint's identity.
    """

    def make_optimiser(self, groups: Sequence[dict[str, Any]], settings: TrainSettings) -> Optimizer:
        """Build the optimiser over parameter groups: the student's, and the objective's own without decay."""
        ...


@runtime_checkable
class SchedulesRate(Protocol):
    """An objective with a schedule other than linear warm-up and a constant rate."""

    # The name is long on purpose: objectives have fields called `rate`, which are no schedules.
    def learning_rate_at(self, settings: TrainSettings, step: int, total: int) -> float:
        """Learning rate at a step (from 0) of the whole schedule; a function of these alone, for a resume."""
        ...


@runtime_checkable
class OrdersQuestions(Protocol):
    """An objective that says itself which questions an epoch trains on, in which order."""

    def question_order(self, question_ids: Sequence[str], epoch: int, seed: int) -> Sequence[int]:
        """Places of an epoch's questions, as many as there are: some may come twice and others not at all.

        A function of these alone, for a resume; the number of steps stays the schedule's.

        Args:
            question_ids: of every training question, in the loop's order.
            epoch: from 0.
            seed: of the axis "data" of the run.
        """
        ...


def derive_seed(seed: int, axis: str) -> int:
    """Seed of one named axis ("data", "init", "dropout"), so that methods share draws.

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
        required: field of the method's configuration -> the run that it names (`RequiredMethod`).
    """

    directory: Path
    settings: RunSettings
    seed: int
    log: Callable[[Mapping[str, Any]], None] = lambda metrics: None
    on_progress: Callable[[int, int, str], None] = lambda done, total, text: None
    validation: tuple[Question, ...] = ()
    required: Mapping[str, RequiredRun] = field(default_factory=dict)

    def seed_for(self, axis: str) -> int:
        """Seed of one named axis, of this run."""
        return derive_seed(self.seed, axis)

    def with_train(self, **changes: Any) -> RunContext:
        """The same run with other settings of the loop ("learning_rate", "epochs")."""
        train = self.settings.train.model_copy(update=changes)
        return replace(self, settings=self.settings.model_copy(update={"train": train}))

    def labelled(self, label: str, **metrics: Any) -> RunContext:
        """The same run, with `label` before its progress texts and `metrics` in every log entry."""
        return replace(
            self,
            log=lambda values: self.log({**metrics, **values}),
            on_progress=lambda done, total, text: self.on_progress(done, total, f"{label}, {text}"),
        )


@dataclass(frozen=True)
class FitReport:
    """What training did. An untrained method returns `FitReport()`.

    Attributes:
        optimiser_steps: updates made.
        branches: branches seen, over all epochs.
        used, offered: of a method that chooses among rationales, how many it took and of how many, over all
            epochs; both 0 of another.
        supervised_tokens: label tokens seen.
        total_tokens: tokens of all branches as separate rows, without padding.
        seconds: wall-clock time in the loop, over all of its processes' lives.
        final_loss: mean loss of the last epoch, or None.
        extra: anything else worth recording.
        prompt_prefix: text before every question when the trained student is evaluated; "" for none.
    """

    optimiser_steps: int = 0
    branches: int = 0
    used: int = 0
    offered: int = 0
    supervised_tokens: int = 0
    total_tokens: int = 0
    seconds: float = 0.0
    final_loss: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    prompt_prefix: str = ""
