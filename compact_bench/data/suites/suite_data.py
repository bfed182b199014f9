"""What a suite yields at one profile, and which of its training questions a seed draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compact_bench.core.errors import Fault
from compact_bench.core.records import Question
from compact_bench.data.suites.teacher_statistics import all_true
from compact_bench.data.validation.splits import drawn_questions


@dataclass(frozen=True)
class SuiteData:
    """What a suite yields at one profile.

    Attributes:
        training: questions that may train, in hash order; see `training_of`.
        validation: questions set aside for selection, in hash order; the same at every profile and seed.
        benchmarks: task -> rows, in hash order, all items.
        excluded: questions left out, and why.
        notes: counts to be reported: shared and split sizes, how many a seed draws, what teachers' answers
            are like (and, where the truth is known, their rationales), items, repeats, chance and majority,
            near duplicates, near copies, items that two benchmarks share; of an own file, what was counted
            in it.
        fingerprint: hash of the suite's definition, the questions, rationales and what is known of their
            truth, how many a seed draws, and the benchmark files or generated items.
        drawn: how many of `training` a seed draws; None where every seed trains on all of them.
    """

    training: tuple[Question, ...]
    validation: tuple[Question, ...]
    benchmarks: Mapping[str, list[dict[str, Any]]]
    excluded: tuple[Fault, ...]
    notes: Mapping[str, Any]
    fingerprint: str
    drawn: int | None = None
    _of_seeds: dict[int, tuple[Question, ...]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def has_truth(self) -> bool:
        """Whether it is known of every rationale if it is really right."""
        return all_true((*self.training, *self.validation))

    def training_of(self, seed: int) -> tuple[Question, ...]:
        """The questions that runs of a seed train on, in hash order: the same ones for every method."""
        if self.drawn is None:
            return self.training
        if seed not in self._of_seeds:
            self._of_seeds[seed] = drawn_questions(self.training, self.drawn, seed)
        return self._of_seeds[seed]
