"""One report and one steps table of a run that was trained in parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from compact_bench.checkpoints import Part
from compact_bench.loop import STEPS_FILE
from compact_bench.trainer import FitReport

__all__ = ["joined_report"]


def joined_report(directory: Path, parts: Sequence[tuple[Part, FitReport]]) -> FitReport:
    """One report of a run that was trained in parts, and one steps table of theirs.

    Args:
        directory: the run's directory, where the table is written.
        parts: of every folder its last part and report.
    """
    tables = [pd.read_parquet(part.directory(directory) / STEPS_FILE) for part, _ in parts]
    table = pd.concat(tables, ignore_index=True)
    table.to_parquet(directory / STEPS_FILE)
    reports = [report for _, report in parts]
    losses = [report.final_loss for report in reports if report.final_loss is not None]
    return FitReport(
        optimiser_steps=sum(r.optimiser_steps for r in reports),
        branches=sum(r.branches for r in reports),
        supervised_tokens=sum(r.supervised_tokens for r in reports),
        total_tokens=sum(r.total_tokens for r in reports),
        seconds=sum(r.seconds for r in reports),
        final_loss=sum(losses) / len(losses) if losses else None,
        extra={
            "mean_teacher_weights": {
                str(teacher): float(weight)
                for teacher, weight in table.groupby("teacher", sort=False)["teacher_weight"].mean().items()
            },
            "step": reports[-1].extra["step"],
        },
    )
