"""How learning rates were chosen: every trial's accuracy, and what the test items would have chosen."""

from __future__ import annotations

from compact_bench.results.report.formatting import Reasons
from compact_bench.results.report.markdown import escaped, grid
from compact_bench.results.selection import Judged, choose, few_note, percent
from compact_bench.results.tuning import MOST_STEPS, Trial, TunedRow, Tuning

NOT_TRIED = ""


def tuning_markdown(tuning: Tuning) -> list[str]:
    """How trials are made and judged, every trial's accuracy, and the chosen rates."""
    start = ", ".join(f"{rate:g}" for rate in tuning.rates)
    seeds = ", ".join(map(str, tuning.seeds))
    count = len(tuning.rates)
    trials = "1 learning rate" if count == 1 else f"the same {count} learning rates"
    asked = "the" if tuning.questions is None else f"{tuning.questions:,}"
    lines = [
        f"Every row that trains tried {trials} ({start}) under seed{'s' * (len(tuning.seeds) > 1)} {seeds}. "
        "A trial trains as the row's runs do. Rows that train nothing are not tuned.",
        "",
        f"The numbers are the accuracy of generated answers to {asked} validation questions, in percent, "
        "mean over seeds ± standard error; the best single teacher is chosen by the same. The rate of the "
        "highest accuracy is chosen; of rates no further behind it than one standard error of the "
        "difference, the smallest, which moves the student least.",
        "",
        "Where the choice, or the highest accuracy, lies at an end of the rates that a row tried, it tries "
        f"one step more beyond that end, at most {MOST_STEPS} times.",
        "",
    ]
    if tuning.questions is not None and (few := few_note(tuning.questions)):
        lines += [few, ""]
    reasons = Reasons()
    rates = sorted({trial.rate for row in tuning.rows for trial in row.trials})
    rows = [
        [row.title, *(_cell(row, rate, reasons) for rate in rates), _chosen(row), _by_test_items(row)]
        for row in tuning.rows
    ]
    lines += grid(["Row", *(f"{rate:g}" for rate in rates), "Chosen", "By test items †"], rows)
    for text in reasons.listing:
        lines += ["", escaped(text)]
    return [*lines, "", " ".join(_notes(tuning))]


def _cell(row: TunedRow, rate: float, reasons: Reasons) -> str:
    trial = next((trial for trial in row.trials if trial.rate == rate), None)
    if trial is None:
        return NOT_TRIED
    if (failure := trial.failure) is not None:
        first = (failure.reason.strip().splitlines() or ["no reason given"])[0]
        return reasons.short(f"{failure.status}: {first}")
    if not trial.finished:
        return "not run"
    judged = _judged(row, trial)
    return percent(judged.accuracy, judged.error).replace(" %", "") if judged else "no value"


def _judged(row: TunedRow, trial: Trial) -> Judged | None:
    # Of a row that lacks further trials, what is there is shown by itself.
    choice = row.choice or choose([c for c in [trial.candidate] if c])
    every = choice.judged if choice else ()
    return next((judged for judged in every if judged.cost == trial.rate), None)


def _chosen(row: TunedRow) -> str:
    if row.chosen is None:
        return "not yet"
    if row.choice is None:
        return f"{row.chosen:g} (untuned)"
    marks = ["tie"] * (row.choice.chosen != row.choice.highest) + ["edge"] * any(row.edges)
    return " ".join([f"{row.chosen:g}", *([f"({', '.join(marks)})"] if marks else [])])


def _by_test_items(row: TunedRow) -> str:
    rate = row.test_rate
    if rate is None:
        return "not known"
    mean = next(trial.test_mean for trial in row.trials if trial.rate == rate)
    return f"{rate:g} ({percent(mean or 0.0)})"


def _notes(tuning: Tuning) -> list[str]:
    rows = tuning.rows
    notes = [
        "† What the in-distribution test items would have chosen, with their mean accuracy in the trials; "
        "they are not used to choose."
    ]
    if any(row.choice and row.choice.chosen != row.choice.highest for row in rows):
        notes.append("Tie: another rate's accuracy is higher, by no more than one standard error.")
    if any(len(row.trials) > len(tuning.rates) for row in rows):
        notes.append("Empty: the row was not extended so far.")
    if any(any(row.edges) for row in rows):
        notes.append(
            "Edge: the chosen rate, or the one of the highest accuracy, is the lowest or highest that was "
            "tried; another may do better."
        )
    if any(row.finished and row.choice is None for row in rows):
        notes.append("Untuned: no trial of the row has a value, so its runs keep the profile's rate.")
    if any(row.chosen is None for row in rows):
        notes.append("Not yet: trials are missing, so the row is not run.")
    return notes
