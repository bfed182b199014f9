"""Whether the weights go to the rationales that are right: tables and sentences, from run records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compact_bench.core.records import RunRecord, value_at
from compact_bench.results.report.formatting import Reasons
from compact_bench.results.report.markdown import LONG_ROWS, escaped, folded, grid
from compact_bench.results.stats import Estimate, Sample, estimate

SCORES = {
    "consensus": "consensus",
    "adaptability": "adaptability",
    "difficulty": "difficulty (sign turned)",
    "fused": "the weight made of all three",
}
LABELS = ("compact", "compact_released")
"""Rows that weight teachers by scores."""
CHANCE = 0.5
EQUAL = 1.0
"""Relative regret of equal weights."""
ROUNDING = 1e-9
TEACHER_COLUMNS = 6
"""More rows than these stand below one another."""
NO_REASON = "not recorded"
NOT_READ = "the method read none of its rationales"
NOT_PAIRED = "no question has it in every seed"
Scores = Mapping[str, Any]


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
        "questions. Relative regret is the weight on wrong rationales over that of equal weights on the same "
        "questions; its interval, below or above 1, says whether a row does better or worse than they. An "
        "area under the ROC curve (AUC) is the probability that a right rationale of a question ranks above "
        "a wrong one; 0.5 is chance.",
        "",
    ]
    for label in (label for label in LABELS if label in runs):
        lines += [f"- {escaped(text)}" for text in _sentences(titles.get(label, label), runs[label])]
    lines += [f"- {escaped(text)}" for text in _best_constant(runs, titles)]
    reasons = Reasons()
    ranked, shares = _methods(runs, titles, reasons), _teachers(runs, titles, reasons)
    if len(runs) > LONG_ROWS:
        ranked = folded(f"Truth scores, {len(runs)} rows", ranked)
        shares = folded("Weight on each teacher", shares)
    lines += ["", *ranked, "", *shares]
    weighting = {label: runs[label] for label in LABELS if label in runs}
    if weighting:
        lines += ["", *_families(weighting, titles, reasons), "", *_windows(weighting, titles, reasons)]
    for text in reasons.listing:
        lines += ["", escaped(text)]
    return lines


def _best_constant(runs: Mapping[str, list[Scores]], titles: Mapping[str, str]) -> list[str]:
    """What the single teacher that is right most often has; none where no single teacher ran."""
    single = {label: own for label, own in runs.items() if label.startswith("single_teacher[")}
    shares = {label: mean for label, own in single.items() if (mean := _share_of(own)) is not None}
    weighting = [label for label in LABELS if label in runs]
    if not shares or not weighting:
        return []
    # Of a teacher's two rows, which have the same share, the one with a single pass.
    best = max(shares, key=lambda label: (shares[label], ":" not in label))
    return [
        f"{titles.get(best, best)}, which puts all weight on one teacher whatever the question, has "
        f"{shares[best] * 100:.1f} % on right rationales. A method with no more than that may have found "
        "this teacher without telling right from wrong rationales: see its AUCs, and the weights per teacher."
    ]


def _share_of(runs: Sequence[Scores]) -> float | None:
    """Mean over seeds of the weight on right rationales; None where a seed has none."""
    values = [run["weight_on_right"] for run in runs]
    return None if None in values else float(np.mean(values))


def _by_label(records: Sequence[RunRecord]) -> dict[str, list[Scores]]:
    """Label -> truth scores of its finished runs, in the order of seeds."""
    found: dict[str, list[Scores]] = {}
    for record in sorted(records, key=lambda r: (r.key.label, r.key.seed)):
        scores = value_at(record, "probes.truth")
        if record.status == "done" and isinstance(scores, Mapping):
            found.setdefault(record.key.label, []).append(scores)
    return found


def _at(entry: Scores, name: str) -> Any:
    """The value at a dotted name."""
    found: Any = entry
    for part in name.split("."):
        found = found[part]
    return found


def _estimate(runs: Sequence[Scores], name: str, *, weights: str = "", given: str = "") -> Estimate | None:
    """Mean and interval of a value per question; None where no question has it in every seed.

    Args:
        runs: one per seed; questions are matched by their ids.
        name: which of the items' values ("weight_on_right", "auc.fused").
        weights: the items' weights in the mean, or "".
        given: another of the items' values; only questions that have it too count.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    for part in (name, weights, given):
        rows[part] = [_values(run, part) for run in runs] if part else []
    needed = rows[name] + rows[given]
    there = [i for i in rows[name][0] if all(i in row for row in needed)]
    if not there:
        return None
    weight = {"": np.array([rows[weights][0][i] for i in there])} if weights else {}
    # One task name for all values: the same draws, so that their intervals belong to the same questions.
    return estimate(Sample({"": np.array([[row[i] for i in there] for row in rows[name]])}, weights=weight))


