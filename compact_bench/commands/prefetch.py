"""Fetch what runs need, and count what of it is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compact_bench.data.files.sources import Sources
from compact_bench.data.suites import load_spec, suite_names
from compact_bench.data.suites.loading import suite_files
from compact_bench.runs.session import Request, Session


def prefetch_all(request: Request) -> Iterator[str]:
    """Fetch a suite's files into the cache or check them in the mirror, then fetch the student.

    Yields:
        One line per thing that is now at hand.

    Raises:
        DataError, StudentError: something cannot be fetched; every missing file is listed.
    """
    from compact_bench.students.student import resolve_student

    session = Session(request)
    refs = suite_files(session.spec, request.teachers)
    origins = Sources(request.cache, request.mirror, request.offline).fetch_all(refs)
    for ref in refs:
        yield f"{ref.repo} {ref.path}: {origins[ref]}"
    yield f"student {session.student_name}: {resolve_student(session.student_name)}"


def suite_file_counts(cache: Path, mirror: Path | None) -> dict[str, tuple[int, int]]:
    """For every packaged suite, how many of its upstream files are at hand, and how many there are."""
    sources = Sources(cache, mirror, offline=True)
    counts = {}
    for name in suite_names():
        refs = suite_files(load_spec(name))
        counts[name] = (sum(sources.at_hand(ref) for ref in refs), len(refs))
    return counts
