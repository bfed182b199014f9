"""Where things are kept: the cache, the store, the mirror; every one can be set by the user."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Downloads and converted students: `COMPACT_BENCH_CACHE`, or the platform's user cache folder."""
    return Path(os.environ.get("COMPACT_BENCH_CACHE") or platformdirs.user_cache_dir("compact_bench"))


def store_dir() -> Path:
    """Runs and evaluations: `COMPACT_BENCH_STORE`, or `compact_bench_store` in the working folder."""
    return Path(os.environ.get("COMPACT_BENCH_STORE") or "compact_bench_store")


def results_dir(store: Path) -> Path:
    """Tables and figures: `COMPACT_BENCH_RESULTS`, or `compact_bench_results` beside the store."""
    return Path(os.environ.get("COMPACT_BENCH_RESULTS") or store.parent / "compact_bench_results")


def mirror_dir() -> Path | None:
    """Folder laid out as owner/repo/commit/path: `COMPACT_BENCH_MIRROR`, or None."""
    value = os.environ.get("COMPACT_BENCH_MIRROR")
    return Path(value) if value else None


def offline() -> bool:
    """Whether the network must not be used: `HF_HUB_OFFLINE` or `COMPACT_BENCH_OFFLINE` is 1/true."""
    names = ("COMPACT_BENCH_OFFLINE", "HF_HUB_OFFLINE")
    return any(os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"} for name in names)


def package_folder() -> Path:
    """Folder of the package `compact_bench`, wherever it is installed or checked out."""
    return Path(__file__).resolve().parents[1]
