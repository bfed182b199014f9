"""The truth scores over training, as a figure beside RESULTS.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from compact_bench.core.records import Cell, RunRecord, value_at
from compact_bench.results.figures import Drawing, Level, Line, Panel, Point, draw
from compact_bench.results.tables.cells import seed_cell

TRUTH_FIGURE = "truth_over_training"
"""Name of the files, without their ends."""
LABELS = ("compact", "compact_released")
"""Rows that are shown: those that weight teachers by scores."""
SCORES = ("fused", "consensus", "adaptability", "difficulty")
X_TITLE = "Optimiser step"
Windows = Mapping[tuple[int, int], Mapping[str, Any]]


def truth_figure_markdown(records: Sequence[RunRecord], folder: str = "") -> list[str]:
    """Lines that show the figure, in a folder seen from the text; none where no record has what it draws."""
    if not training_windows(records):
        return []
    return [
        "Left: share of the teacher weight on right rationales, of questions that have right and wrong ones. "
        "Right: how well each score, and the weight made of them, ranks right over wrong rationales of a "
        "question (area under the ROC curve; 0.5 is chance). Each point is a stretch of training; bands are "
        "95 % intervals over seeds.",
        "",
        f"![Truth scores over training]({(PurePosixPath(folder) / TRUTH_FIGURE).as_posix()}.png)",
    ]


def truth_over_training(records: Sequence[RunRecord], titles: Mapping[str, str]) -> Drawing | None:
    """Draw weight on right rationales and each score's ranking over the steps of training.

    None where no record, of runs under one set of settings, has truth scores over training; `titles` has
    the rows' by their labels.
    """
    runs = training_windows(records)
    if not runs:
        return None
    lines = [
        Line(titles.get(label, label), _points(row_runs, "weight_on_right"), LABELS.index(label) + 1)
        for label, row_runs in runs.items()
    ]
    equal = [point.mean for row_runs in runs.values() for point in _points(row_runs, "uniform_share")]
    level = Level(float(np.mean(equal)), "equal weights") if equal else None
    share = "Share of the weight, %"
    weight = Panel("Weight on right rationales", X_TITLE, share, tuple(lines), percent=True, level=level)
    panels = [weight]
    for label, row_runs in runs.items():
        scored = [
            Line(score.capitalize(), _points(row_runs, f"auc.{score}"), style)
            for style, score in enumerate(SCORES)
            if _points(row_runs, f"auc.{score}")
        ]
        if scored:
            title = f"Ranking of right over wrong: {titles.get(label, label)}"
            panels.append(
                Panel(title, X_TITLE, "Area under the ROC curve", tuple(scored), level=Level(0.5, "chance"))
            )
    return draw("Do the weights go to the rationales that are right?", panels)


def training_windows(records: Sequence[RunRecord]) -> dict[str, list[Windows]]:
    """Row that weights by scores -> its finished runs' stretches of training, in the order of seeds.

    A run's stretches are a mapping of (first step, last step) to the truth scores there.
    """
    by_label: dict[str, list[Windows]] = {}
    for record in sorted(records, key=lambda r: r.key.seed):
        listed = value_at(record, "probes.truth.over_training")
        if record.status == "done" and record.key.label in LABELS and listed:
            windows = {(int(w["first_step"]), int(w["last_step"])): w for w in listed}
            by_label.setdefault(record.key.label, []).append(windows)
    return {label: by_label[label] for label in LABELS if label in by_label}


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
