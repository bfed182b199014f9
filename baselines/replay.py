"""Uniform distillation with replay: turns that the student wrote before training are mixed in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field

from compact_bench import (
    EncodedQuestion,
    FitReport,
    MethodCard,
    NonNegative,
    Question,
    Rate,
    RunContext,
    StepLoss,
    Student,
    SupervisedConfig,
    SupervisedObjective,
    derive_seed,
    inner_branches,
    train,
)

from ._own_turns import TurnSettings, own_turns


class ReplayConfig(SupervisedConfig):
    """Settings of replay; `sft_reduction` is of turns too.

    Attributes:
        ratio: replayed turns per training question; 0 is uniform weighting itself.
        turns: how many turns the student writes before training.
        temperature: at which it writes them.
        question_tokens: longest question it writes.
        answer_tokens: longest answer it writes.
    """

    ratio: NonNegative = 0.125
    turns: Annotated[int, Field(ge=1)] = 48
    temperature: Rate = 1.0
    question_tokens: Annotated[int, Field(ge=1)] = 64
    answer_tokens: Annotated[int, Field(ge=1)] = 128


@dataclass
class ReplayObjective:
    """(sum of questions' losses + sum of replayed turns' losses) / ((1 + ratio) * questions).

    Attributes:
        ratio: expected number of turns per question.
        seed: of the draws, which depend on it, the step and the question only.
        mark: fingerprint of the turns.
    """

    inner: SupervisedObjective
    ratio: float
    seed: int
    mark: str
    turns: Sequence[EncodedQuestion] = field(repr=False)
    _step: int = field(default=0, init=False, repr=False)

    encode = inner_branches

    def begin_step(self, step: int, total: int) -> None:
        """Keep the step, on which draws depend."""
        self._step = step

    def drawn(self, question_id: str) -> list[EncodedQuestion]:
        """The turns that go with a question in this step: `ratio` of them on average."""
        axis = f"{self._step}/{question_id}"
        part, whole = math.modf(self.ratio)
        count = int(whole) + (derive_seed(self.seed, axis) / 2**31 < part)
        return [self.turns[derive_seed(self.seed, f"{axis}/{n}") % len(self.turns)] for n in range(count)]

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """One forward pass over the questions and their turns."""
        replayed = [turn for question in batch for turn in self.drawn(question.question_id)]
        both = (*batch, *replayed)
        step_loss = self.inner.loss(student, both)
        of_questions = sum(len(question.branches) for question in batch)
        losses = [row["supervised_loss"] for row in step_loss.rows[of_questions:]]
        metrics = {"replayed_turns_per_question": len(replayed) / len(batch)}
        if self.ratio:
            metrics["replay_loss"] = sum(losses) / (self.ratio * len(batch))
        factor = len(both) / ((1.0 + self.ratio) * len(batch))
        return StepLoss(step_loss.loss * factor, step_loss.rows[:of_questions], metrics, both)


@dataclass(frozen=True)
class Replay:
    """Uniform distillation, with the untrained student's own turns beside the questions of every step."""

    config: ReplayConfig
    config_type = ReplayConfig
    card = MethodCard(
        title="Uniform distillation + replay of turns that the student wrote before training",
        short="Self-generated replay",
        source="replay beside each batch, averaged with it: experience replay as in mammoth at e75a491 "
        "(er.py); turns drawn from the chat template's opening of a user turn: the idea of Magpie, arXiv "
        "2406.08464. That student-generated replay nearly removes forgetting is reported of arXiv 2605.26097 "
        "by third parties; its text was not at hand",
        deviations=(
            "experience replay keeps examples of earlier training; a student's are not to be had, so it "
            "writes turns itself",
            "Magpie filters what it draws; here every turn with a question and an answer is taken",
        ),
        ours=(
            "a turn for every eighth question, chosen by generated answers to validation questions of the "
            "lab (decision 25); 48 turns at temperature 1; no source states a ratio",
            "turns are written once and kept in the run's folder; which of them go with a question is drawn "
            "anew in every step",
            "the loss of a step is the mean over questions and turns (their expected number), a turn's being "
            "that of a single rationale",
        ),
        reproduction="no reference",
        needs=("rationales",),
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Let the student write its turns, then train on questions and turns."""
        config, inner = self.config, self.config.objective(context)
        if not config.ratio:
            return train(student, questions, inner, context)
        context.on_progress(0, 1, f"the student writes {config.turns} turns to replay")
        turns = own_turns(
            student,
            TurnSettings(config.turns, config.temperature, config.question_tokens, config.answer_tokens),
            context.seed_for("own turns"),
            context.directory / "own_turns.json",
            context.settings.train.max_length_tokens,
        )
        seed = context.seed_for("replay")
        objective = ReplayObjective(inner, config.ratio, seed, turns.fingerprint, turns.encoded)
        report = train(student, questions, objective, context)
        return replace(report, extra={**report.extra, "own_turns": turns.fingerprint})


METHOD = Replay
