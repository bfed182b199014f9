"""Static teacher weights, learnt in a pilot by how far each teacher's gradient lowers a validation loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from compact_bench import (
    EncodedBranch,
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    Rate,
    RunContext,
    StepLoss,
    Student,
    SupervisedConfig,
    TrainingPart,
    answer_branches,
    branch_hidden,
    derive_seed,
    inner_branches,
    label_values,
    made_once,
    restore,
    schedule_steps,
    train,
    trained_weights,
)

from ._before_training import held_out
from ._teacher_gradients import TeacherGradients, inner_products
from ._weighing import moved, parameter_per_teacher

WEIGHTS_FILE = "learned_weights.json"
"""What the pilot found, in the run's folder."""
_COUNTS = ("optimiser_steps", "branches", "supervised_tokens", "total_tokens", "seconds")


class LearnedWeightsConfig(SupervisedConfig):
    """Settings of learned weights.

    Attributes:
        pilot_share: optimiser steps of the pilot, as a share of the schedule's.
        weight_rate: learning rate of phi (per AdamW step, about what one moves).
        validation_batch: validation questions per step of the pilot.
    """

    pilot_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    weight_rate: Rate = 0.05
    validation_batch: Annotated[int, Field(ge=1)] = 4


def weight_slopes(phi: Tensor, alignments: Tensor) -> Tensor:
    """Slope of the validation loss by phi, per unit of the learning rate of theta.

    One step theta - eta * sum_k a_k g_k with a = softmax(phi) changes the validation loss, to first order, by
    -eta * sum_k a_k (g_k v).

    Args:
        phi: Float[Tensor, "teachers"].
        alignments: Float[Tensor, "teachers"], inner products g_k v with the validation gradient.

    Returns:
        Float[Tensor, "teachers"], -a_j (g_j v - sum_k a_k g_k v).
    """
    weights = torch.softmax(phi, dim=0)
    return -weights * (alignments - (weights * alignments).sum())


@dataclass
class GivenWeights:
    """A rule that combines gradients by given weights, Float[Tensor, "teachers"] of the step's teachers."""

    by_position: Tensor = field(repr=False)

    def weights(self, gramian: Tensor, seed: int) -> Tensor:
        """The weights."""
        return self.by_position


