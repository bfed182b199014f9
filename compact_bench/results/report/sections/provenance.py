"""Where numbers come from, as Markdown: code, packages, hardware, settings of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from compact_bench.core.provenance import flat
from compact_bench.core.records import RunRecord
from compact_bench.results.report.markdown import escaped

VOLATILE = ("started", "finished", "seconds", "cpu_seconds", "times", "suite_notes", "request")
"""Provenance that differs between any two runs, or is shown elsewhere in the report."""


def provenance_markdown(runs: Sequence[RunRecord]) -> list[str]:
    """What all runs share, once; then, for what differs, every value with its runs."""
    facts = [
        flat({name: value for name, value in run.provenance.items() if name not in VOLATILE}) | _paths(run)
        for run in runs
    ]
    names = sorted({name for fact in facts for name in fact})
    shared, differing = [], []
    for name in names:
        values: dict[str, list[str]] = {}
        for run, fact in zip(runs, facts, strict=True):
            values.setdefault(fact.get(name, "not recorded"), []).append(run.key.hash)
        if len(values) == 1:
            shared.append([name, next(iter(values))])
            continue
        for value, hashes in sorted(values.items()):
            shown = ", ".join(hashes[:4]) + (f" and {len(hashes) - 4} more" if len(hashes) > 4 else "")
            differing.append(f"- {escaped(name)} = {escaped(value)}: {len(hashes)} runs ({shown})")
    lines = [f"- {escaped(name)}: {escaped(value)}" for name, value in shared]
    if differing:
        lines += ["", "The runs differ in:", "", *differing]
    return lines


def _paths(run: RunRecord) -> dict[str, str]:
    """What computed a run's training steps and evaluations; the reason where it was not the fastest way."""
    step = run.training.get("extra", {}).get("step")
    training = "none"
    if step is not None:
        why = f" ({step['layout_reason']})" if step["layout_reason"] else ""
        training = f"{step['layout']} rows{why}, {step['kernels']} layers"
    engines = {
        result["engine"] + (f" ({result['engine_reason']})" if result.get("engine_reason") else "")
        for result in run.evaluations.values()
        if "engine" in result
    }
    return {"training step": training, "evaluation engine": ", ".join(sorted(engines)) or "none"}
