"""What results depend on beside settings and data: the version of the code that computes them."""

from __future__ import annotations

__all__ = ["RESULTS_VERSION"]

RESULTS_VERSION = 2
"""Raised by hand whenever a code change can move a result; every run then counts as missing again."""
