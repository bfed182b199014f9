"""How small a difference could have been detected."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ALPHA = 0.05
POWER = 0.8


DRAWS = 20_000
"""Quantiles of the variance over which the power of a t test is averaged; the fourth digit is exact."""


@lru_cache(maxsize=1024)
def standard_errors(df: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The true difference, in standard errors, that a two-sided t test at `alpha` finds with `power`.

    By the noncentral t distribution with `df` degrees of freedom; where the libraries have no value for a
    large shift (their solver then stops beside the root), as a mean over the estimated variance.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, norm, t
    from statsmodels.stats.power import ttest_power

    spread = np.sqrt(chi2.ppf((np.arange(DRAWS) + 0.5) / DRAWS, df) / df)
    bound = float(t.isf(alpha / 2, df))

    def lacking(shift: float) -> float:
        known = float(ttest_power(shift / (df + 1) ** 0.5, df + 1, alpha))
        if np.isfinite(known):
            return known - power
        found = norm.sf(bound * spread - shift) + norm.cdf(-bound * spread - shift)
        return float(found.mean()) - power

    high = bound
    while lacking(high) < 0:
        high *= 2
    return float(brentq(lacking, 0.0, high))
