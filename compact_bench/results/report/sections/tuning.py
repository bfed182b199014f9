"""How learning rates were chosen: every trial with its value."""

from __future__ import annotations

from compact_bench.results.report.formatting import Reasons, number_text
from compact_bench.results.report.markdown import escaped, grid
from compact_bench.results.tuning import Trial, TunedRow, Tuning


def tuning_markdown(tuning: Tuning) -> list[str]:
    """How trials are made and judged, every trial's value, and the chosen rates."""
    rates = ", ".join(f"{rate:g}" for rate in tuning.rates)
    count = len(tuning.rates)
    trials = "1 trial" if count == 1 else f"{count} trials"
    lines = [
        f"Every row that trains had {trials}: one at each learning rate of the same grid ({rates}), under "
        f"seed {tuning.seed}. A trial trains as the row's runs do, is judged on the validation split and "
        "evaluates no benchmark. Rows that train nothing are not tuned.",
        "",
        "The numbers are nats per gold-answer token on the validation split, the mean of "
        f"{escaped(' and '.join(tuning.judged_by)) or 'what was measured'}; the best single teacher is "
        "chosen by the same values. The rate with the lowest value is chosen; of equal values, the smaller "
        "rate.",
        "",
    ]
    reasons = Reasons()
    rows = []
    for row in tuning.rows:
        cells = [_cell(trial, value, reasons) for trial, value in zip(row.trials, row.values, strict=True)]
        rows.append([row.title, *cells, _chosen(row)])
    lines += grid(["Row", *(f"{rate:g}" for rate in tuning.rates), "Chosen"], rows)
    for text in reasons.listing:
        lines += ["", escaped(text)]
    notes = _notes(tuning)
    return [*lines, "", " ".join(notes)] if notes else lines


def _cell(trial: Trial, value: float | None, reasons: Reasons) -> str:
    if value is not None:
        return number_text(value, "nats")
    record = trial.record
    if record is None:
        return "not run"
    if record.status == "done":
        return "no value"
    first = (record.reason.strip().splitlines() or ["no reason given"])[0]
    return reasons.short(f"{record.status}: {first}")


def _chosen(row: TunedRow) -> str:
    if row.chosen is None:
        return "not yet"
    if not row.judged:
        return f"{row.chosen:g} (untuned)"
    return f"{row.chosen:g}{' (edge)' if row.at_edge else ''}"


def _notes(tuning: Tuning) -> list[str]:
    notes = []
    if any(row.at_edge for row in tuning.rows):
        notes.append("Edge: the chosen rate is the grid's lowest or highest; a wider grid may do better.")
    if any(row.finished and not row.judged for row in tuning.rows):
        notes.append("Untuned: no trial of the row has a value, so its runs keep the profile's rate.")
    if any(row.chosen is None for row in tuning.rows):
        notes.append("Not yet: trials are missing, so the row is not run.")
    return notes
