"""Suites: what is compared, as TOML files; reading them, and the questions that they name.

`spec` says what a suite file may hold, `reading` reads one, `loading` puts its questions together.
A packaged file that changes is another suite: its fingerprint, and every run key, change with it.
"""

from compact_bench.data.suites.reading import load_spec, suite_names, with_world
from compact_bench.data.suites.spec import BenchmarkSpec, FileSpec, SuiteSpec

__all__ = ["BenchmarkSpec", "FileSpec", "SuiteSpec", "load_spec", "suite_names", "with_world"]
