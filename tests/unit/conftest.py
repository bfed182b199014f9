"""Fixtures that several unit tests share; a file's own of the same name goes before them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_suite import write_tiny_suite


@pytest.fixture
def suite(student_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny suite, with cache and store in the test's own folder, which is the working folder."""
    monkeypatch.setenv("COMPACT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COMPACT_BENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COMPACT_BENCH_RESULTS", str(tmp_path))
    monkeypatch.setenv("COMPACT_BENCH_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return write_tiny_suite(tmp_path / "suite", str(student_folder()))
