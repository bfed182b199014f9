"""How tests give a command and read what it did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from compact_bench.cli import main


@dataclass(frozen=True)
class Done:
    """A command that ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def run_command(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Done:
    """`compact-bench WORDS` in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    shown = capsys.readouterr()
    code = ended.value.code
    return Done(code if isinstance(code, int) else 0, shown.out, shown.err)
