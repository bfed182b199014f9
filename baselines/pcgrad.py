"""PCGrad over teachers: each teacher's gradient loses what opposes another teacher's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compact_bench import FitReport, MethodCard, Question, RunContext, Student, SupervisedConfig, train

from ._teacher_gradients import OURS, TeacherGradients


class PCGradConfig(SupervisedConfig):
    """Settings of PCGrad.

    Attributes:
        divide_by_teachers: divide the sum of the projected gradients by their number, so that teachers who
            agree give the uniform gradient; the source sums.
    """

    divide_by_teachers: bool = True


@dataclass(frozen=True)
class PCGradRule:
    """For each k, over j != k in random order: where g'_k g_j < 0, g'_k -= (g'_k g_j / |g_j|^2) g_j."""

    divide_by_teachers: bool

    def weights(self, gramian: Tensor, seed: int) -> Tensor:
        """Weights of the gradients; `seed` decides the orders."""
        from torchjd.aggregation import PCGradWeighting

        # The library draws its orders from the global generator of the CPU.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            weights = PCGradWeighting()(gramian)
        return weights / len(gramian) if self.divide_by_teachers else weights


@dataclass(frozen=True)
class PCGrad:
    """d = sum_k g'_k / K."""

    config: PCGradConfig
    config_type = PCGradConfig
    card = MethodCard(
        title="PCGrad over teachers: conflicting gradients are projected",
        source="arXiv 2001.06782, Algorithm 1, as in torchjd 0.18.0 (PCGradWeighting)",
        deviations=(
            "the sum over teachers is divided by K, so that clipping sees gradients of the same size as for "
            "the other methods; divide_by_teachers=false gives the source's sum",
        ),
        ours=(
            *OURS,
            "the source's tasks are teachers here; whether their rationales conflict enough is unknown",
            "the random orders depend on the run's seed and the step, over teachers sorted by name",
        ),
        reproduction="no reference",
        short="PCGrad",
        needs=("rationales",),
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Combine the teachers' gradients by the rule, once per optimiser step."""
        rule = PCGradRule(self.config.divide_by_teachers)
        return train(student, questions, TeacherGradients.of("pcgrad", rule, self.config, context), context)


METHOD = PCGrad
