"""Numbers per teacher that learn at a rate of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compact_bench import Question, Student


def parameter_per_teacher(questions: Sequence[Question], student: Student) -> dict[str, nn.Parameter]:
    """Teacher -> a number that starts at 0, on the student's device, in the order of names."""
    teachers = sorted({teacher for question in questions for teacher in question.teachers})
    return {teacher: nn.Parameter(torch.zeros((), device=student.device)) for teacher in teachers}


def moved(parameter: nn.Parameter, factor: float) -> Tensor:
    """factor * parameter, with the gradient of the parameter itself.

    An optimiser whose steps do not depend on the gradient's size (AdamW) so moves the product `factor` times
    as fast as everything else that it trains, while clipping sees a gradient of the usual size.

    Args:
        parameter: what the optimiser moves.
        factor: how much faster the product moves.
    """
    return (factor * parameter).detach() + parameter - parameter.detach()
