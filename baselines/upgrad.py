"""UPGrad over teachers: each teacher's gradient is projected to where no teacher's loss rises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compact_bench import FitReport, MethodCard, Question, RunContext, Student, SupervisedConfig, train

from ._teacher_gradients import OURS, TeacherGradients


@dataclass(frozen=True)
class UPGradRule:
    """Mean over k of the projection of g_k on {d: g_j d >= 0 for all j}."""

    def weights(self, gramian: Tensor, seed: int) -> Tensor:
        """Weights of the gradients, each at least 1/K."""
        from torchjd.aggregation import UPGradWeighting
        from torchjd.linalg import DualConeProjector

        class LeastSquares(DualConeProjector):
            """Where the library asks for a solver."""

            def __call__(self, U: Tensor, G: Tensor) -> Tensor:
                return projection_weights(U, G)

        weights: Tensor = UPGradWeighting(projector=LeastSquares())(gramian)
        return weights


def projection_weights(vectors: Tensor, gramian: Tensor) -> Tensor:
    """Weights v of the projections sum_j v_j g_j of vectors u = sum_j u_j g_j on {d: g_j d >= 0 for all j}.

    Args:
        vectors: Float[Tensor, "vectors teachers"], the weights u of each.
        gramian: Float[Tensor, "teachers teachers"], inner products of the gradients.

    Returns:
        Float[Tensor, "vectors teachers"].

    Source: Proposition 1 of arXiv 2406.16232: v = argmin v' G v over v >= u. With G = R'R and v = u + t this
    is |R t + R u| over t >= 0, non-negative least squares.
    """
    from scipy.optimize import nnls

    values, axes = torch.linalg.eigh(gramian)
    # Rounding leaves eigenvalues just below 0 where gradients are linearly dependent.
    root = values.clamp(min=0.0).sqrt()[:, None] * axes.T
    added = [torch.from_numpy(nnls(root.numpy(), -(root @ u).numpy())[0]) for u in vectors]
    return vectors + torch.stack(added)


@dataclass(frozen=True)
class UPGrad:
    """d = mean_k of the projections of g_k."""

    config: SupervisedConfig
    config_type = SupervisedConfig
    card = MethodCard(
        title="UPGrad over teachers: unconflicting projection of gradients",
        source="arXiv 2406.16232 (Eq. 3, Proposition 1), as in torchjd 0.18.0 (UPGradWeighting)",
        deviations=(
            "the quadratic program is solved as non-negative least squares (scipy), without torchjd's 1e-4 "
            "on the diagonal: its example [[-4, 1, 1], [6, 1, 1]] gives (0.2924, 1.9006, 1.9006) here and "
            "(0.2929, 1.9004, 1.9004) there",
        ),
        ours=(
            *OURS,
            "the source's tasks are teachers here; whether their rationales conflict enough is unknown",
        ),
        reproduction="no reference",
        short="UPGrad",
        needs=("rationales",),
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Combine the teachers' gradients by the rule, once per optimiser step."""
        rule = UPGradRule()
        return train(student, questions, TeacherGradients.of("upgrad", rule, self.config, context), context)


METHOD = UPGrad
