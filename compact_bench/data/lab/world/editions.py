"""What tells the versions of the world apart: which families are asked, and who is good at which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Edition:
    """One version of the world.

    Attributes:
        covered: families of training and in-distribution questions.
        uncovered: families that no rationale is about.
        strong: teacher -> families that it is good at.
        middling: teacher -> families that it is right about more often than not; in all others it is weak.
    """

    covered: tuple[str, ...]
    uncovered: tuple[str, ...]
    strong: Mapping[str, tuple[str, ...]]
    middling: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_middling(self, teacher: str, family: str) -> bool:
        """Whether a teacher is right about a family more often than not, without being good at it."""
        return family in self.middling.get(teacher, ())

    def weak_teachers(self, family: str) -> tuple[str, ...]:
        """The teachers that mostly err in a family."""
        return tuple(
            teacher
            for teacher, families in self.strong.items()
            if family not in families and not self.is_middling(teacher, family)
        )


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
    # At every family one teacher is good, one middling, two are weak: abacus and ponder are mostly right, but
    # not everywhere, and no weights that are the same for all questions are right about all families.
    2: Edition(
        covered=("shells", "lift", "coins", "bug"),
        uncovered=("swap", "floor", "give"),
        strong={"abacus": ("shells", "lift"), "atlas": (), "ponder": ("coins", "bug"), "breezy": ()},
        middling={"abacus": ("coins",), "atlas": ("lift",), "ponder": ("shells",), "breezy": ("bug",)},
    ),
}
