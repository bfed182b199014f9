"""A window into one question: scores, weights and losses, as one training step would compute them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import ValidationError

from compact_bench.core.errors import ConfigError, DataError, Fault
from compact_bench.core.records import Question
from compact_bench.core.settings import TrainSettings, describe_validation_error
from compact_bench.methods.compact.objective import PaperObjective, QuestionResult, WeightingConfig
from compact_bench.methods.compact.released import ReleasedObjective
from compact_bench.methods.compact.scores import centralities, consensus_graph
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedQuestion
from compact_bench.training.loss.forward import branch_hidden


@dataclass(frozen=True)
class ExplainReport:
    """What one step computes of one question. Lists have one entry per rationale, in order.

    Attributes:
        variant: "paper" or "released".
        teachers: names; "ada#2" is the second of several rationales of ada.
        adaptability: S_MI in nats, before z-scoring.
        consensus: S_cons, weighted in-degree.
        difficulty: S_PPL, nats per token.
        teacher_weights: alpha.
        supervised_losses: L_SFT,k.
        consistency_loss: the weighted symmetric KL, before lambda.
        loss: what one training step minimises.
        tokens: per teacher, the text of the tokens that adaptability sums over.
        information_gain: per teacher, dI at these tokens, nats.
        consensus_attention: A, row i attends to column j.
        centralities: teacher -> centralities of the consensus graph.
    """

    variant: Literal["paper", "released"]
    teachers: list[str]
    adaptability: list[float]
    consensus: list[float]
    difficulty: list[float]
    teacher_weights: list[float]
    supervised_losses: list[float]
    consistency_loss: float
    loss: float
    tokens: list[list[str]]
    information_gain: list[list[float]]
    consensus_attention: list[list[float]]
    centralities: dict[str, dict[str, float]]


def explain(
    student: Student,
    question: Question,
    *,
    variant: Literal["paper", "released"] = "paper",
    config: WeightingConfig | Mapping[str, Any] | None = None,
    backward: bool = False,
    max_length_tokens: int = 2560,
    layout: Literal["auto", "packed", "padded"] = "auto",
) -> ExplainReport:
    """Compute scores, weights and losses of one question, with dropout off.

    Args:
        student: the student, with or without adapters; its mode is left as it was.
        question: with at least one rationale.
        variant: "paper", or "released" for the authors' code on the raw texts.
        config: COMPACT's settings, or a mapping of those that differ from the defaults.
        backward: whether to leave the loss's gradients on the student's parameters; older gradients are
            dropped first.
        max_length_tokens: longest row; "paper" refuses longer ones, "released" cuts them.
        layout: how the forward pass runs; the numbers are the same.

    Raises:
        ConfigError: the variant or a setting is unknown.
        DataError: the question has no rationale or one that is empty or too long.
    """
    if variant not in ("paper", "released"):
        raise ConfigError(f"variant: expected 'paper' or 'released', got {variant!r}.")
    if not question.rationales:
        raise DataError(
            "nothing to explain",
            [Fault(question.source or f"question {question.id!r}", "it has no rationale", question.id)],
            mend="give the question at least one rationale.",
        )
    try:
        settings = config if isinstance(config, WeightingConfig) else WeightingConfig(**dict(config or {}))
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, "config")) from None
    training = student.model.training
    student.model.eval()
    try:
        with torch.set_grad_enabled(backward):
            encoded, result = _compute(student, question, variant, settings, max_length_tokens, layout)
        if backward:
            student.model.zero_grad(set_to_none=True)
            torch.autograd.backward(result.loss)
    finally:
        student.model.train(training)
    return _report(student, variant, encoded, result)


def _compute(
    student: Student,
    question: Question,
    variant: str,
    config: WeightingConfig,
    longest: int,
    layout: Literal["auto", "packed", "padded"],
) -> tuple[EncodedQuestion, QuestionResult]:
    train = TrainSettings(max_length_tokens=longest, layout=layout)
    if variant == "released":
        released = ReleasedObjective.for_student(student, config, train)
        encoded = released.encode(student, question)
        return encoded, released.question(student, encoded)
    objective = PaperObjective.for_student(student, config, train)
    encoded = objective.encode(student, question)
    states = branch_hidden(student, [encoded], layout)[0]
    return encoded, objective.question(student, encoded, states)


def _report(
    student: Student, variant: Literal["paper", "released"], encoded: EncodedQuestion, result: QuestionResult
) -> ExplainReport:
    tokens: list[list[str]] = []
    gains: list[list[float]] = []
    for k, branch in enumerate(encoded.branches):
        if encoded.padded is not None:
            ids = encoded.padded.input_ids[k].tolist()
        else:
            ids = list(branch.input_ids[branch.prompt_tokens :][: branch.rationale_tokens])
        tokens.append([student.tokenizer.decode([i]) for i in ids])
        gains.append(result.gains[k].detach().tolist()[: len(ids)])
    names = [b.name for b in encoded.branches]
    return ExplainReport(
        variant=variant,
        teachers=names,
        adaptability=result.adaptability.detach().tolist(),
        consensus=result.consensus.detach().tolist(),
        difficulty=result.difficulty.detach().tolist(),
        teacher_weights=result.weights.detach().tolist(),
        supervised_losses=result.supervised.detach().tolist(),
        consistency_loss=float(result.consistency.detach()),
        loss=float(result.loss.detach()),
        tokens=tokens,
        information_gain=gains,
        consensus_attention=result.attention.detach().tolist(),
        centralities=centralities(consensus_graph(result.attention, names)),
    )
