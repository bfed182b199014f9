"""One gradient per teacher and step, combined by a rule that weighs them by their inner products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from compact_bench import (
    EncodedQuestion,
    NumericalError,
    Reduction,
    RunContext,
    StepLoss,
    Student,
    SupervisedConfig,
    TrainSettings,
    all_branches,
    branch_losses,
    branch_rows,
    derive_seed,
    keep_teachers,
)

OURS = (
    "one objective per teacher: the mean over the step's questions of its rationales' token-mean losses (of "
    "several for one question their mean); a teacher that has none for a question adds nothing, one that has "
    "none in the whole step no gradient",
    "gradients are those of a whole optimiser step (accumulated), by all trained parameters together, before "
    "clipping; with adapters by A and B",
    "`teacher_weight` in the steps table is a teacher's share of the gradients' weights, which need not sum "
    "to 1, in equal parts over its rationales for a question; `gradient_weight` is the weight itself",
    "gradients are computed one teacher after another, each through its own rationales only, so that no part "
    "of the graph is walked twice; K gradients of all trained parameters are kept in memory",
)
"""What every method that uses this file does of its own."""


class GradientRule(Protocol):
    """How the gradients of a step are weighed. A frozen dataclass: its repr is part of a run's identity."""

    def weights(self, gramian: Tensor, seed: int) -> Tensor:
        """Weights w of d = sum_k w_k g_k.

        Args:
            gramian: Float[Tensor, "teachers teachers"], inner products of the gradients, divided by the mean
                of their squared norms; float64, on the CPU, teachers in the order of their names.
            seed: differs from step to step.

        Returns:
            Float[Tensor, "teachers"], none below 0.
        """
        ...


