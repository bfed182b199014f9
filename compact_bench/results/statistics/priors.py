"""Moderated variances over seeds: what few seeds of one row lack, the other rows lend.

Two to four seeds measure a variance badly, and a test that believes it calls equal methods different. The
variances of all rows are taken as draws from one distribution, whose centre and spread are estimated from
them; each is then drawn towards the centre, the more so the less they differ (empirical Bayes).

Source:
    Smyth (2004), doi 10.2202/1544-6115.1027, as `fitFDist` and `squeezeVar` of the R package limma.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compact_bench.results.statistics.samples import Sample

ENOUGH_SEEDS = 5
"""From so many seeds on, a row's own variance stands alone."""
FEWEST_ROWS = 3


@dataclass(frozen=True)
class SeedVariance:
    """A variance over seeds after moderation.

    Attributes:
        df: degrees of freedom, the prior's included.
        prior_df: those of the prior; infinite where the rows vary alike.
    """

    variance: float
    df: float
    prior_df: float


@dataclass(frozen=True)
class SeedPrior:
    """How the variances over seeds of a group's rows are distributed.

    Attributes:
        variance: the centre.
        df: how many degrees of freedom the centre is worth; infinite where the rows vary alike.
        pooled_df: degrees of freedom of all rows together, which no moderated variance exceeds.
    """

    variance: float
    df: float
    pooled_df: float

    def moderate(self, variance: float, df: float) -> SeedVariance:
        """One row's variance over seeds, drawn towards the centre."""
        if math.isinf(self.df):
            return SeedVariance(self.variance, self.pooled_df, self.df)
        moderated = (self.df * self.variance + df * variance) / (self.df + df)
        return SeedVariance(moderated, min(self.df + df, self.pooled_df), self.df)


def seed_prior(variances: Sequence[float], dfs: Sequence[float]) -> SeedPrior | None:
    """Fit the distribution of variances by the moments of their logarithms.

    The variances are those of rows, not of differences: rows are trained apart from one another, while all
    differences from one reference share its students and would look more alike than they are.

    Args:
        variances: of each trained row's values over seeds.
        dfs: degrees of freedom of each, at least 1.

    Returns:
        None with fewer than three rows that vary: then nothing is moderated.
    """
    from scipy.special import digamma, zeta

    found, df = np.array(variances, np.float64), np.array(dfs, np.float64)
    if np.count_nonzero(found > 0) < FEWEST_ROWS:
        return None
    # A row without any spread would otherwise make the logarithms' spread infinite; the floor is limma's.
    found = np.maximum(found, 1e-5 * np.median(found[found > 0]))
    logs = np.log(found) - digamma(df / 2) + np.log(df / 2)
    spread = float(logs.var(ddof=1) - zeta(2, df / 2).mean())
    pooled = float(df.sum())
    if spread <= 0:
        return SeedPrior(float(np.exp(logs.mean())), math.inf, pooled)
    half = _inverse_trigamma(spread)
    return SeedPrior(float(np.exp(logs.mean() + digamma(half) - np.log(half))), 2 * half, pooled)


def _inverse_trigamma(value: float) -> float:
    from scipy.optimize import brentq
    from scipy.special import zeta

    # The trigamma function is Hurwitz' zeta function at 2, which is quick to take.
    # 1/x < trigamma(x) < 1/x + 1/x^2 for x > 0, which brackets the root.
    low, high = 1 / value, (1 + math.sqrt(1 + 4 * value)) / (2 * value)
    return float(brentq(lambda x: zeta(2, x) - value, low, high, rtol=1e-12))


def moderated_variance(prior: SeedPrior, rows: Sequence[tuple[Sample, bool]]) -> SeedVariance | None:
    """The variance over seeds of the difference of two rows, each moderated; None below two seeds.

    The rows are taken as independent (seeds of two methods hardly move together: r = 0.06 measured), so that
    their variances add up. A row that was never trained has none.

    Args:
        rows: values of each row on the seeds and items compared, and whether it was trained.
    """
    parts = [
        prior.moderate(float(sample.seed_means.var(ddof=1)), sample.seeds - 1.0)
        for sample, trained in rows
        if trained and sample.seeds > 1
    ]
    return summed(prior, parts) if parts else None


def summed(prior: SeedPrior, parts: Sequence[SeedVariance]) -> SeedVariance:
    """The sum of rows' moderated variances, with Satterthwaite's degrees of freedom."""
    total = sum(part.variance for part in parts)
    return SeedVariance(total, total**2 / sum(part.variance**2 / part.df for part in parts), prior.df)
