"""The exceptions that compact_bench raises on purpose.

    CompactBenchError            anything a user can mend; the command line prints it without a traceback
    |-- ConfigError              a setting, suite file or command-line value is wrong
    |   `-- UnknownNameError     a name that no registry knows; carries near matches
    |-- DataError                a data file, download or question is wrong
    |   `-- OverlapError         a training question also stands in a test or validation split
    |-- StudentError             a student cannot be loaded, or its layout is not one we know
    |-- NumericalError           a loss or gradient is not finite
    `-- StoreError               a run directory is damaged, locked or of another version
        |-- DamageError          a stored file is not what was written
        |-- RunHeldError         another process is at the run
        `-- UnusableStoreError   a folder cannot be read or written, a full disk for example

Every message says what was expected, what was found, where, and how to mend it. `exit_code` is what the
command line returns:

    0    all is done                              4    StudentError
    1    a run failed or a method is broken,      5    NumericalError
         or any other CompactBenchError           7    StoreError; a file that cannot be read or written
    2    ConfigError; wrong use of an option      70   a fault of this package
    3    DataError                                130  interrupted, 143 by SIGTERM
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class CompactBenchError(Exception):
    """Base of every error that a user can mend."""

    exit_code = 1


class ConfigError(CompactBenchError):
    """A setting, a suite file or a command-line value is wrong."""

    exit_code = 2


class UnknownNameError(ConfigError):
    """A name that is not registered."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        listing = ", ".join(names) if names else "none"
        super().__init__(f"unknown {kind} {name!r}.{hint} Known: {listing}.")
        self.kind, self.name, self.near = kind, name, tuple(near)


class PluginError(ConfigError):
    """Code of another package failed; nothing but what it was asked for suffers."""


@dataclass(frozen=True)
class Fault:
    """One fault at one place of one input.

    Attributes:
        where: file, and row and field where they are known ("a.json, row 3, field 'CoT'").
        question_id: the question the fault belongs to, or None when it is the file's.
    """

    where: str
    problem: str
    question_id: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


class DataError(CompactBenchError):
    """A data file, a download or a question is wrong; lists every fault found, not only the first.

    Args:
        faults: the faults, in file order.
    """

    exit_code = 3

    def __init__(self, summary: str, faults: Sequence[Fault] = (), mend: str = "") -> None:
        lines = [summary]
        lines += [f"  - {fault}" for fault in faults]
        if mend:
            lines.append(f"To mend: {mend}")
        super().__init__("\n".join(lines))
        self.faults = tuple(faults)


class OverlapError(DataError):
    """A question of one split also stands in another."""


class StudentError(CompactBenchError):
    """A student cannot be loaded, or its layout is not supported."""

    exit_code = 4


class NumericalError(CompactBenchError):
    """A loss or a gradient is not finite."""

    exit_code = 5


class StoreError(CompactBenchError):
    """A run directory is damaged, locked by another process, or was written by another version."""

    exit_code = 7


class DamageError(StoreError):
    """A stored file is not what was written; what it held can be made again."""


class RunHeldError(StoreError):
    """Another process is at the run. Nothing else, a full disk say, may be taken for this."""


class UnusableStoreError(StoreError):
    """A folder cannot be read or written: no run can go on, and none of them is at fault."""
