"""Reports written from run records: RESULTS.md, its pages of details, CSV and LaTeX.

A section of the report is a file of `sections`; writers take numbers from tables and compute none.
"""

from compact_bench.results.report.writer import ReportFacts, WrittenResults, write_results

__all__ = ["ReportFacts", "WrittenResults", "write_results"]
