"""Strengths of the methods against forgetting, chosen by the rule of every choice; prints a page's table.

    python -m tests.strengths --suite lab --store FOLDER

Among the strengths whose validation accuracy ties with the highest, the one that keeps the base best is
taken: the least drift on neutral text. Test items are measured to be shown, and never read by the choice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from compact_bench.commands.planning import plan_method
from compact_bench.core.paths import cache_dir
from compact_bench.core.records import RunRecord, number_at
from compact_bench.results.selection import (
    Candidate,
    Choice,
    answers_by_seed,
    choose,
    few_note,
    percent,
    steps_beyond,
)
from compact_bench.results.tuning import MOST_STEPS
from compact_bench.runs.execution import execute_plan
from compact_bench.runs.session import Request, Session

GRIDS = {
    ("kl_to_base", "beta"): (0.03, 0.1, 0.3, 1.0),
    ("l2_to_start", "alpha"): (0.01, 0.1, 1.0, 10.0),
    ("replay", "ratio"): (0.25, 0.5, 1.0, 2.0),
}
SEEDS = (1, 2, 3)
ITEMS = 100


def records_of(request: Request, method: str) -> list[RunRecord]:
    """The runs of one strength, made if they are not there."""
    session = Session(request, [method])
    outcome = execute_plan([plan_method(session, method)], Console(stderr=True), quiet=True, workers=1)
    return list(outcome.records)


def candidate(value: float, records: Sequence[RunRecord]) -> Candidate:
    """A strength; of those that tie the one with the least drift is taken."""
    drifts = [number_at(record, "probes.drift_nats_per_token") or 0.0 for record in records]
    return Candidate(f"{value:g}", answers_by_seed(records), sum(drifts) / len(drifts))


def mean_of_test_items(records: Sequence[RunRecord]) -> float:
    """Mean accuracy on the in-distribution test items."""
    means = [sum(e["value"] for e in r.evaluations.values()) / len(r.evaluations) for r in records]
    return float(sum(means) / len(means))


def chosen_strength(suite: str, store: Path, method: str, field: str, grid: Sequence[float]) -> list[str]:
    """Try the grid, and beyond it where the choice lies at an edge; returns the lines of the table."""
    found: dict[float, list[RunRecord]] = {}
    due: Sequence[float] = grid
    choice: Choice | None = None
    while due:
        for value in due:
            overrides = (
                f"method.{field}={value:g}",
                "eval.validation_accuracy=true",
                'eval.groups=["in_distribution"]',
                f"eval.items_per_task={ITEMS}",
            )
            request = Request(suite, "lite", cache_dir(), store, SEEDS, overrides=overrides)
            found[value] = records_of(request, method)
        choice = choose([candidate(value, records) for value, records in found.items()])
        assert choice is not None
        picked = [float(choice.chosen.name), float(choice.highest.name)]
        due = steps_beyond(sorted(found), grid, picked, MOST_STEPS)
    assert choice is not None
    by_test = max(found, key=lambda value: mean_of_test_items(found[value]))
    lines = []
    for judged in sorted(choice.judged, key=lambda j: float(j.name)):
        value = float(judged.name)
        marks = ["chosen"] * (judged == choice.chosen) + ["ties"] * (judged.ties and judged != choice.chosen)
        marks += ["†"] * (value == by_test)
        lines.append(
            f"| {method} | {field} = {judged.name} | {percent(judged.accuracy, judged.error)} | "
            f"{judged.behind * 100:.1f} ± {judged.behind_error * 100:.1f} | {judged.cost:.4f} | "
            f"{percent(mean_of_test_items(found[value]))} | {', '.join(marks)} |"
        )
    return [*lines, *([few_note(choice.questions)] if method == "replay" else [])]


def main() -> None:
    """Choose every strength and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="lab")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--method", choices=[method for method, _ in GRIDS])
    options = parser.parse_args()
    print("| Method | Strength | Validation accuracy | Behind the highest, pp | Drift | Test items (†) | |")
    print("|---|---|---:|---:|---:|---:|---|")
    for (method, field), grid in GRIDS.items():
        if options.method in (None, method):
            print(*chosen_strength(options.suite, options.store, method, field, grid), sep="\n", flush=True)


if __name__ == "__main__":
    main()
