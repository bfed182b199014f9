"""Terminals: what is printed there is text, and never a command to the terminal or to rich."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from compact_bench.core.written.names import shown


def open_console(**options: Any) -> Console:
    """A console that reads no markup ("[red]") in texts and writes out every control character in them.

    Args:
        options: as `rich.console.Console` takes them.
    """
    console = Console(**{"highlight": False, "markup": False, "emoji": False, **options})
    console.push_render_hook(_NothingHides())
    return console


class _NothingHides(RenderHook):
    """Shows what is rendered with its hidden characters written out; rich's own commands stay."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Shown(one) for one in renderables]


@dataclass(frozen=True)
class _Shown:
    inner: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.inner, options):
            if segment.control:
                yield segment
            else:
                yield Segment(shown(segment.text, lines=True), segment.style)