@dataclass
class TeacherLosses(StepLoss):
    """The losses of one forward pass, also by teacher.

    Attributes:
        by_teacher: teacher -> sum over questions of its rationales' mean loss, over the number of questions.
    """

    by_teacher: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class TeacherGradients:
    """Per-teacher losses whose gradients a rule combines, once per optimiser step.

    Attributes:
        train: the loop's settings.
        rule: how the gradients are weighed.
        seed: the run's seed of the rule's random choices.
        reduction: "mean" or "sum" over a branch's tokens.
    """

    train: TrainSettings
    rule: GradientRule
    seed: int
    reduction: Reduction = "mean"
    _step: int = field(default=0, init=False, repr=False)
    _passes: list[TeacherLosses] = field(default_factory=list, init=False, repr=False)
    _gradients: dict[str, list[Tensor]] = field(default_factory=dict, init=False, repr=False)

    encode = all_branches

    @classmethod
    def of(
        cls, axis: str, rule: GradientRule, config: SupervisedConfig, context: RunContext
    ) -> TeacherGradients:
        """The objective of a run.

        Args:
            axis: name of the seed of the rule's random choices.
            rule: how the gradients are weighed.
            config: the reduction.
            context: the loop's settings and the run's seed.
        """
        return cls(context.settings.train, rule, context.seed_for(axis), config.sft_reduction)

    def begin_step(self, step: int, total: int) -> None:
        """Remember the step and forget one that was broken off."""
        self._step = step
        self._passes, self._gradients = [], {}

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> TeacherLosses:
        """The uniform loss, and each teacher's own, from one forward pass per teacher."""
        losses: dict[tuple[str, str], Tensor] = {}
        by_teacher: dict[str, Tensor] = {}
        teachers = sorted({b.teacher for q in batch for b in q.branches})
        for teacher in teachers:
            questions = [q for q in (keep_teachers(q, [teacher]) for q in batch) if q.branches]
            of_questions = branch_losses(student, questions, self.train, self.reduction)
            losses |= {
                (q.question_id, branch.name): loss
                for q, of_question in zip(questions, of_questions, strict=True)
                for branch, loss in zip(q.branches, of_question, strict=True)
            }
            means = [torch.stack(of_question).mean() for of_question in of_questions]
            by_teacher[teacher] = torch.stack(means).sum() / len(batch)
        in_order = [[losses[q.question_id, b.name] for b in q.branches] for q in batch]
        loss = torch.stack([torch.stack(of_question).mean() for of_question in in_order]).mean()
        return TeacherLosses(loss, branch_rows(batch, in_order), by_teacher=by_teacher)

    def add_gradients(self, step_loss: StepLoss, share: float, parameters: Sequence[nn.Parameter]) -> None:
        """Add every teacher's gradient of this pass to its gradient of the step."""
        assert isinstance(step_loss, TeacherLosses)
        self._passes.append(step_loss)
        for teacher, loss in step_loss.by_teacher.items():
            # The graphs of teachers are separate, and each is needed just once.
            new = torch.autograd.grad(loss * share, list(parameters), materialize_grads=True)
            if teacher not in self._gradients:
                self._gradients[teacher] = list(new)
                continue
            for total, gradient in zip(self._gradients[teacher], new, strict=True):
                total += gradient

    def collected(self) -> dict[str, list[Tensor]]:
        """Teacher -> its gradient of the step so far, in pieces, in the order of names."""
        return {teacher: self._gradients[teacher] for teacher in sorted(self._gradients)}

    def combine_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Weigh the teachers' gradients and complete the rows of the step with the weights.

        Raises:
            NumericalError: a gradient is not finite, or too large to be squared.
        """
        teachers, gradients = list(self.collected()), list(self.collected().values())
        products = inner_products(gradients)
        if not torch.isfinite(products).all():
            raise NumericalError(
                f"step {self._step + 1}: expected finite inner products of the gradients of "
                f"{', '.join(teachers)}, got {products.tolist()}. Lower train.learning_rate."
            )
        size = products.diagonal().mean()
        seed = derive_seed(self.seed, f"step {self._step}")
        weights = self.rule.weights(products / size.clamp(min=torch.finfo(size.dtype).tiny), seed)
        for parameter, *of_teachers in zip(parameters, *gradients, strict=True):
            combined = torch.zeros_like(of_teachers[0])
            for weight, gradient in zip(weights.tolist(), of_teachers, strict=True):
                combined.add_(gradient, alpha=weight)
            parameter.grad = combined
        total = float(weights.sum())
        by_teacher = dict(zip(teachers, weights.tolist(), strict=True))
        # The loop reads rows and metrics after this, so that what is only known now can still enter them.
        for step_loss in self._passes:
            step_loss.metrics |= {"gradient_weights_sum": total, **conflicts(products)}
            several = Counter((row["question_id"], row["teacher"]) for row in step_loss.rows)
            for row in step_loss.rows:
                weight = by_teacher[row["teacher"]]
                row["gradient_weight"] = weight
                share = weight / total if total > 0 else 0.0
                row["teacher_weight"] = share / several[row["question_id"], row["teacher"]]
        self._passes, self._gradients = [], {}


def inner_products(gradients: Sequence[Sequence[Tensor]]) -> Tensor:
    """Inner products of gradients that lie in pieces, Float[Tensor, "gradients gradients"], float64, CPU.

    Args:
        gradients: of every gradient its pieces, one per parameter, in the same order.
    """
    products = torch.zeros(len(gradients), len(gradients), dtype=torch.float64)
    for pieces in zip(*gradients, strict=True):
        rows = torch.stack([piece.flatten() for piece in pieces])
        rows = rows.float() if rows.element_size() < 4 else rows
        products += (rows @ rows.T).double().cpu()
    return products


def conflicts(products: Tensor) -> dict[str, float]:
    """How far gradients oppose each other: share of pairs with a negative product, smallest cosine.

    Args:
        products: Float[Tensor, "gradients gradients"]; one gradient has no pairs and gives nothing.
    """
    if len(products) < 2:
        return {}
    norms = products.diagonal().sqrt()
    lengths = (norms[:, None] * norms[None, :]).clamp(min=torch.finfo(products.dtype).tiny)
    pairs = torch.triu(torch.ones_like(products, dtype=torch.bool), diagonal=1)
    return {
        "conflict_share": float((products[pairs] < 0).double().mean()),
        "smallest_gradient_cosine": float((products / lengths)[pairs].min()),
    }
