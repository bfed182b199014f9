"""Whether the weights go to the rationales that are right: tables and sentences, from run records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compact_bench.records import RunRecord
from compact_bench.report.markdown import escaped, grid
from compact_bench.report.truth_figure import LABELS
from compact_bench.stats import Estimate, Sample, estimate
from compact_bench.store_files import key_label
from compact_bench.table_rows import value_at

__all__ = ["truth_markdown"]

SCORES = {
    "consensus": "consensus",
    "adaptability": "adaptability",
    "difficulty": "difficulty (sign turned)",
    "fused": "the weight made of all three",
}
CHANCE = 0.5


def truth_markdown(records: Sequence[RunRecord], titles: Mapping[str, str]) -> list[str]:
    """Lines of the section; none where no record has truth scores.

    Args:
        records: the runs behind a table, under one set of settings.
        titles: label of a row -> as shown.
    """
    runs = _by_label(records)
    if not runs:
        return []
    lines = [
        "Over training questions that have right and wrong rationales; 95 % intervals over seeds and "
        "questions. An area under the ROC curve (AUC) is the probability that a right rationale of a "
        "question ranks above a wrong one; 0.5 is chance.",
        "",
    ]
    for label in (label for label in LABELS if label in runs):
        lines += [f"- {escaped(text)}" for text in _sentences(titles.get(label, label), runs[label])]
    lines += ["", *_methods(runs, titles), "", *_teachers(runs, titles)]
    weighting = {label: runs[label] for label in LABELS if label in runs}
    if weighting:
        lines += ["", *_families(weighting, titles), "", *_windows(weighting, titles)]
    return lines


def _by_label(records: Sequence[RunRecord]) -> dict[str, list[Mapping[str, Any]]]:
    """Label -> truth scores of its finished runs, in the order of seeds."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for record in sorted(records, key=lambda r: (key_label(r.key), int(r.key["seed"]))):
        scores = value_at(record, "probes.truth")
        if record.status == "done" and isinstance(scores, Mapping):
            found.setdefault(key_label(record.key), []).append(scores)
    return found


def _estimate(runs: Sequence[Mapping[str, Any]], name: str, weights: str = "") -> Estimate | None:
    """Mean and interval of a value per question ("weight_on_right", "auc.fused"); None where it has none.

    Args:
        runs: one per seed.
        name: which of the items' values.
        weights: the items' weights in the mean, or "".
    """
    rows = [_values(run, name) for run in runs]
    there = [i for i in range(len(rows[0])) if all(len(row) > i and row[i] is not None for row in rows)]
    if not there:
        return None
    matrix = np.array([[row[i] for i in there] for row in rows], dtype=np.float64)
    weight = {}
    if weights:
        weight = {name: np.array([_values(runs[0], weights)[i] for i in there], dtype=np.float64)}
    return estimate(Sample({name: matrix}, weights=weight))


def _values(run: Mapping[str, Any], name: str) -> Sequence[float | None]:
    found: Any = run["items"]
    for part in name.split("."):
        found = found[part]
    values: Sequence[float | None] = found
    return values


