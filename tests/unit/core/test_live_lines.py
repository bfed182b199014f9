"""Live lines in a real (pseudo-)terminal: what a narrow one cuts is the run's name, never the time left."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
from pathlib import Path

import pytest

LINES = """
import time
from rich.console import Console
from compact_bench.core.progress import Ticker, open_display
with open_display(Console(stderr=True, highlight=False)) as display:
    first = Ticker(display, {"x": 1234.0, "y": 99.0})
    second = first.another_lane()
    first.begin("x", "single_teacher_of_some_length[ponder:equal-tokens] seed 12", 7, 138)
    second.begin("y", "uniform seed 3", 8, 138)
    for step in (31, 32):
        text = "loss 0.1234, 5321 tokens/s, weights abacus 0.25 atlas 0.25 ponder 0.25 breezy 0.25"
        first.phase("training")(step, 33, text)
        second.phase("evaluating")(step, 1400, "lab_longer (running 12 of 400)")
        time.sleep(0.3)
"""


def in_terminal(code: str, columns: int) -> list[str]:
    """What a process shows in a terminal of so many columns, a line each; control sequences taken out."""
    pid, terminal = pty.fork()
    if pid == 0:
        env = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[3])}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            env.pop(name, None)
        os.read(0, 1)  # the size is set by now
        os.execve(sys.executable, [sys.executable, "-c", code], env)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.write(terminal, b"\n")
    shown = b""
    while True:
        try:
            more = os.read(terminal, 4096)
        except OSError:
            break
        if not more:
            break
        shown += more
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, shown.decode()
    import re

    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_narrow_terminal_keeps_time_and_unit(columns: int) -> None:
    lines = in_terminal(LINES, columns)
    bars = [line for line in lines if line.startswith("left:")]
    assert bars and max(map(len, lines)) <= columns
    first = [line for line in bars if "/33" in line]
    second = [line for line in bars if "/1400" in line]
    assert first and second
    for line in (*first, *second):
        assert line.startswith(("left: 21 min ", "left: 11 min ", "left: 20 min ")), line
    for line in first:
        # Both ends of the run's name stay: which run it is, and which seed.
        assert "[7/138] sing" in line and "] seed 12: training" in line, line
        assert "31/33" in line or "32/33" in line, line
    if columns == 120:
        assert any("training" in line for line in first)
