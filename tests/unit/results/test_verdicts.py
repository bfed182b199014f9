"""Verdicts and families: which words a difference gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from compact_bench.results.statistics.contrasts import Contrast
from compact_bench.results.statistics.families import corrected_p_values
from compact_bench.results.statistics.samples import Sample
from compact_bench.results.statistics.verdicts import can_show, verdict


def found(estimate: float, half: float) -> Contrast:
    ends = estimate - half, estimate + half, estimate - 0.8 * half, estimate + 0.8 * half
    return Contrast(estimate, half / 2, 10.0, *ends, p_value=0.5, seeds=5, items=100)


@pytest.mark.parametrize(
    ("estimate", "half", "p_corrected", "margin", "expected"),
    [
        (0.1, 0.02, 0.01, 0.05, "above"),
        (-0.1, 0.02, 0.01, 0.05, "below"),
        (0.01, 0.005, 0.01, 0.05, "above"),
        (0.1, 0.02, 0.05, 0.05, "inconclusive"),
        (0.01, 0.04, 0.6, 0.05, "equivalent"),
        (0.01, 0.06, 0.6, 0.05, "inconclusive"),
        (0.01, 0.04, 0.6, None, "inconclusive"),
        (0.1, 0.02, None, None, "inconclusive"),
    ],
)
def test_verdicts(
    estimate: float, half: float, p_corrected: float | None, margin: float | None, expected: str
) -> None:
    assert verdict(found(estimate, half), p_corrected, margin) == expected
    assert verdict(found(estimate, half), p_corrected, margin, can_show=False) == "cannot show"
    assert verdict(None, p_corrected, margin, can_show=False) == "no verdict"


def test_a_group_at_its_ceiling_cannot_show() -> None:
    def row(share: float) -> Sample:
        return Sample({"a": np.array([[1.0] * int(100 * share) + [0.0] * (100 - int(100 * share))])})

    assert not can_show([row(0.99), row(1.0), row(0.96)], 0.05)
    assert can_show([row(0.99), row(1.0), row(0.9)], 0.05)
    assert can_show([row(0.99)], 0.05) and can_show([], 0.05), "nothing is known"


def test_holm_and_benjamini_hochberg_by_hand() -> None:
    values = [0.01, 0.04, 0.03, 0.005]
    assert corrected_p_values(values, "Holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert corrected_p_values(values, "Benjamini-Hochberg") == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert corrected_p_values([0.5, 0.9], "Holm") == pytest.approx([1.0, 1.0])
    assert corrected_p_values([], "Holm") == []


@settings(max_examples=12, deadline=None)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=10))
def test_corrections_never_lower_and_keep_the_order(values: list[float]) -> None:
    for correction, method in (("Holm", "holm"), ("Benjamini-Hochberg", "fdr_bh")):
        corrected = corrected_p_values(values, correction)  # type: ignore[arg-type]
        assert corrected == pytest.approx(list(multipletests(values, method=method)[1]))
        assert all(c >= v - 1e-12 for c, v in zip(corrected, values, strict=True))
        assert all(c <= min(1.0, len(values) * v) + 1e-9 for c, v in zip(corrected, values, strict=True))
        order = np.argsort(values, kind="stable")
        assert (np.diff(np.array(corrected)[order]) >= -1e-12).all()
