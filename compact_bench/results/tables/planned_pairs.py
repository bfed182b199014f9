"""Which pairs of rows a table compares: the primary ones, others that are told in words, and controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from compact_bench.core.settings import Strict
from compact_bench.core.written.fields import Title


class PrimarySpec(Strict):
    """The comparisons that a table is made for, fixed before its runs: one family for Holm's correction.

    Every other comparison of the table is exploratory.

    Attributes:
        row, against: row names ("compact", "single_teacher[best]"); each difference is `row` minus one of
            `against`.
        groups: names of the compared groups.
        reason: why these, as sentences that the page repeats.
        fixed: suite -> when they were fixed for its runs, a sentence that only its pages repeat.
    """

    row: Title
    against: Annotated[tuple[Title, ...], Field(min_length=1)]
    groups: Annotated[tuple[Title, ...], Field(min_length=1)]
    reason: Title = ""
    fixed: dict[Title, Title] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_group_once(self) -> PrimarySpec:
        if len(set(self.groups)) < len(self.groups):
            raise ValueError("groups: expected each once")
        return self

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs of rows, in the file's order."""
        return tuple((self.row, against) for against in self.against)


class ComparisonSpec(Strict):
    """A planned exploratory comparison, told in words; every compared group has one.

    The reference row is compared with every row anyway. Naming such a pair here puts it into words; another
    pair is added to the table's comparisons.

    Attributes:
        row, against: row names ("compact", "single_teacher[best]"); the difference is `row` minus `against`.
        detectable: whether the words also say the smallest difference that it could have detected.
    """

    row: str
    against: str
    detectable: bool = False


class ControlSpec(Strict):
    """A pair whose difference is known beforehand: a check of the table as an instrument.

    A control is no part of any family, and is shown only where both rows are.

    Attributes:
        expected: on which side of `against` the row must come out, or "no difference" of two equal rows.
        group: name of the compared group.
        reason: why that is known, as the end of a sentence, or "".
    """

    row: str
    against: str
    expected: Literal["above", "below", "no difference"] = "above"
    group: Title
    reason: Title = ""


@dataclass(frozen=True)
class KnownNames:
    """What pairs of a table can name.

    Attributes:
        rows: names of single rows.
        by_teacher: methods with a row per teacher, or rows told apart by a suffix; what stands behind the
            method's name there is the suite's.
        groups: names of the compared groups.
    """

    rows: frozenset[str]
    by_teacher: frozenset[str]
    groups: tuple[str, ...]

    def check_rows(self, what: str, names: Sequence[str]) -> None:
        """Refuse names of no row (ValueError); `what` is the field they stand in."""
        known = (name in self.rows or name.partition("[")[0] in self.by_teacher for name in names)
        if unknown := sorted({name for name, is_known in zip(names, known, strict=True) if not is_known}):
            raise ValueError(f"{what}: no row is called {', '.join(unknown)}")

    def check_groups(self, what: str, names: Sequence[str]) -> None:
        """Refuse names of no compared group (ValueError)."""
        if strange := sorted(set(names) - set(self.groups)):
            expected = ", ".join(self.groups) or "none"
            raise ValueError(f"{what}: {', '.join(strange)}: expected a compared group ({expected})")


def check_pairs(
    known: KnownNames,
    primary: PrimarySpec | None,
    comparisons: Sequence[ComparisonSpec],
    controls: Sequence[ControlSpec],
) -> None:
    """Refuse pairs that the table cannot measure.

    Raises:
        ValueError: a row or group that there is not, a row beside itself, or a pair given twice.
    """
    first = list(primary.pairs) if primary else []
    planned = [(pair.row, pair.against) for pair in comparisons]
    of_controls = [(pair.row, pair.against) for pair in controls]
    for what, pairs in (("comparisons", planned), ("controls", of_controls), ("primary", first)):
        known.check_rows(what, [name for pair in pairs for name in pair])
        if same := sorted({row for row, against in pairs if row == against}):
            raise ValueError(f"{what}: {', '.join(same)} is compared with itself")
    every = first + planned
    if len({frozenset(pair) for pair in every}) < len(every):
        raise ValueError("comparisons, with those that are primary: expected every pair once")
    known.check_groups("controls", [control.group for control in controls])
    known.check_groups("primary", primary.groups if primary else ())
