"""Plugins are named by what brings them, also where its metadata are broken."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from compact_bench.core.registry import installed_entry_points, plugins


def test_a_package_without_metadata_is_named_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "nameless-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[compact_bench.test_origin]\nodd = nowhere_at_all:thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    installed_entry_points.cache_clear()
    (source,) = plugins("compact_bench.test_origin")
    installed_entry_points.cache_clear()
    assert source.origin == "nowhere_at_all:thing"
