"""Types of fields in files that people write: names, titles and prose in which nothing hides.

Apart from `names`, which `--help` needs too: pydantic is a third of what the command line takes to start.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from compact_bench.core.written.names import LONGEST_NAME, unreadable


def _plain(text: str) -> str:
    if problem := unreadable(text):
        raise ValueError(f"expected printable characters on one line, got {problem}")
    if text and not text.strip():
        raise ValueError("expected words, got spaces alone")
    return text


def _plain_text(text: str) -> str:
    if problem := unreadable(text, lines=True):
        raise ValueError(f"expected printable characters, got {problem}")
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=LONGEST_NAME)]
"""A name that also names files, runs and options: letters, digits and ". _ + -"."""
Title = Annotated[str, AfterValidator(_plain)]
"""One line for readers."""
Heading = Annotated[Title, StringConstraints(min_length=1)]
"""A title that must not be empty."""
Prose = Annotated[str, AfterValidator(_plain_text)]
"""Text for readers, of one line or several."""
