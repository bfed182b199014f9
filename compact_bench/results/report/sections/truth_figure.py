"""The figure of truth scores over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compact_bench.core.records import RunRecord, value_at
from compact_bench.results.figures import Drawing, Level, Line, Panel, Point, draw
from compact_bench.results.report.sections.figures import FigureSpec
from compact_bench.results.stats import Sample, estimate

X_TITLE = "Optimiser step"
Windows = Mapping[tuple[int, int], Mapping[str, Any]]


def truth_over_training(
    spec: FigureSpec, records: Sequence[RunRecord], titles: Mapping[str, str]
) -> Drawing | None:
    """Draw weight on right rationales and each score's ranking over the steps of training.

    Args:
        spec: its rows are those that weight teachers by scores, its series the scores.
        records: the runs behind a table, under one set of settings.
        titles: label of a row -> as shown.

    Returns:
        None where no record has truth scores over training.
    """
    runs = _runs(records, spec.rows)
    if not runs:
        return None
    lines = [
        Line(titles.get(label, label), _points(own, "weight_on_right"), spec.rows.index(label) + 1)
        for label, own in runs.items()
    ]
    equal = [point.mean for own in runs.values() for point in _points(own, "uniform_share")]
    level = Level(float(np.mean(equal)), "equal weights") if equal else None
    weight = Panel(
        "Weight on right rationales",
        X_TITLE,
        "Share of the weight, %",
        tuple(lines),
        percent=True,
        level=level,
    )
    panels = [weight]
    for label, own in runs.items():
        scored = [
            Line(title, _points(own, f"auc.{score}"), style)
            for style, (score, title) in enumerate(spec.series.items())
            if _points(own, f"auc.{score}")
        ]
        if scored:
            title = f"Ranking of right over wrong: {titles.get(label, label)}"
            panels.append(
                Panel(title, X_TITLE, "Area under the ROC curve", tuple(scored), level=Level(0.5, "chance"))
            )
    return draw(spec.title, panels)


def _runs(records: Sequence[RunRecord], labels: Sequence[str]) -> dict[str, list[Windows]]:
    """Label -> the stretches of training of each of its runs, in the order of seeds."""
    found: dict[str, list[Windows]] = {}
    for label in labels:
        own = [r for r in records if r.status == "done" and r.key.label == label]
        own.sort(key=lambda record: record.key.seed)
        windows = [value_at(record, "probes.truth.over_training") for record in own]
        kept: list[Windows] = [
            {(int(w["first_step"]), int(w["last_step"])): w for w in listed}
            for listed in windows
            if isinstance(listed, list | tuple) and listed
        ]
        if kept:
            found[label] = kept
    return found


def _points(runs: Sequence[Windows], source: str) -> tuple[Point, ...]:
    """Mean and interval over seeds of one value, at the middle of every stretch that all runs have."""
    common = sorted(set.intersection(*(set(windows) for windows in runs)))
    points = []
    for first, last in common:
        values = [_number(windows[first, last], source) for windows in runs]
        known = [value for value in values if value is not None]
        if not known:
            continue
        sample = Sample({source: np.array([[value] for value in known])}, items_resampled=False)
        found = estimate(sample)
        points.append(Point((first + last) / 2, found.mean, found.low, found.high))
    return tuple(points)


def _number(window: Mapping[str, Any], source: str) -> float | None:
    value: Any = window
    for name in source.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else None
