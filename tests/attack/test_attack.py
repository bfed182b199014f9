"""The whole attack: `python -m pytest tests/attack -m slow`, `tox -e attack`, or `python -m tests.attack`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.attack.cases import Verdict
from tests.attack.driver import ROOT
from tests.attack.results import Summary, summary_text

MINUTES = 60
LEAST_INPUTS, LEAST_DAMAGED, KILLS, REAL = 3000, 50, 100, 200
WRITTEN = "COMPACT_BENCH_ATTACK"
"""Variable that names a folder where attack.json and robustness.md are left."""


def attack(folder: Path, *options: str, seconds: float) -> dict[str, Any]:
    """Run the attack in a process of its own, so that pytest's own settings change nothing.

    Returns:
        What it wrote: the summary and every verdict.
    """
    file = folder / "attack.json"
    words = [sys.executable, "-m", "tests.attack", "--json", str(file), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        words, cwd=ROOT, env=environment, timeout=seconds, capture_output=True, text=True, check=False
    )
    assert file.is_file(), ended.stderr[-3000:]
    written: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return written


def told(written: dict[str, Any]) -> str:
    """The counts and the failures as text."""
    verdicts = [Verdict(**{**v, "words": tuple(v["words"])}) for v in written["verdicts"]]
    return summary_text(verdicts, Summary(**written["summary"]))


@pytest.mark.slow
def test_nothing_wrong_gets_in_unseen(tmp_path: Path) -> None:
    from tests.attack.conftest import SUMMARIES

    folder = Path(os.environ.get(WRITTEN, tmp_path))
    page = folder / "robustness.md"
    written = attack(folder, "--real", str(REAL), "--page", str(page), seconds=MINUTES * 60)
    SUMMARIES.append(told(written))
    summary = written["summary"]
    assert summary["failed"] == 0, told(written)
    assert summary["tried"] >= LEAST_INPUTS
    assert summary["real"]["tried"] >= REAL
    assert summary["areas"]["kills"]["tried"] == KILLS
    assert summary["areas"]["store"]["tried"] >= LEAST_DAMAGED
    assert summary["seconds"] < MINUTES * 60
