"""One rule for every choice: accuracy of generated answers to validation questions, ties to the cheaper.

Teachers, learning rates and strengths of methods against forgetting are chosen by it. Test items never enter:
a candidate holds answers to validation questions and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compact_bench.core.records import RunRecord, value_at
from compact_bench.data.validation.splits import WANTED_VALIDATION_QUESTIONS as WANTED_QUESTIONS
from compact_bench.evaluation.probes.validation_accuracy import ENTRY
from compact_bench.results.statistics.contrasts import variance_parts

FEWEST_QUESTIONS = 25
"""Below it the standard error of an accuracy of 50 % is over 10 pp: what is chosen is chosen by chance."""
MEASURE = "accuracy of generated answers"


@dataclass(frozen=True)
class Candidate:
    """What may be chosen.

    Attributes:
        answers: seed -> validation question -> score of the generated answer, in [0, 1].
        cost: what decides among candidates that tie; the lowest is taken.
    """

    name: str
    answers: Mapping[int, Mapping[str, float]]
    cost: float


@dataclass(frozen=True)
class Judged:
    """A candidate as measured.

    Attributes:
        accuracy: in [0, 1], mean over seeds and questions.
        error: its standard error, with seeds and questions drawn; 0 where there is one answer only.
        behind: the highest accuracy minus this one, over the same seeds and questions.
        behind_error: standard error of that difference.
    """

    name: str
    cost: float
    accuracy: float
    error: float
    behind: float
    behind_error: float

    @property
    def ties(self) -> bool:
        """Whether it lies no further behind the highest than one standard error of the difference."""
        return self.behind <= self.behind_error + 1e-12


@dataclass(frozen=True)
class Choice:
    """What was chosen, among what.

    Attributes:
        judged: every candidate, the highest accuracy first.
        questions, seeds: how many every candidate has answers of.
    """

    judged: tuple[Judged, ...]
    questions: int
    seeds: int

    @property
    def highest(self) -> Judged:
        """The candidate of the highest accuracy."""
        return self.judged[0]

    @property
    def chosen(self) -> Judged:
        """The cheapest of those that tie with the highest; of equally cheap ones the first by name."""
        return min((j for j in self.judged if j.ties), key=lambda j: (j.cost, j.name))


def standard_error(values: NDArray[np.float64]) -> float:
    """Standard error of a mean over seeds and items, both of which are drawn (crossed random effects).

    Args:
        values: Float[seeds, items]; with one seed the error is over items alone, with one value it is 0.
    """
    seeds, items = values.shape
    if items < 2:
        return 0.0
    if seeds == 1:
        return float(values.std(ddof=1) / math.sqrt(items))
    of_seeds = values.mean(axis=1).var(ddof=1) / seeds
    return math.sqrt(float(of_seeds + variance_parts([values]).item_part))


def choose(candidates: Sequence[Candidate]) -> Choice | None:
    """Judge candidates over the seeds and questions that all of them have; None where there are none."""
    if not candidates:
        return None
    seeds = sorted(set.intersection(*(set(c.answers) for c in candidates)))
    asked = [set(c.answers[seed]) for c in candidates for seed in seeds]
    questions = sorted(set.intersection(*asked)) if asked else []
    if not questions:
        return None
    values = {
        c.name: np.array([[c.answers[s][q] for q in questions] for s in seeds], dtype=np.float64)
        for c in candidates
    }
    # Of equal accuracies the cheapest stands first, whatever the order of the candidates.
    order = sorted(candidates, key=lambda c: (-round(float(values[c.name].mean()), 12), c.cost, c.name))
    best = values[order[0].name]
    judged = tuple(
        Judged(
            c.name,
            c.cost,
            float(values[c.name].mean()),
            standard_error(values[c.name]),
            float((best - values[c.name]).mean()),
            standard_error(best - values[c.name]),
        )
        for c in order
    )
    return Choice(judged, len(questions), len(seeds))


def steps_beyond(
    tried: Sequence[float], grid: Sequence[float], picked: Sequence[float], most: int
) -> tuple[float, ...]:
    """Values that are due beyond what was tried: one step past an end that was picked, by the last ratio.

    Args:
        tried: in ascending order, above 0; the grid and what was added to it.
        grid: what is always tried.
        picked: what was chosen, and what has the highest accuracy.
        most: how many steps beyond each end of the grid are allowed.
    """
    if len(tried) < 2:
        return ()
    below, above = sum(value < min(grid) for value in tried), sum(value > max(grid) for value in tried)
    due = [tried[0] * tried[0] / tried[1]] if tried[0] in picked and below < most else []
    due += [tried[-1] * tried[-1] / tried[-2]] if tried[-1] in picked and above < most else []
    # As people would write them: 3e-4 times 1/3 is 1e-4.
    return tuple(float(f"{value:.6g}") for value in due)


def validation_answers(record: RunRecord) -> dict[str, float]:
    """Validation question -> score of a run's generated answer; {} where the run has none."""
    entry = value_at(record, f"probes.{ENTRY}")
    if not isinstance(entry, Mapping):
        return {}
    return dict(zip(entry.get("item_ids", ()), entry.get("items", ()), strict=False))


def answers_by_seed(runs: Sequence[RunRecord]) -> dict[int, dict[str, float]]:
    """Answers of a candidate's finished runs; a run without any is left out."""
    found = {run.key.seed: validation_answers(run) for run in runs if run.status == "done"}
    return {seed: answers for seed, answers in found.items() if answers}


def too_few(questions: int, profile: str | None) -> str:
    """Why so few questions choose nothing; "" where they do.

    Profile `smoke` chooses by any number: all of its numbers mean nothing, and its page says so.
    """
    if questions >= FEWEST_QUESTIONS or profile == "smoke":
        return ""
    return f"{questions} validation question{'s' * (questions != 1)}, where {FEWEST_QUESTIONS} are the fewest"


def few_note(questions: int) -> str:
    """What a reader must know of a choice by fewer questions than are wanted; "" where there are enough."""
    if questions >= WANTED_QUESTIONS:
        return ""
    error = 50 / math.sqrt(max(1, questions))
    return (
        f"{questions} validation questions are few ({WANTED_QUESTIONS} are wanted): the standard error of an "
        f"accuracy of 50 % is {error:.1f} pp over questions alone, so candidates within about "
        f"{math.sqrt(2) * error:.0f} pp of each other tie, or are told apart by chance."
    )


def percent(value: float, error: float | None = None) -> str:
    """An accuracy in percent ("61.8 %", "61.8 % ± 2.9")."""
    return f"{value * 100:.1f} %" + ("" if error is None else f" ± {error * 100:.1f}")
