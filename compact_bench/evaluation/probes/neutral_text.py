"""Packaged passages on everyday subjects, unrelated to any benchmark: what drift is measured on."""

from __future__ import annotations

from importlib import resources


def neutral_passages() -> tuple[str, ...]:
    """The passages, in file order; each is one paragraph of 60 to 90 words.

    Source: written for this package, CC0 (`neutral_text.txt` carries the notice in `#` lines).
    """
    file = resources.files("compact_bench") / "evaluation" / "probes" / "neutral_text.txt"
    lines = file.read_text(encoding="utf-8").split("\n")
    text = "\n".join(line for line in lines if not line.startswith("#"))
    return tuple(" ".join(block.split()) for block in text.split("\n\n") if block.strip())