@dataclass
class PilotObjective:
    """Trains phi beside a student that learns sum_k softmax(phi)_k L_k.

    Attributes:
        rate: learning rate of phi.
        batch: validation questions per step.
        parameters: teacher -> phi * train.learning_rate / rate, which the loop trains.
    """

    inner: TeacherGradients
    validation: Sequence[Question] = field(repr=False)
    rate: float
    batch: int
    parameters: dict[str, nn.Parameter] = field(repr=False)
    _student: Student | None = field(default=None, init=False, repr=False)
    _chosen: list[EncodedQuestion] = field(default_factory=list, init=False, repr=False)
    _step: int = field(default=0, init=False, repr=False)

    encode = inner_branches

    def phi(self, teachers: Sequence[str]) -> Tensor:
        """Float[Tensor, "teachers"], float64, without gradient."""
        factor = self.rate / self.inner.train.learning_rate
        return torch.stack([moved(self.parameters[t], factor).detach().double().cpu() for t in teachers])

    def begin_step(self, step: int, total: int) -> None:
        """Draw anew the validation questions, by the step alone."""
        self._step, self._chosen = step, []
        self.inner.begin_step(step, total)

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """As the inner objective's; the first pass of a step counts what validation reads."""
        self._student, first = student, not self._chosen
        if first:
            self._chosen = [answer_branches(student, question) for question in self._drawn()]
        step_loss = self.inner.loss(student, batch)
        return replace(step_loss, seen=(*batch, *self._chosen)) if first else step_loss

    def add_gradients(self, step_loss: StepLoss, share: float, parameters: Sequence[nn.Parameter]) -> None:
        """Of the student's parameters only."""
        self.inner.add_gradients(step_loss, share, self._of_student(parameters))

    def combine_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Slopes of phi, and the student's gradient by the weights as they were."""
        assert self._student is not None
        of_student = self._of_student(parameters)
        gradients = self.inner.collected()
        teachers = list(gradients)
        products = inner_products([*gradients.values(), self._validation_gradient(self._student, of_student)])
        norms = products.diagonal().sqrt()
        # In units that do not change while losses and gradients shrink.
        size = (norms[:-1].mean() * norms[-1]).clamp(min=torch.finfo(norms.dtype).tiny)
        phi = self.phi(teachers)
        slopes = weight_slopes(phi, products[:-1, -1] / size)
        assert isinstance(self.inner.rule, GivenWeights)
        self.inner.rule.by_position = torch.softmax(phi, dim=0)
        self.inner.combine_gradients(of_student)
        by_teacher = dict(zip(teachers, slopes.tolist(), strict=True))
        for teacher, parameter in self.parameters.items():
            parameter.grad = torch.full_like(parameter, by_teacher.get(teacher, 0.0))

    def _of_student(self, parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
        of_weights = {id(parameter) for parameter in self.parameters.values()}
        return [parameter for parameter in parameters if id(parameter) not in of_weights]

    def _drawn(self) -> list[Question]:
        axis = f"validation {self._step}"
        order = sorted(self.validation, key=lambda q: (derive_seed(self.inner.seed, f"{axis}/{q.id}"), q.id))
        return order[: self.batch]

    def _validation_gradient(self, student: Student, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        training = student.model.training
        student.model.eval()
        try:
            loss = self.validation_loss(student)
            return list(torch.autograd.grad(loss, list(parameters), materialize_grads=True))
        finally:
            student.model.train(training)

    def validation_loss(self, student: Student) -> Tensor:
        """Nats per gold-answer token of the step's validation questions, as the probe `answer_nats` has them.

        Mean of after the question and, where there is a right rationale, after rationales.
        """
        states = branch_hidden(student, self._chosen, self.inner.train.layout)
        means = []
        for question, of_branches in zip(self._chosen, states, strict=True):
            first, *rest = (
                self._span_nats(student, branch, state)
                for branch, state in zip(question.branches, of_branches, strict=True)
            )
            means.append((first + torch.stack(rest).mean()) / 2 if rest else first)
        return torch.stack(means).mean()

    def _span_nats(self, student: Student, branch: EncodedBranch, state: Tensor) -> Tensor:
        # State j predicts the rationale's token j.
        rows = [place - branch.prompt_tokens for place in branch.answer_positions]
        labels = torch.tensor(branch.answer_ids, device=state.device)
        return label_values(student, state[rows], labels).losses.mean()


@dataclass(frozen=True)
class LearnedWeights:
    """L = sum_k a_k L_SFT,k with a fixed a = softmax(phi) that a pilot has learnt on validation data."""

    config: LearnedWeightsConfig
    config_type = LearnedWeightsConfig
    card = MethodCard(
        title="Static teacher weights learnt on validation data in a pilot",
        short="Learned weights",
        source="none; a first-order hypergradient (one look-ahead step of SGD) on softmax weights",
        ours=(
            "phi is not trained on the training loss sum_k a_k L_k: its slope there is a_j (L_j - sum_k a_k "
            "L_k), which drives all weight to the teacher with the lowest loss, right or wrong",
            "the pilot trains a student on sum_k a_k L_k while AdamW raises phi_k with the inner product of "
            "teacher k's gradient and the gradient of validation nats; that student is thrown away",
            "validation loss: nats per gold-answer token, after the question and after right held-out "
            "rationales (right: its answer is the gold one), as in the validation of tables",
            "the run then trains from the start with fixed weights, over the teachers that a question has, a "
            "teacher's in equal parts over its rationales",
            "half the schedule for the pilot, four validation questions a step and phi's rate of 0.05 are "
            "untuned choices",
        ),
        uses_gold=True,
        reproduction="no reference",
        needs=("rationales", "validation questions with gold answers"),
        extra_steps="a pilot of half the schedule's steps (pilot_share), with validation questions in each",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Learn the weights in a pilot, unless the run's folder has them; then train from the start."""
        path = context.directory / WEIGHTS_FILE
        learned = made_once(path, context.seed, lambda: self._pilot(student, questions, context))
        weights = {q.id: _shares(learned["weights"], q) for q in questions}
        objective = self.config.objective(context, weights=weights)
        report = train(student, questions, objective, context)
        return replace(
            report,
            **{name: getattr(report, name) + learned["pilot"][name] for name in _COUNTS},
            extra={**report.extra, "learned_weights": learned["weights"], "pilot": learned["pilot"]},
        )

    def _pilot(
        self, student: Student, questions: Sequence[Question], context: RunContext
    ) -> dict[str, dict[str, Any]]:
        """The weights, and what they cost; the student is then as it was."""
        config, validation = self.config, held_out(context, "learned_weights", "to learn weights on")
        parameters = parameter_per_teacher(questions, student)
        start = trained_weights(student.model)
        inner = TeacherGradients.of("learned weights", GivenWeights(torch.empty(0)), config, context)
        pilot = PilotObjective(inner, validation, config.weight_rate, config.validation_batch, parameters)
        steps = max(1, round(config.pilot_share * schedule_steps(context.settings.train, len(questions))))
        named = context.labelled("pilot", pilot=True)
        report = train(student, questions, pilot, named, TrainingPart("pilot", 0, steps))
        restore(student.model, start)
        weights = torch.softmax(pilot.phi(list(parameters)), dim=0).tolist()
        counts = {name: getattr(report, name) for name in _COUNTS}
        return {"weights": dict(zip(parameters, weights, strict=True)), "pilot": counts}


def _shares(weights: Mapping[str, float], question: Question) -> dict[str, float]:
    """Name of a rationale -> weight: a teacher's over those of the teachers present, in equal parts."""
    several = Counter(rationale.teacher for rationale in question.rationales)
    total = sum(weights[teacher] for teacher in several)
    return {r.name: weights[r.teacher] / total / several[r.teacher] for r in question.rationales}


METHOD = LearnedWeights