def _values(run: Scores, name: str) -> dict[str, float]:
    """Question id -> value, of the questions that have one."""
    pairs = zip(run["items"]["question_ids"], _at(run["items"], name), strict=True)
    return {question: float(value) for question, value in pairs if value is not None}


def _shares(runs: Sequence[Scores]) -> tuple[Estimate | None, Estimate | None, Estimate | None]:
    """Weight on right rationales, what equal weights give on the same questions, relative regret."""
    return (
        _estimate(runs, "weight_on_right"),
        _estimate(runs, "uniform_share", given="weight_on_right"),
        _estimate(runs, "relative_regret", weights="uniform_regret"),
    )


def _side(found: Estimate, level: float) -> int:
    """1 where the interval is above a level, -1 where it is below, 0 where it cannot be told."""
    if found.low is None or found.high is None:
        return 0
    return int(found.low > level + ROUNDING) - int(found.high < level - ROUNDING)


def _sentences(title: str, runs: Sequence[Scores]) -> list[str]:
    share, equal, regret = _shares(runs)
    if share is None or equal is None or regret is None:
        return [f"{title}: nothing can be told ({_reason(runs, 'weight_on_right')})."]
    side = {
        -1: f"more than the {_percent(equal.mean)} % that equal weights would",
        0: f"which cannot be told from the {_percent(equal.mean)} % that equal weights would",
        1: f"less than the {_percent(equal.mean)} % that equal weights would",
    }[_side(regret, EQUAL)]
    seeds = "1 seed" if share.seeds == 1 else f"{share.seeds} seeds"
    questions = "1 question" if share.items == 1 else f"{share.items} questions"
    between = "" if share.low is None or share.high is None else _between(share.low, share.high)
    told = [
        f"{title} puts {_percent(share.mean)} %{between} of its weight on right rationales, {side} "
        f"(relative regret {_interval(regret)}; n = {seeds}, {questions})."
    ]
    groups: dict[int, list[str]] = {1: [], -1: [], 0: []}
    missing: dict[str, list[str]] = {}
    for score, name in SCORES.items():
        area = _estimate(runs, f"auc.{score}")
        if area is None:
            missing.setdefault(_reason(runs, f"auc.{score}"), []).append(name)
        else:
            groups[_side(area, CHANCE)].append(f"{name} (AUC {_interval(area)})")
    for group, words in (
        (1, "ranks right above wrong rationales better than chance"),
        (-1, "ranks right above wrong rationales worse than chance"),
        (0, "cannot be told from chance"),
    ):
        if groups[group]:
            told.append(f"{title}: what {words}: {', '.join(groups[group])}.")
    told += [f"{title}: no ranking by {', '.join(names)}: {reason}." for reason, names in missing.items()]
    return told


def _reason(entries: Sequence[Scores], name: str) -> str:
    """Why none of some summaries has a value."""
    key = name.replace(".", "_")
    given = [entry["reasons"][key] for entry in entries if key in entry["reasons"]]
    if given:
        return str(given[0])
    return NOT_PAIRED if any(_at(entry, name) is not None for entry in entries) else NO_REASON


def _number(value: float) -> str:
    # A zero has no sign, whatever rounding left of it.
    return f"{round(value, 3) + 0.0:.3f}"


def _percent(value: float) -> str:
    return f"{value * 100:.1f}"


def _between(low: float, high: float) -> str:
    return f" [{_percent(low)}, {_percent(high)}]"


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return _number(found.mean)
    return f"{_number(found.mean)} [{_number(found.low)}, {_number(found.high)}]"


