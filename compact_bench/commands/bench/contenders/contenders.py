"""What is measured: one forward and backward pass over the same questions, each in its own way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from compact_bench.commands.bench.contenders.reference_step import reference_loss
from compact_bench.commands.bench.contenders.work import Work, encode_all
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.settings import TrainSettings
from compact_bench.methods.compact.objective import PaperObjective, WeightingConfig
from compact_bench.methods.compact.released import ReleasedObjective
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedQuestion
from compact_bench.training.objectives import SupervisedObjective
from compact_bench.training.protocol import Objective

Rows = Literal["packed", "rows", "released"]
"""Which products a contender's useful work consists of; see `flops`."""


@dataclass(frozen=True)
class Pass:
    """A contender's forward and backward pass over all questions of a step.

    Attributes:
        run: makes it; returns the loss and leaves gradients.
        sample: the loss of one question, where the pass is made as training here makes it: with all that
            makes steps fast. None for the others, which are measured without anything of it.
    """

    run: Callable[[], float]
    sample: Callable[[], Tensor] | None = None


@dataclass(frozen=True)
class Contender:
    """One way to compute a step.

    Attributes:
        rows: what its useful floating-point operations are.
        make: its pass for a student, the work and the settings.
        checkpointed: whether activations are recomputed in the backward pass.
    """

    name: str
    title: str
    rows: Rows
    make: Callable[[Student, Work, StepSettings], Pass]
    checkpointed: bool = False


def choose_contenders(names: Sequence[str]) -> tuple[Contender, ...]:
    """Contenders by name, each once, in the order given.

    Raises:
        UnknownNameError: there is none of that name; near matches are named.
    """
    for name in names:
        if name not in CONTENDERS:
            raise UnknownNameError("contender", name, CONTENDERS)
    return tuple(CONTENDERS[name] for name in dict.fromkeys(names))


def _together(student: Student, objective: Objective, work: Work) -> Pass:
    """All questions in one forward pass, as one step of training computes them."""
    encoded = [objective.encode(student, question) for question in work.questions]

    def run() -> float:
        loss = objective.loss(student, encoded).loss
        loss.backward()
        return float(loss.detach())

    return Pass(run, partial(_loss_of_one, objective, student, encoded[0]))


def _one_by_one(losses: Sequence[Callable[[], Tensor]]) -> Callable[[], float]:
    """One question after the other, gradients accumulated: the released algorithm's step."""

    def run() -> float:
        total = 0.0
        for make in losses:
            loss = make() / len(losses)
            loss.backward()
            total += float(loss.detach())
        return total

    return run


def _ours(student: Student, work: Work, settings: StepSettings) -> Pass:
    return _together(student, PaperObjective.for_student(student, WeightingConfig(), settings.train), work)


def _uniform(student: Student, work: Work, settings: StepSettings) -> Pass:
    return _together(student, SupervisedObjective(settings.train), work)


def _loss_of_one(objective: Objective, student: Student, question: EncodedQuestion) -> Tensor:
    return objective.loss(student, [question]).loss


def _released_packed(student: Student, work: Work, settings: StepSettings) -> Pass:
    objective = ReleasedObjective.for_student(student, WeightingConfig(), settings.train)
    encoded = [objective.encode(student, question) for question in work.questions]
    losses = [partial(_loss_of_one, objective, student, question) for question in encoded]
    return Pass(_one_by_one(losses), losses[0])


def _released(student: Student, work: Work, settings: StepSettings) -> Pass:
    config = WeightingConfig()
    objective = ReleasedObjective.for_student(student, config, settings.train)
    if student.layout.softcap is not None or student.layout.fused:
        raise ConfigError(
            "contender 'released' is written for students with separate query and key projections and no "
            f"logit soft-capping, got one of type {student.layout.family}. Leave it out of --contenders."
        )
    rows = [objective.encode(student, question).padded for question in work.questions]
    losses = [partial(reference_loss, student, r, objective.thinking_ids, config) for r in rows]
    return Pass(_one_by_one(losses))


def _sft(student: Student, work: Work, settings: StepSettings) -> Pass:
    """Every rationale a plain row; transformers' own loss."""
    branches = [b for q in encode_all(student, work, settings.train.max_length_tokens) for b in q.branches]
    longest = max(len(b.input_ids) for b in branches)
    ids = torch.full((len(branches), longest), int(student.tokenizer.pad_token_id or 0))
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, branch in enumerate(branches):
        length = len(branch.input_ids)
        ids[i, :length] = torch.tensor(branch.input_ids)
        mask[i, :length] = 1
        labels[i, branch.prompt_tokens : length] = ids[i, branch.prompt_tokens : length]
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    batch = {name: tensor.to(student.device) for name, tensor in batch.items()}
    model: Any = student.model

    def run() -> float:
        with student.autocast():
            loss: Tensor = model(**batch, use_cache=False).loss
        loss.backward()
        return float(loss.detach())

    return Pass(run)


def padded_shapes(student: Student, work: Work, max_length_tokens: int) -> list[tuple[int, int]]:
    """Rows and width of the released algorithm's padded batch, per question; rows are cut to a length."""
    objective = ReleasedObjective.for_student(
        student, WeightingConfig(), TrainSettings(max_length_tokens=max_length_tokens)
    )
    shapes = [objective.encode(student, question).padded.input_ids.shape for question in work.questions]
    return [(int(rows), int(width)) for rows, width in shapes]


_ALL = (
    Contender("ours", "COMPACT, as it trains here", "packed", _ours),
    Contender("uniform", "uniform weights, as it trains here", "packed", _uniform),
    Contender("sft", "plain supervised rows", "rows", _sft),
    Contender("released", "released algorithm, plainly written", "released", _released),
    Contender("released_packed", "released algorithm, as it trains here", "released", _released_packed),
    Contender("ours_checkpointed", "COMPACT, activations recomputed", "packed", _ours, True),
    Contender(
        "released_checkpointed", "released algorithm, activations recomputed", "released", _released, True
    ),
)
CONTENDERS: dict[str, Contender] = {contender.name: contender for contender in _ALL}
