"""AE-KD over teachers: MGDA whose weights may not exceed a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from compact_bench import (
    FitReport,
    MethodCard,
    NumericalError,
    Question,
    RunContext,
    Student,
    SupervisedConfig,
    train,
)

from ._teacher_gradients import OURS, TeacherGradients


class AEKDConfig(SupervisedConfig):
    """Settings of AE-KD.

    Attributes:
        largest_weight: C, the most that one teacher may weigh, in (0, 1]: 1 is MGDA, 1/K or less the mean.
    """

    largest_weight: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6


@dataclass(frozen=True)
class AEKDRule:
    """a = argmin |sum_k a_k g_k|^2 over a_k in [0, C] that sum to 1.

    Attributes:
        largest_weight: C; where K * C < 1 no such weights exist, and all are 1/K.
    """

    largest_weight: float

    def weights(self, gramian: Tensor, seed: int) -> Tensor:
        """Weights of the gradients, which sum to 1.

        Raises:
            NumericalError: the solver finds no minimum.
        """
        from scipy.optimize import minimize

        count = len(gramian)
        equal = torch.full((count,), 1.0 / count, dtype=gramian.dtype)
        if self.largest_weight * count <= 1.0:
            return equal
        products = gramian.numpy()
        solution = minimize(
            lambda a: float(a @ products @ a),
            equal.numpy(),
            jac=lambda a: 2.0 * products @ a,
            method="SLSQP",
            bounds=[(0.0, self.largest_weight)] * count,
            constraints={"type": "eq", "fun": lambda a: a.sum() - 1.0, "jac": lambda a: a * 0.0 + 1.0},
            options={"ftol": 1e-12, "maxiter": 200},
        )
        if not solution.success:
            raise NumericalError(
                f"AE-KD: expected weights of {count} gradients, the solver says: {solution.message}. "
                f"The gradients' inner products are {products.tolist()}."
            )
        weights = torch.from_numpy(solution.x).clamp(0.0, self.largest_weight)
        return weights / weights.sum()


@dataclass(frozen=True)
class AEKD:
    """d = sum_k a_k g_k of least norm, a on the simplex and at most C."""

    config: AEKDConfig
    config_type = AEKDConfig
    card = MethodCard(
        title="AE-KD over teachers: the shortest combination of gradients with bounded weights",
        short="AE-KD (bounded MGDA)",
        source="Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space (NeurIPS "
        "2020), known from its code only: AnTuo1998/AE-KD at 68f490e",
        deviations=(
            "the source takes gradients at the student's logits, which image classifiers share; texts of "
            "different teachers share no logits, so these are gradients of the trained parameters",
            "the source solves it as a one-class support vector machine with nu = 1/(C*K), which has the "
            "same solution; here SLSQP of scipy",
            "the source weighs distillation 0.9 against 0.1 of the label's loss at temperature 4; rationales "
            "are all the supervision here, and have no temperature",
        ),
        ours=OURS,
        needs=("rationales",),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Combine the teachers' gradients by the rule, once per optimiser step."""
        rule = AEKDRule(self.config.largest_weight)
        return train(student, questions, TeacherGradients.of("ae_kd", rule, self.config, context), context)


METHOD = AEKD