def _methods(runs: Mapping[str, Sequence[Scores]], titles: Mapping[str, str], reasons: Reasons) -> list[str]:
    head = ["Row", "Seeds", "Questions", "Weight on right", "Equal weights", "Relative regret"]
    head += [f"AUC, {score}" for score in SCORES]
    rows = []
    for label, own in runs.items():
        share, equal, regret = _shares(own)
        cells = {"weight_on_right": share, "relative_regret": regret}
        cells |= {f"auc.{score}": _estimate(own, f"auc.{score}") for score in SCORES}
        count = share.items if share else 0
        texts = []
        for name, found in cells.items():
            text = reasons.short(_reason(own, name)) if found is None else _interval(found)
            texts.append(f"{text} (n = {found.items})" if found and found.items != count else text)
        # What equal weights would give is known and no estimate.
        texts.insert(1, _number(equal.mean) if equal else reasons.short(_reason(own, "uniform_share")))
        rows.append([titles.get(label, label), str(len(own)), str(count), *texts])
    return grid(head, rows)


def _teachers(runs: Mapping[str, Sequence[Scores]], titles: Mapping[str, str], reasons: Reasons) -> list[str]:
    # A single teacher's weights say nothing: its own is 1.
    shown = [label for label in runs if not label.startswith("single_teacher")]
    every = {name: found for own in runs.values() for name, found in own[0]["by_teacher"].items()}
    head = ["Teacher", "Right", *(f"Weight, {titles.get(label, label)}" for label in shown)]
    rows = []
    for teacher, facts in every.items():
        weights = []
        for label in shown:
            found = [run["by_teacher"][teacher] for run in runs[label] if teacher in run["by_teacher"]]
            weights.append(_mean(found, "mean_weight", reasons, NOT_READ))
        rows.append([teacher, _number(facts["right_share"]), *weights])
    text = "Teachers: share of right rationales, and mean weight over questions, mean over seeds."
    if len(shown) > TEACHER_COLUMNS:
        # A column per row would be too many to read: turned, there is one per teacher.
        turned = zip(head[1:], *(row[1:] for row in rows), strict=True)
        head, rows = ["Row", *(row[0] for row in rows)], [list(cells) for cells in turned]
    return [text, "", *grid(head, rows)]


def _families(runs: Mapping[str, Sequence[Scores]], titles: Mapping[str, str], reasons: Reasons) -> list[str]:
    every = (entry["family"] for own in runs.values() for run in own for entry in run["by_family"])
    families = list(dict.fromkeys(every))
    if not families:
        return []
    head = ["Family", "Equal weights"]
    for label in runs:
        title = titles.get(label, label)
        head += [f"Weight on right, {title}", f"AUC of the weight, {title}"]
    rows = []
    for family in families:
        entries = [
            [entry for run in own for entry in run["by_family"] if entry["family"] == family]
            for own in runs.values()
        ]
        cells = [_mean(next(own for own in entries if own), "uniform_share", reasons)]
        for own in entries:
            cells += [_mean(own, name, reasons) for name in ("weight_on_right", "auc.fused")]
        rows.append([family, *cells])
    return ["By family of questions, mean over seeds.", "", *grid(head, rows)]


def _windows(runs: Mapping[str, Sequence[Scores]], titles: Mapping[str, str], reasons: Reasons) -> list[str]:
    head = ["Row", "Steps", "Weight on right", *(f"AUC, {score}" for score in SCORES)]
    rows = []
    for label, own in runs.items():
        windows = [run["over_training"] for run in own if run["over_training"]]
        shortest = min((len(listed) for listed in windows), default=0)
        for place in (0, -1)[:shortest]:
            entries = [listed[place] for listed in windows]
            steps = f"{entries[0]['first_step']} to {entries[0]['last_step']}"
            names = ("weight_on_right", *(f"auc.{score}" for score in SCORES))
            cells = [_mean(entries, name, reasons) for name in names]
            rows.append([titles.get(label, label), steps, *cells])
    return ["At the start and at the end of training, mean over seeds.", "", *grid(head, rows)]


def _mean(entries: Sequence[Scores], name: str, reasons: Reasons, reason: str = "") -> str:
    """Mean of a value over seeds, which says where only some have it; or why none has.

    Args:
        entries: one per seed.
        name: the value's dotted name.
        reasons: collects long reasons.
        reason: why there is none; "" for what the entries say.
    """
    known = [value for value in (_at(entry, name) for entry in entries) if value is not None]
    if not known:
        return reasons.short(reason or (_reason(entries, name) if entries else NO_REASON))
    text = _number(float(np.mean(known)))
    return text if len(known) == len(entries) else f"{text} ({len(known)} of {len(entries)} seeds)"
