"""CAGrad over teachers: near the mean gradient, the direction that is best for the worst-off teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from compact_bench import FitReport, MethodCard, Question, RunContext, Student, SupervisedConfig, train

from ._teacher_gradients import OURS, TeacherGradients


class CAGradConfig(SupervisedConfig):
    """Settings of CAGrad.

    Attributes:
        c: radius of the ball around the mean gradient, in units of its norm; 0 is the mean itself.
        rescale: divide the result by 1 + c^2.
    """

    c: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    rescale: bool = False


@dataclass(frozen=True)
class CAGradRule:
    """d = g_0 + c |g_0| g_w / |g_w|, w = argmin over the simplex of g_w g_0 + c |g_0| |g_w|, g_0 the mean."""

    c: float
    rescale: bool

    def weights(self, gramian: Tensor, seed: int) -> Tensor:
        """Weights of the gradients; all 0 where some convex combination of them vanishes."""
        from torchjd.aggregation import CAGradWeighting

        weights: Tensor = CAGradWeighting(self.c)(gramian)
        return weights / (1 + self.c**2) if self.rescale else weights


@dataclass(frozen=True)
class CAGrad:
    """d = g_0 + c |g_0| g_w / |g_w|."""

    config: CAGradConfig
    config_type = CAGradConfig
    card = MethodCard(
        title="CAGrad over teachers: conflict-averse gradients",
        source="arXiv 2110.14048, Algorithm 1, as in torchjd 0.18.0 (CAGradWeighting)",
        ours=(
            *OURS,
            "the source's tasks are teachers here; whether their rationales conflict enough is unknown",
            "c = 0.5 is the default of LibMTL at 4336804, which divides by 1 + c^2 afterwards; torchjd does "
            "not, and neither does this method unless rescale is set",
        ),
        reproduction="no reference",
        short="CAGrad",
        needs=("rationales",),
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Combine the teachers' gradients by the rule, once per optimiser step."""
        rule = CAGradRule(self.config.c, self.config.rescale)
        return train(student, questions, TeacherGradients.of("cagrad", rule, self.config, context), context)


METHOD = CAGrad
