"""The student itself, untrained: what every method starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compact_bench import FitReport, MethodCard, NoSettings, Question, RunContext, Student


@dataclass(frozen=True)
class ZeroShot:
    """No training."""

    config: NoSettings
    config_type = NoSettings
    card = MethodCard(
        title="Zero-shot: the student before distillation",
        source="arXiv 2601.13992v1, section 4.1 (there the -Instruct model, here the student itself)",
        min_teachers=0,
        reproduction="no reference",
        short="Zero-shot (the student itself)",
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Leave the student as it is."""
        return FitReport()


METHOD = ZeroShot
