"""Sections and tables of the documents, for the tests that hold them against the code."""

from __future__ import annotations

import re

from tests.architecture.sources import ROOT


def section(page: str, heading: str) -> str:
    """What stands under a heading ("### `[[rows]]`") of docs/PAGE.md, up to the next one of its level."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert text.count(f"\n{heading}\n") == 1, f"docs/{page}.md: expected {heading!r} once"
    level = heading.partition(" ")[0]
    rest = text.partition(f"\n{heading}\n")[2]
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> dict[str, list[str]]:
    """Lines of the tables in a text: first cell without its backticks -> the other cells.

    A cell of several names ("`a`, `b`") is a line for each.
    """
    found: dict[str, list[str]] = {}
    for line in re.findall(r"^\| (`.*) \|$", text, re.MULTILINE):
        first, *others = re.split(r" *(?<!\\)\| *", line)
        for name in re.findall(r"`([^`]+)`", first):
            assert name not in found, f"{name} stands there twice"
            found[name] = others
    return found
