"""Numbers that learn at a rate of their own."""

from __future__ import annotations

from torch import Tensor, nn


def moved(parameter: nn.Parameter, factor: float) -> Tensor:
    """factor * parameter, with the gradient of the parameter itself.

    An optimiser whose steps do not depend on the gradient's size (AdamW) so moves the product `factor` times
    as fast as everything else that it trains, while clipping sees a gradient of the usual size.

    Args:
        parameter: what the optimiser moves.
        factor: how much faster the product moves.
    """
    return (factor * parameter).detach() + parameter - parameter.detach()
