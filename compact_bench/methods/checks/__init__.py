"""The public contract suite: what every method must pass, in plain words and without a GPU or a network.

from compact_bench import check_method
assert all(result.passed for result in check_method("my_method"))
"""

from __future__ import annotations

from compact_bench.methods.checks.contract import CHECKS, check_method
from compact_bench.methods.checks.results import CheckResult

__all__ = ["CHECKS", "CheckResult", "check_method"]
