"""How a quantity grows along an axis: a straight line through it, and the power that fits best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar, nnls

from compact_bench.core.settings import Strict

LEAST_FOR_LINE, LEAST_FOR_POWER = 3, 4
"""Points below which a line, or a constant with a power, fits whatever was measured."""
EXPONENTS = (0.1, 4.0)


class Fit(Strict):
    """Growth of measured values y along an axis x.

    Attributes:
        slope, intercept, r_squared: of the least-squares line through all points.
        exponent: p of the best c + a * x**p with c and a not negative, relative errors counted: 1 is linear
            growth above a constant part, 2 quadratic; None with fewer than four points.
        constant: c of the same; what does not grow.
    """

    slope: float
    intercept: float
    r_squared: float
    exponent: float | None
    constant: float | None


def fit_growth(x: Sequence[float], y: Sequence[float]) -> Fit | None:
    """Fit a line, and a power above a constant part, to positive x and y; None under three points."""
    if len(x) < LEAST_FOR_LINE:
        return None
    at, values = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    slope, intercept = np.polyfit(at, values, 1)
    around = float(((values - values.mean()) ** 2).sum())
    left = float(((values - slope * at - intercept) ** 2).sum())
    exponent = constant = None
    if len(x) >= LEAST_FOR_POWER:
        exponent = float(minimize_scalar(lambda p: _power(at, values, p)[1], bounds=EXPONENTS).x)
        constant = float(_power(at, values, exponent)[0][0])
    return Fit(
        slope=float(slope),
        intercept=float(intercept),
        # Values that are all alike lie on their line.
        r_squared=1.0 - left / around if around else 1.0,
        exponent=exponent,
        constant=constant,
    )


def _power(x: np.ndarray, y: np.ndarray, exponent: float) -> tuple[np.ndarray, float]:
    """Best c and a of c + a * x**exponent by relative errors, and the norm of these errors."""
    scale = x.max()
    columns = np.stack([np.ones_like(x), (x / scale) ** exponent], axis=1)
    coefficients, error = nnls(columns / y[:, None], np.ones_like(y))
    return coefficients, float(error)
