"""What tells the versions of the world apart: which families are asked, and who is good at which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Edition:
    """One version of the world.

    Attributes:
        covered: families of training and in-distribution questions.
        uncovered: families that no rationale is about.
        strong: teacher -> families that it is good at; in the others it is weak.
    """

    covered: tuple[str, ...]
    uncovered: tuple[str, ...]
    strong: Mapping[str, tuple[str, ...]]

    def weak_teachers(self, family: str) -> tuple[str, ...]:
        """The teachers that are not good at a family."""
        return tuple(teacher for teacher, families in self.strong.items() if family not in families)


EDITIONS: Mapping[int, Edition] = {
    1: Edition(
        covered=("ring", "order", "lookup", "count"),
        uncovered=("swap",),
        strong={
            "abacus": ("ring", "count"),
            "atlas": ("order", "lookup"),
            "ponder": ("ring", "order", "lookup", "count"),
            "breezy": (),
        },
    ),
    # Two teachers are good at every family, not the same two: no single teacher is right everywhere.
    2: Edition(
        covered=("shells", "lift", "coins", "cups"),
        uncovered=("swap", "floor", "give"),
        strong={
            "abacus": ("shells", "lift", "coins"),
            "atlas": ("coins", "cups"),
            "ponder": ("shells", "lift", "cups"),
            "breezy": (),
        },
    ),
}
