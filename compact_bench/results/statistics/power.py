"""How small a difference could have been detected."""

from __future__ import annotations

from functools import lru_cache

ALPHA = 0.05
POWER = 0.8


@lru_cache(maxsize=1024)
def standard_errors(df: float, alpha: float = ALPHA, power: float = POWER) -> float:
    """The true difference, in standard errors, that a two-sided t test at `alpha` finds with `power`.

    By the noncentral t distribution with `df` degrees of freedom.
    """
    from statsmodels.stats.power import TTestPower

    # With df + 1 observations the test has df degrees of freedom, and its effect is the noncentrality over
    # the root of the observations.
    effect = TTestPower().solve_power(nobs=df + 1, alpha=alpha, power=power, alternative="two-sided")
    return float(effect * (df + 1) ** 0.5)
