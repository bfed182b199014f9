"""The figure of truth scores over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compact_bench.core.records import Cell, RunRecord, value_at
from compact_bench.results.figures import Drawing, Level, Line, Panel, Point, draw
from compact_bench.results.report.sections.figures import Figure
from compact_bench.results.tables.cells import seed_cell

X_TITLE = "Optimiser step"
Windows = Mapping[tuple[int, int], Mapping[str, Any]]


def truth_over_training(
    figure: Figure, records: Sequence[RunRecord], titles: Mapping[str, str]
) -> Drawing | None:
    """Draw weight on right rationales and each score's ranking over the steps of training.

    Args:
        figure: its rows are those that weight teachers by scores, its series the scores.
        records: the runs behind a table, under one set of settings.
        titles: label of a row -> as shown.

    Returns:
        None where no record has truth scores over training.
    """
    runs = training_windows(records, figure.rows)
    if not runs:
        return None
    lines = [
        Line(titles.get(label, label), _points(row_runs, "weight_on_right"), figure.rows.index(label) + 1)
        for label, row_runs in runs.items()
    ]
    equal = [point.mean for row_runs in runs.values() for point in _points(row_runs, "uniform_share")]
    level = Level(float(np.mean(equal)), "equal weights") if equal else None
    share = "Share of the weight, %"
    weight = Panel("Weight on right rationales", X_TITLE, share, tuple(lines), percent=True, level=level)
    panels = [weight]
    for label, row_runs in runs.items():
        scored = [
            Line(title, _points(row_runs, f"auc.{score}"), style)
            for style, (score, title) in enumerate(figure.series.items())
            if _points(row_runs, f"auc.{score}")
        ]
        if scored:
            title = f"Ranking of right over wrong: {titles.get(label, label)}"
            panels.append(
                Panel(title, X_TITLE, "Area under the ROC curve", tuple(scored), level=Level(0.5, "chance"))
            )
    return draw(figure.title, panels)


def training_windows(records: Sequence[RunRecord], labels: Sequence[str]) -> dict[str, list[Windows]]:
    """Row -> its finished runs' stretches of training, in the order of seeds; only rows of these labels.

    A run's stretches are a mapping of (first step, last step) to the truth scores there.
    """
    by_label: dict[str, list[Windows]] = {}
    for record in sorted(records, key=lambda r: r.key.seed):
        listed = value_at(record, "probes.truth.over_training")
        if record.status == "done" and record.key.label in labels and listed:
            windows = {(int(w["first_step"]), int(w["last_step"])): w for w in listed}
            by_label.setdefault(record.key.label, []).append(windows)
    return {label: by_label[label] for label in labels if label in by_label}


def common_windows(runs: Sequence[Windows]) -> list[tuple[int, int]]:
    """The stretches of training that all of some runs have, in their order."""
    return sorted(set.intersection(*(set(windows) for windows in runs)))


def seed_mean(entries: Sequence[Mapping[str, Any]], name: str) -> Cell:
    """Mean over seeds, with its interval, of a value ("auc.fused") of each seed's truth scores."""
    return seed_cell("", name, [_number(entry, name) for entry in entries])


def _number(entry: Mapping[str, Any], name: str) -> float | None:
    value: Any = entry
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _points(runs: Sequence[Windows], name: str) -> tuple[Point, ...]:
    """Mean and interval over seeds of one value, at the middle of every stretch that all runs have."""
    common = common_windows(runs)
    cells = [seed_mean([windows[window] for windows in runs], name) for window in common]
    return tuple(
        Point(sum(window) / 2, cell.mean, cell.low, cell.high)
        for window, cell in zip(common, cells, strict=True)
        if cell.mean is not None
    )


TRUTH_OVER_TRAINING = Figure(
    truth_over_training,
    title="Do the weights go to the rationales that are right?",
    heading="Truth scores over training",
    section="truth",
    text="Left: share of the teacher weight on right rationales, of questions that have right and wrong "
    "ones. Right: how well each score, and the weight made of them, ranks right over wrong rationales of a "
    "question (area under the ROC curve; 0.5 is chance). Each point is a stretch of training; bands are 95 % "
    "intervals over seeds.",
    rows=("compact", "compact_released"),
    series={
        "fused": "Fused",
        "consensus": "Consensus",
        "adaptability": "Adaptability",
        "difficulty": "Difficulty",
    },
)
