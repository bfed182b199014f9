"""The optimiser and its schedule: what is updated, at which rate, for how many steps."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from compact_bench.core.settings import TrainSettings
from compact_bench.training.protocol import MakesOptimiser, Objective


def build_optimiser(
    trained: Mapping[str, nn.Parameter],
    owned: Mapping[str, nn.Parameter],
    settings: TrainSettings,
    objective: Objective,
) -> torch.optim.Optimizer:
    """Over the student's parameters and, without weight decay, an objective's own, if any.

    AdamW, unless the objective makes another.
    """
    groups = [{"params": list(trained.values()), "weight_decay": settings.weight_decay}]
    if owned:
        groups.append({"params": list(owned.values()), "weight_decay": 0.0})
    if isinstance(objective, MakesOptimiser):
        return objective.make_optimiser(groups, settings)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)


def scheduled_rate(settings: TrainSettings, step: int) -> float:
    """Learning rate after `step` optimiser steps: linear warm-up, then constant. A function of the step
    alone.
    """
    return settings.learning_rate * min(1.0, (step + 1) / (settings.warmup_steps + 1))


def schedule_steps(settings: TrainSettings, questions: int) -> int:
    """Optimiser steps of the whole schedule, every method's budget."""
    return settings.epochs * math.ceil(questions / (settings.questions_per_step * settings.accumulation))
