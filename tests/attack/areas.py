"""The areas of the attack, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.attack.cases import Case, Verdict, unique


@dataclass(frozen=True)
class Area:
    """One area: a module with `cases()`, or with `run(world, share)` where verdicts need more than a command."""

    module: str
    runs_itself: bool = False

    @property
    def _module(self) -> Any:
        return import_module(f"tests.attack.{self.module}")

    def make_world(self, folder: Path) -> Any:
        """Make the area's shared ground; what is returned is to be held while the area runs."""
        from tests.attack import world

        own: Callable[[Path], Any] | None = getattr(self._module, "make_world", None)
        if own is not None:
            return own(folder)
        world.make_world(folder)
        return world.hold_student(folder)

    @property
    def run(self) -> Callable[[Path, float], Iterable[Verdict]] | None:
        """Runs the area and gives verdicts, where it has no cases."""
        function: Callable[[Path, float], Iterable[Verdict]] | None = getattr(self._module, "run", None)
        return function if self.runs_itself else None

    def cases(self) -> Iterator[Case]:
        """The area's inputs."""
        made: Iterator[Case] = self._module.cases()
        return made


AREAS = {
    "rationales": Area("rationales"),
    "settings": Area("settings"),
    "options": Area("options"),
    "definitions": Area("definitions"),
    "students": Area("students"),
    "trained": Area("trained"),
    "answers": Area("answers", runs_itself=True),
    "store": Area("store", runs_itself=True),
    "kills": Area("kills", runs_itself=True),
}


def cases_of(name: str) -> list[Case]:
    """The inputs of an area, each under a name of its own."""
    return unique(AREAS[name].cases())
