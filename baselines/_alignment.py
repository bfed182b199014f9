"""The shortest way from one row of tokens to another: what is kept, replaced, left out and put in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Operation = Literal["none", "replace", "delete", "insert"]


@dataclass(frozen=True)
class Alignment:
    """One shortest way from a chosen row of tokens to a rejected one.

    Attributes:
        operations: in order; "delete" leaves a chosen token out, "insert" puts a rejected one in.
    """

    operations: tuple[Operation, ...]

    @property
    def distance(self) -> int:
        """The edit distance."""
        return sum(operation != "none" for operation in self.operations)

    @property
    def chosen_changes(self) -> tuple[bool, ...]:
        """Of every chosen token whether it is replaced or left out."""
        return tuple(operation != "none" for operation in self.operations if operation != "insert")

    @property
    def rejected_changes(self) -> tuple[bool, ...]:
        """Of every rejected token whether it replaces a chosen one or is put in."""
        return tuple(operation != "none" for operation in self.operations if operation != "delete")


def align(chosen: Sequence[int], rejected: Sequence[int]) -> Alignment:
    """A shortest alignment (Levenshtein); equal beginnings and ends are kept as they are.

    Of several shortest ones it is that which, read from the end, keeps or replaces before it leaves out, and
    leaves out before it puts in.

    Args:
        chosen, rejected: token ids.
    """
    most = min(len(chosen), len(rejected))
    start = next((n for n in range(most) if chosen[n] != rejected[n]), most)
    most -= start
    end = next((n for n in range(most) if chosen[-1 - n] != rejected[-1 - n]), most)
    middle = _middle(chosen[start : len(chosen) - end], rejected[start : len(rejected) - end])
    kept: Operation = "none"
    return Alignment((*[kept] * start, *middle, *[kept] * end))


def _middle(chosen: Sequence[int], rejected: Sequence[int]) -> list[Operation]:
    costs = [list(range(len(rejected) + 1))]
    for i, token in enumerate(chosen, 1):
        above, row = costs[-1], [i]
        for j, other in enumerate(rejected, 1):
            row.append(min(above[j - 1] + (token != other), above[j] + 1, row[j - 1] + 1))
        costs.append(row)
    i, j = len(chosen), len(rejected)
    backwards: list[Operation] = []
    while i or j:
        differs = bool(i and j) and chosen[i - 1] != rejected[j - 1]
        if i and j and costs[i][j] == costs[i - 1][j - 1] + differs:
            backwards.append("replace" if differs else "none")
            i, j = i - 1, j - 1
        elif i and costs[i][j] == costs[i - 1][j] + 1:
            backwards.append("delete")
            i -= 1
        else:
            backwards.append("insert")
            j -= 1
    return backwards[::-1]
