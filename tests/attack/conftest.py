"""Prints at the end of a pytest run what the attack came to."""

from __future__ import annotations

from typing import Any

SUMMARIES: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One block per attack that ran."""
    for text in SUMMARIES:
        terminalreporter.section("attack")
        terminalreporter.write_line(text)
