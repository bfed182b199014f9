"""One report and one steps table of a run that was trained in parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from compact_bench.training.checkpoints import TrainingPart
from compact_bench.training.loop import STEPS_FILE
from compact_bench.training.protocol import FitReport


def joined_report(directory: Path, parts: Sequence[tuple[TrainingPart, FitReport, float]]) -> FitReport:
    """One report of a run that was trained in parts, and one steps table of theirs.

    Args:
        directory: the run's directory, where the table is written.
        parts: of every folder its last part, its report, and the factor of its teacher weights: how much
            its steps count in the final student.
    """
    tables = []
    for part, _, factor in parts:
        table = pd.read_parquet(part.directory(directory) / STEPS_FILE)
        tables.append(table.assign(teacher_weight=table["teacher_weight"] * factor))
    joined = pd.concat(tables, ignore_index=True)
    joined.to_parquet(directory / STEPS_FILE)
    reports = [report for _, report, _ in parts]
    losses = [report.final_loss for report in reports if report.final_loss is not None]
    weights = joined.groupby("teacher", sort=False)["teacher_weight"].mean()
    return FitReport(
        optimiser_steps=sum(r.optimiser_steps for r in reports),
        branches=sum(r.branches for r in reports),
        supervised_tokens=sum(r.supervised_tokens for r in reports),
        total_tokens=sum(r.total_tokens for r in reports),
        seconds=sum(r.seconds for r in reports),
        final_loss=sum(losses) / len(losses) if losses else None,
        extra={
            "mean_teacher_weights": {str(teacher): float(weight) for teacher, weight in weights.items()},
            "step": reports[-1].extra["step"],
        },
    )
