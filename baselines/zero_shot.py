"""The student itself, untrained: what every method starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from compact_bench import (
    FitReport,
    MethodCard,
    Question,
    RunContext,
    Strict,
    Student,
    SuiteInfo,
)


class ZeroShotConfig(Strict):
    """Nothing to set."""


class ZeroShot:
    """No training."""

    card: ClassVar[MethodCard] = MethodCard(
        title="Zero-shot: the student before distillation",
        source="arXiv 2601.13992v1, section 4.1 (there the -Instruct model, here the student itself)",
        min_teachers=0,
        reproduction="no reference",
        short="Zero-shot (the student itself)",
    )
    config_type: ClassVar[type[Strict]] = ZeroShotConfig

    def __init__(self, config: ZeroShotConfig) -> None:
        self.config = config

    def supports(self, suite: SuiteInfo) -> str | None:
        """Runs everywhere."""
        return None

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Leave the student as it is."""
        return FitReport()


METHOD = ZeroShot
