"""MGDA over teachers: the shortest convex combination of their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from compact_bench import (
    FitReport,
    MethodCard,
    Question,
    Rate,
    RunContext,
    Strict,
    Student,
    SuiteInfo,
    train,
)

from ._teacher_gradients import OURS, TeacherGradients


class MGDAConfig(Strict):
    """Settings of MGDA.

    Attributes:
        solver_step: the Frank-Wolfe solver stops when its step along the simplex is shorter.
        solver_iterations: most iterations of the solver.
        sft_reduction: "mean" or "sum" over a rationale's supervised tokens.
    """

    solver_step: Rate = 1e-3
    solver_iterations: Annotated[int, Field(ge=1)] = 100
    sft_reduction: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True)
class MGDARule:
    """a = argmin over the simplex of |sum_k a_k g_k|^2.

    Attributes:
        solver_step, solver_iterations: when the solver stops.
    """

    solver_step: float
    solver_iterations: int

    def weights(self, gramian: Tensor, seed: int) -> Tensor:
        """Weights of the gradients, which sum to 1."""
        from torchjd.aggregation import MGDAWeighting

        found: Tensor = MGDAWeighting(self.solver_step, self.solver_iterations)(gramian)
        return found


class MGDA:
    """d = sum_k a_k g_k of least norm, a on the simplex."""

    card: ClassVar[MethodCard] = MethodCard(
        title="MGDA over teachers: the shortest convex combination of gradients",
        source="Desideri 2012 (Comptes Rendus Mathematique 350); solver: Algorithm 2 of Sener and Koltun "
        "2018, as in torchjd 0.18.0 (MGDAWeighting)",
        ours=(
            *OURS,
            "the sources' tasks are teachers here; whether their rationales conflict enough is unknown",
            "the solver's limits are the library's",
        ),
        min_teachers=1,
        reproduction="no reference",
        short="MGDA",
        needs=("rationales",),
    )
    config_type: ClassVar[type[Strict]] = MGDAConfig

    def __init__(self, config: MGDAConfig) -> None:
        self.config = config

    def supports(self, suite: SuiteInfo) -> str | None:
        """Runs everywhere."""
        return None

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train `student` in place."""
        rule = MGDARule(self.config.solver_step, self.config.solver_iterations)
        seed = context.seed_for("mgda")
        objective = TeacherGradients(context.settings.train, rule, seed, self.config.sft_reduction)
        return train(student, questions, objective, context)


METHOD = MGDA
