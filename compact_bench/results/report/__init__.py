"""Reports written from run records: RESULTS.md, its pages of details, CSV and LaTeX."""

from __future__ import annotations

from compact_bench.results.report.writer import (
    ReportFacts,
    WrittenResults,
    render_details,
    render_results,
    write_results,
)

__all__ = ["ReportFacts", "WrittenResults", "render_details", "render_results", "write_results"]
