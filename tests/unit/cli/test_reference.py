"""docs/reference.md says what the code does: exit codes, columns of RESULTS.csv, fields of a record."""

from __future__ import annotations

import re
import signal
from dataclasses import fields

from compact_bench.cli import EXIT_BUG
from compact_bench.cli.run import EXIT_INTERRUPTED
from compact_bench.core import errors
from compact_bench.core.records import RunRecord
from compact_bench.results.report.csv_file import COMPARISON_FIELDS, FIELDS
from tests.architecture.sources import ROOT

PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_every_exit_code_is_listed_and_every_listed_one_exists() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {k.exit_code for k in kinds if issubclass(k, errors.CompactBenchError)}
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", section("Exit codes"), re.MULTILINE)}
    assert listed == codes | {0, EXIT_BUG, EXIT_INTERRUPTED, 128 + signal.SIGTERM}


def test_the_columns_and_fields_are_those_of_the_code() -> None:
    columns = re.findall(r"`(\w+)`", section("RESULTS.csv"))
    assert columns[: len(FIELDS)] == list(FIELDS)
    assert re.findall(r"`(\w+)`", section("comparisons.csv")) == list(COMPARISON_FIELDS)
    assert re.findall(r"`(\w+)`", section("record.json").partition("\n### ")[0]) == [
        f.name for f in fields(RunRecord)
    ]
