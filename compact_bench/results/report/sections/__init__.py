"""Sections of RESULTS.md: what the data support, truth, teachers, tuning, provenance.

A section gets tables and records and returns lines; it computes no statistics of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compact_bench.core.records import RunRecord
from compact_bench.results.tables.build import Table


@dataclass(frozen=True)
class ReportSection:
    """What the report says of one probe beyond the columns of tables.

    Attributes:
        name: of its page; figures with this `section` stand under it.
        title, page_title: its heading; the link to its page.
        render: (tables, records, label of a row -> its title) -> lines of RESULTS.md, more lines of the
            page; both empty where nothing was measured.
    """

    name: str
    title: str
    page_title: str
    render: Callable[[Sequence[Table], Sequence[RunRecord], Mapping[str, str]], tuple[list[str], list[str]]]
