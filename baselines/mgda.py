"""MGDA over teachers: the shortest convex combination of their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from compact_bench import FitReport, MethodCard, Question, Rate, RunContext, Student, SupervisedConfig, train

from ._teacher_gradients import OURS, TeacherGradients


class MGDAConfig(SupervisedConfig):
    """Settings of MGDA.

    Attributes:
        solver_step: the Frank-Wolfe solver stops when its step along the simplex is shorter.
        solver_iterations: most iterations of the solver.
    """

    solver_step: Rate = 1e-3
    solver_iterations: Annotated[int, Field(ge=1)] = 100


@dataclass(frozen=True)
class MGDARule:
    """a = argmin over the simplex of |sum_k a_k g_k|^2."""

    solver_step: float
    solver_iterations: int

    def weights(self, gramian: Tensor, seed: int) -> Tensor:
        """Frank-Wolfe on the inner products; the weights sum to 1."""
        from torchjd.aggregation import MGDAWeighting

        weights: Tensor = MGDAWeighting(self.solver_step, self.solver_iterations)(gramian)
        return weights


@dataclass(frozen=True)
class MGDA:
    """d = sum_k a_k g_k of least norm, a on the simplex."""

    config: MGDAConfig
    config_type = MGDAConfig
    card = MethodCard(
        title="MGDA over teachers: the shortest convex combination of gradients",
        source="Desideri 2012 (Comptes Rendus Mathematique 350); solver: Algorithm 2 of Sener and Koltun "
        "2018, as in torchjd 0.18.0 (MGDAWeighting)",
        ours=(
            *OURS,
            "the sources' tasks are teachers here; whether their rationales conflict enough is unknown",
            "the solver's limits are the library's",
        ),
        reproduction="no reference",
        short="MGDA",
        needs=("rationales",),
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Combine the teachers' gradients by the rule, once per optimiser step."""
        rule = MGDARule(self.config.solver_step, self.config.solver_iterations)
        return train(student, questions, TeacherGradients.of("mgda", rule, self.config, context), context)


METHOD = MGDA