def _sentences(title: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    share, equal = _estimate(runs, "weight_on_right"), _estimate(runs, "uniform_share")
    if share is None or equal is None or share.low is None or share.high is None:
        return [f"{title}: no question has right and wrong rationales, so there is nothing to tell."]
    side = "no more or less than"
    if share.low > equal.mean:
        side = "more than"
    elif share.high < equal.mean:
        side = "less than"
    seeds = "1 seed" if share.seeds == 1 else f"{share.seeds} seeds"
    regret = (1.0 - share.mean) / (1.0 - equal.mean)
    told = [
        f"{title} puts {_percent(share)} of its weight on right rationales, {side} the "
        f"{equal.mean * 100:.1f} % that equal weights would (relative regret {regret:.2f}; n = {seeds}, "
        f"{share.items} questions)."
    ]
    better: list[str] = []
    worse: list[str] = []
    open_: list[str] = []
    for score, name in SCORES.items():
        area = _estimate(runs, f"auc.{score}")
        if area is None or area.low is None or area.high is None:
            continue
        text = f"{name} (AUC {_interval(area)})"
        group = better if area.low > CHANCE else worse if area.high < CHANCE else open_
        group.append(text)
    for words, group in (
        ("ranks right above wrong rationales better than chance", better),
        ("ranks wrong above right rationales", worse),
        ("cannot be told from chance", open_),
    ):
        if group:
            told.append(f"{title}: what {words}: {', '.join(group)}.")
    return told


def _percent(found: Estimate) -> str:
    return f"{found.mean * 100:.1f} % [{(found.low or 0) * 100:.1f}, {(found.high or 0) * 100:.1f}]"


def _interval(found: Estimate | None) -> str:
    if found is None:
        return "none"
    if found.low is None or found.high is None:
        return f"{found.mean:.3f}"
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _methods(runs: Mapping[str, Sequence[Mapping[str, Any]]], titles: Mapping[str, str]) -> list[str]:
    head = ["Row", "Seeds", "Weight on right", "Equal weights", "Relative regret"]
    head += [f"AUC, {score}" for score in SCORES]
    rows = []
    for label, own in runs.items():
        cells = [_estimate(own, "weight_on_right"), _estimate(own, "uniform_share")]
        cells += [_estimate(own, "relative_regret", "uniform_regret")]
        cells += [_estimate(own, f"auc.{score}") for score in SCORES]
        texts = [_interval(cell) for cell in cells]
        # What equal weights would give is known and no estimate.
        texts[1] = "none" if cells[1] is None else f"{cells[1].mean:.3f}"
        rows.append([titles.get(label, label), str(len(own)), *texts])
    reasons = {
        f"{name}: {text}" for own in runs.values() for run in own for name, text in run["reasons"].items()
    }
    note = ["", f"None: {'; '.join(sorted(reasons))}."] if reasons else []
    return [*grid(head, rows), *note]


def _teachers(runs: Mapping[str, Sequence[Mapping[str, Any]]], titles: Mapping[str, str]) -> list[str]:
    shown = [label for label in runs if not label.startswith("single_teacher")]
    teachers = list(next(iter(runs.values()))[0]["by_teacher"])
    head = ["Teacher", "Right", *(f"Weight, {titles.get(label, label)}" for label in shown)]
    rows = []
    for teacher in teachers:
        right = next(iter(runs.values()))[0]["by_teacher"][teacher]["right_share"]
        weights = [
            _mean([run["by_teacher"][teacher]["mean_weight"] for run in runs[label]]) for label in shown
        ]
        rows.append([teacher, f"{right:.3f}", *weights])
    return ["Teachers: share of right rationales, and mean weight.", "", *grid(head, rows)]


def _families(runs: Mapping[str, Sequence[Mapping[str, Any]]], titles: Mapping[str, str]) -> list[str]:
    families = [entry["family"] for entry in next(iter(runs.values()))[0]["by_family"]]
    if not families:
        return []
    head = ["Family", "Equal weights"]
    for label in runs:
        title = titles.get(label, label)
        head += [f"Weight on right, {title}", f"AUC of the weight, {title}"]
    rows = []
    for number, family in enumerate(families):
        entries = {label: [run["by_family"][number] for run in own] for label, own in runs.items()}
        first = next(iter(entries.values()))
        cells = [_mean([entry["uniform_share"] for entry in first])]
        for own in entries.values():
            cells.append(_mean([entry["weight_on_right"] for entry in own]))
            cells.append(_mean([entry["auc"]["fused"] for entry in own]))
        rows.append([family, *cells])
    return ["By family of questions, mean over seeds.", "", *grid(head, rows)]


def _windows(runs: Mapping[str, Sequence[Mapping[str, Any]]], titles: Mapping[str, str]) -> list[str]:
    head = ["Row", "Steps", "Weight on right", *(f"AUC, {score}" for score in SCORES)]
    rows = []
    for label, own in runs.items():
        for place in (0, -1):
            windows = [run["over_training"][place] for run in own if run["over_training"]]
            if not windows:
                continue
            steps = f"{windows[0]['first_step']} to {windows[0]['last_step']}"
            scores = [_mean([window["auc"][score] for window in windows]) for score in SCORES]
            share = _mean([window["weight_on_right"] for window in windows])
            rows.append([titles.get(label, label), steps, share, *scores])
    return ["At the start and at the end of training, mean over seeds.", "", *grid(head, rows)]


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "none"
