"""Checks of one fit: that it trains and reports, what it spends, and what it leaves behind."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from compact_bench.evaluation.probes.steps_table import rationale_names
from compact_bench.methods.checks.fits import Fit, logged_losses, moved
from compact_bench.methods.checks.world import World, run_settings
from compact_bench.methods.contract import MethodCard
from compact_bench.training.optimiser import schedule_steps
from compact_bench.training.protocol import FitReport

COLUMNS = ("step", "question_id", "teacher", "teacher_weight", "supervised_loss")
TOLERANCE = 1e-4


def untrained(fit: Fit) -> list[str]:
    """Whether a method without training leaves the student and the report as they are."""
    problems = []
    if fit.optimiser_steps or moved(fit):
        problems.append("card.min_teachers is 0, which means no training, but the student's weights changed")
    if fit.report != FitReport(prompt_prefix=fit.report.prompt_prefix):
        problems.append(f"card.min_teachers is 0, but the report is not empty: {fit.report}")
    return problems


def trains(fit: Fit, world: World) -> list[str]:
    """Whether weights moved, and report, log and steps table say how."""
    report = fit.report
    if not moved(fit):
        return ["no weight of the student changed (a method without training has card.min_teachers=0)"]
    problems = []
    if any(not bool(tensor.isfinite().all()) for tensor in fit.after.values()):
        problems.append("weights are not finite")
    if report.optimiser_steps < 1 or report.branches < 1:
        problems.append(
            f"the report has {report.optimiser_steps} optimiser steps and {report.branches} branches, "
            "expected both above 0"
        )
    if not 0 < report.supervised_tokens <= report.total_tokens:
        problems.append(
            f"the report has {report.supervised_tokens} supervised of {report.total_tokens} tokens, expected "
            "some, and no more than all"
        )
    if report.final_loss is None or not math.isfinite(report.final_loss):
        problems.append(f"the report's final loss is {report.final_loss}, expected a finite number")
    if not math.isfinite(report.seconds) or report.seconds < 0:
        problems.append(f"the report's seconds are {report.seconds}")
    problems += _not_plain(report.extra)
    losses = logged_losses(fit.logs)
    if len(losses) < report.optimiser_steps or not all(map(math.isfinite, losses)):
        problems.append(
            f"context.log was called with {sum(map(math.isfinite, losses))} finite losses in "
            f"{report.optimiser_steps} optimiser steps, expected one a step"
        )
    return problems + (["no steps table was written"] if fit.table is None else _table(fit.table, fit, world))


def _not_plain(extra: Any) -> list[str]:
    try:
        json.dumps(dict(extra), allow_nan=False, default=lambda value: value.item())
    except (AttributeError, TypeError, ValueError) as error:
        return [f"the report's extra is no plain data that a record can hold: {error}"]
    return []


def _table(table: pd.DataFrame, fit: Fit, world: World) -> list[str]:
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        return [f"the steps table has no column {', '.join(missing)}: rows of StepLoss need them"]
    problems, steps = [], fit.report.optimiser_steps
    last = int(table["step"].max())
    if not 1 <= last <= steps or int(table["step"].min()) < 1:
        problems.append(f"the steps table ends with step {last}, the report has {steps} steps")
    strangers = sorted(set(table["question_id"]) - {q.id for q in world.questions})
    if strangers:
        problems.append(f"the steps table names questions that nobody gave: {', '.join(strangers[:3])}")
    weights = table["teacher_weight"]
    wrong = weights[~((weights >= -TOLERANCE) & (weights <= 1 + TOLERANCE))]
    if len(wrong):
        problems.append(
            f"teacher weights must be shares of a question's loss, from 0 to 1; {len(wrong)} are not, the "
            f"first is {wrong.iloc[0]}"
        )
    # Of a rationale that has no share in the loss it may not be known.
    if not bool(table.loc[weights > 0, "supervised_loss"].map(math.isfinite).all()):
        problems.append("supervised losses in the steps table are not finite")
    reported = dict(fit.report.extra.get("mean_teacher_weights", {}))
    means = weights.groupby(table["teacher"]).mean()
    for teacher, mean in means.items():
        if abs(float(reported.get(str(teacher), mean)) - float(mean)) > TOLERANCE:
            problems.append(
                f"the report's mean weight of {teacher} is {reported[str(teacher)]}, "
                f"in the steps table {mean}"
            )
    return problems


def ragged(fit: Fit, uneven: World, complete: Fit) -> list[str]:
    """Whether a fit on a ragged set reads what one on a complete set would.

    Args:
        complete: the fit where every question has one rationale of every teacher.
    """
    if fit.table is None or complete.table is None:
        return []
    given = {(q.id, r.name) for q in uneven.questions for r in q.rationales}
    rows = fit.table.assign(rationale=rationale_names(fit.table))
    read = set(zip(rows["question_id"], rows["rationale"], strict=True))
    problems = []
    if strangers := sorted(read - given):
        problems.append(
            f"the steps table names rationales that are not there: {_listed(strangers)}; a row of one of "
            "several needs its `sample` (branch_rows and EncodedBranch.columns write it)"
        )
    of_complete = set(zip(complete.table["question_id"], complete.table["teacher"], strict=True))
    reads_all = len(of_complete) == len(uneven.questions) * len(uneven.suite.teachers)
    if reads_all and (left := sorted(given - read)):
        problems.append(f"where nothing is missing it reads all, here it leaves out {_listed(left)}")
    keys = ["step", "question_id"]
    if (
        rows.duplicated([*keys, "rationale"]).any()
        and not complete.table.duplicated([*keys, "teacher"]).any()
    ):
        problems.append("the steps table has rationales twice in a step")
    if _most_weight(complete.table) <= 1 + TOLERANCE < _most_weight(fit.table):
        problems.append(f"the weights of a question sum to {_most_weight(fit.table):.3g}, expected 1 at most")
    return problems


def _listed(rationales: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} of question {question}" for question, name in rationales[:3])


def _most_weight(table: pd.DataFrame) -> float:
    return float(table.groupby(["epoch", "question_id"])["teacher_weight"].sum().max())


def budget(fit: Fit, whole: Fit | None, card: MethodCard, world: World) -> list[str]:
    """Whether more is spent than is said.

    Args:
        fit: with adapters.
        whole: of all weights, with a row for every branch, so that tokens are read just as often as they are
            reported; None where it failed.
    """
    report, settings = fit.report, run_settings(lora=True).train
    allowed, problems = schedule_steps(settings, len(world.questions)), []
    if fit.optimiser_steps != report.optimiser_steps:
        problems.append(
            f"{fit.optimiser_steps} updates of the weights happened, the report says "
            f"{report.optimiser_steps}: report all of them"
        )
    most = max(fit.optimiser_steps, report.optimiser_steps)
    if most > allowed and not card.extra_steps:
        problems.append(
            f"{most} updates of the weights, the schedule has {allowed} (epochs times groups of questions): "
            "take no more, or say in card.extra_steps what is spent more"
        )
    for one in (fit, whole):
        if one is not None and one.tokens > one.report.total_tokens:
            problems.append(
                f"the student read {one.tokens} tokens to learn from, the report says "
                f"{one.report.total_tokens}: count all that it trains on"
            )
            break
    return problems


def global_state(fit: Fit, other: Fit) -> list[str]:
    """Whether process and student are as before, by fits that began with the generators in other places."""
    reset = [n for n in other.drawn if n in fit.drawn and fit.generators[n] == other.generators[n]]
    problems = [f"it changes {what}" for what in other.changes]
    problems += [f"it seeds the global generator {name}" for name in reset]
    if problems:
        problems.append("other runs share these: put them back, or use a generator of your own")
    return problems + other.leftovers


def files(fit: Fit) -> list[str]:
    """Whether it wrote only where it may."""
    touched = list(dict.fromkeys(fit.watch.files))
    if not touched:
        return []
    more = f" and {len(touched) - 3} more" if len(touched) > 3 else ""
    return [f"it writes {', '.join(touched[:3])}{more}: write into context.directory only"]


def network(fit: Fit) -> list[str]:
    """Whether it stayed off the network."""
    addresses = list(dict.fromkeys(fit.watch.network))
    return [f"it asks the network for {', '.join(addresses)}: a run must work offline"] if addresses else []


def inputs(fit: Fit) -> list[str]:
    """Whether what other runs use too is as before."""
    return [f"it changes {what}, which other runs use too: change a copy" for what in fit.shared]
