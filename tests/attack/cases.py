"""What an attack is: an input, and the verdict that a user is entitled to, fixed before the product runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.attack.driver import Done

SEED = 20261130
"""Of every draw of the attack; another one gives other inputs with verdicts made the same way."""

USAGE, DATA, STUDENT, STORE = frozenset({2}), frozenset({3}), frozenset({4}), frozenset({7})
INPUT = USAGE | DATA
"""A file that is named on the command line and cannot be used is either's fault."""
ANY = frozenset({1, 2, 3, 4, 5, 6, 7})
"""Every exit code of a user's mistake: all but success, a fault of the package (70) and an interruption."""

Check = Callable[["Done"], str]
"""Looks at a command that was accepted; "" or what is wrong with what it took."""


@dataclass(frozen=True)
class Refused:
    """The command must end with one clear message.

    Attributes:
        codes: exit codes of the kind of mistake.
        says: texts that the message must hold, each as it is or as one of several ways; they name the place.
    """

    codes: frozenset[int]
    says: tuple[str | tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Accepted:
    """The command must work, with the values that `check` knows."""

    check: Check | None = None


@dataclass(frozen=True)
class Either:
    """Two behaviours are right, for a reason; nothing between them is."""

    refused: Refused
    accepted: Accepted
    reason: str


Expected = Refused | Accepted | Either


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: what is odd about it, unique within its area.
        words: the command; "{case}" is a fresh folder of its own, "{world}" the area's shared one.
        files: written into the case's folder before the command is given.
        prepare: makes what is no plain file (links, folders, students), in the case's folder.
        seconds: time limit.
        stratum: what it is drawn by for the sample that goes through the real command.
    """

    area: str
    name: str
    words: tuple[str, ...]
    expected: Expected
    files: Mapping[str, bytes] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    seconds: float = 20.0
    stratum: str = ""


@dataclass(frozen=True)
class Verdict:
    """What became of a case.

    Attributes:
        kind: "refused clearly", "accepted rightly" or "failed".
        why: of a failure; "" otherwise.
        lane: "in process" or "real command".
    """

    area: str
    name: str
    kind: str
    why: str = ""
    lane: str = "in process"
    seconds: float = 0.0
    words: tuple[str, ...] = ()


def dice(*names: object) -> random.Random:
    """The attack's own random numbers for one place."""
    return random.Random(f"{SEED}/" + "/".join(map(ascii, names)))


def unique(cases: Iterator[Case]) -> list[Case]:
    """The cases, with a number behind names that stand twice."""
    seen: dict[str, int] = {}
    made: list[Case] = []
    for case in cases:
        count = seen[case.name] = seen.get(case.name, 0) + 1
        if count > 1:
            values: dict[str, Any] = {**vars(case), "name": f"{case.name} ({count})"}
            case = Case(**values)
        made.append(case)
    return made
