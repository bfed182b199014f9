"""Corrections over a family of tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

Correction = Literal["Holm", "Benjamini-Hochberg"]
"""Holm holds the chance of any false verdict in the family; Benjamini-Hochberg the share of false ones."""
_METHODS = dict(zip(get_args(Correction), ("holm", "fdr_bh"), strict=True))


def corrected_p_values(p_values: Sequence[float], correction: Correction) -> list[float]:
    """Corrected p values of one family, in the same order."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method=_METHODS[correction])[1]]
