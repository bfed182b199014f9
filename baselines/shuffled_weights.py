"""Shuffled weights: another run's own weights, each question with those of another question of the epoch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from compact_bench import (
    ConfigError,
    FitReport,
    MethodCard,
    Question,
    RequiredRun,
    RunContext,
    Student,
    derive_seed,
    train,
)

from ._recorded_weights import (
    CHOICES,
    GivenWeights,
    RecordedWeightsConfig,
    Visit,
    Weights,
    other_run,
    recorded_visits,
)

TRIES = 100
"""Circles that are drawn before questions without a common teacher are given up."""


@dataclass(frozen=True)
class ShuffledWeights:
    """L = sum_k w_k(another question) (L_SFT,k + lambda * L_MCon,k)."""

    config: RecordedWeightsConfig
    config_type = RecordedWeightsConfig
    card = MethodCard(
        title="Shuffled weights: another run's weights, permuted over questions",
        short="Shuffled weights",
        source="ours: a comparator. It keeps how often each teacher gets which weight and takes away what "
        "the weights know of their question",
        ours=(
            "in every epoch each question gets the weights that another one had in that epoch of the run of "
            "the same seed that `of` names, COMPACT's by default; teachers keep theirs",
            "who gets whose is a random circle through the questions, drawn anew for every epoch by seed and "
            "ids: nobody gets its own, and every question's weights are used once",
            "where teachers lack questions or have several rationales, a circle joins questions with the "
            "same rationales; one that is alone in that joins those with most of its teachers: to it and "
            "from it weights go by teacher, over those that both have, scaled to the sum that they had",
            *CHOICES,
        ),
        uses_gold=True,
        min_teachers=2,
        needs=("a run of the method that weighs, which is made first", "a second question"),
        reproduction="no reference",
        allows=("missing_teachers", "several_samples"),
    )

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Deal the other run's weights out anew, then train on them."""
        run = other_run(context)
        epochs = by_epoch(run, recorded_visits(run, questions), questions, context.settings.train.epochs)
        seed = context.seed_for("shuffled weights")
        dealt = [shuffled(weights, derive_seed(seed, f"epoch {n}")) for n, weights in enumerate(epochs)]
        report = train(student, questions, GivenWeights.like(run, context, dealt), context)
        changed = sum(map(rescaled, epochs, dealt))
        return replace(report, extra={**report.extra, "rescaled_visits": changed})


def by_epoch(
    run: RequiredRun, visits: Sequence[Visit], questions: Sequence[Question], count: int
) -> list[dict[str, Weights]]:
    """Of every epoch, question id -> its weights.

    Raises:
        ConfigError: the run did not visit every question once in each epoch.
    """
    epochs: list[dict[str, Weights]] = [{} for _ in range(count)]
    for visit in visits:
        if visit.epoch < count:
            epochs[visit.epoch][visit.question_id] = visit.weights
    if len(visits) != count * len(questions) or any(len(weights) != len(questions) for weights in epochs):
        raise ConfigError(
            f"setting of: expected a method that visits each of {len(questions)} questions once in each of "
            f"{count} epochs, got {run.name!r}, whose run made {len(visits)} visits."
        )
    return epochs


def shuffled(weights: Mapping[str, Weights], seed: int) -> dict[str, Weights]:
    """Every question with the weights of another one.

    Args:
        weights: question id -> the weights of its rationales.

    Raises:
        ConfigError: a question is alone, or has no teacher in common with any other.
    """
    given: dict[str, Weights] = {}
    for pool in pools(weights):
        given |= _circle(pool, weights, seed)
    return given


def pools(weights: Mapping[str, Weights]) -> list[list[str]]:
    """Ids of questions with the same rationales' names; who is alone in that joins those most like it."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for question_id in sorted(weights):
        alike.setdefault(tuple(sorted(weights[question_id])), []).append(question_id)
    found = {names: list(ids) for names, ids in alike.items() if len(ids) > 1}
    alone = {names: ids for names, ids in alike.items() if len(ids) == 1}
    if not found:
        return [[question_id for ids in alone.values() for question_id in ids]]
    for names, ids in alone.items():
        teachers = set(map(_teacher, names))
        most = max(
            found, key=lambda other: (len(teachers & set(map(_teacher, other))), len(alike[other]), other)
        )
        found[most] += ids
    return list(found.values())


def _circle(pool: Sequence[str], weights: Mapping[str, Weights], seed: int) -> dict[str, Weights]:
    for attempt in range(TRIES if len(pool) > 1 else 0):
        # By seed and ids alone: the same in every process, whatever the order of the questions.
        order = sorted(pool, key=lambda name: (derive_seed(seed, f"{attempt}/{name}"), name))
        pairs = zip(order, [*order[1:], order[0]], strict=True)
        given = {taker: fitted(weights[giver], weights[taker]) for taker, giver in pairs}
        whole = {name: found for name, found in given.items() if found is not None}
        if len(whole) == len(pool):
            return whole
    raise ConfigError(
        f"shuffled_weights: expected questions that can take one another's weights, got {len(pool)} of which "
        f"none, or too few, have a teacher in common ({', '.join(sorted(pool)[:3])})."
    )


def fitted(weights: Weights, names: Collection[str]) -> Weights | None:
    """The weights of one question for the rationales of another; None where none of them has any.

    They are as they were where both have the same rationales. Else a teacher keeps its weight, in equal parts
    over its rationales, and all are scaled to the sum that they had.
    """
    if weights.keys() == {*names}:
        return weights
    several = Counter(map(_teacher, names))
    by_teacher = {
        teacher: math.fsum(weight for name, weight in weights.items() if _teacher(name) == teacher)
        for teacher in several
    }
    total, shared = math.fsum(weights.values()), math.fsum(by_teacher.values())
    if total and not shared:
        return None
    scale = total / shared if total else 0.0
    return {name: by_teacher[_teacher(name)] * scale / several[_teacher(name)] for name in names}


def _teacher(name: str) -> str:
    """The teacher of a rationale, who has its name, or "ada" of "ada#2"; no teacher is called with a `#`."""
    return name.partition("#")[0]


def rescaled(before: Mapping[str, Weights], after: Mapping[str, Weights]) -> int:
    """How many questions of an epoch have weights that no question had as they are."""
    kept = {id(weights) for weights in before.values()}
    return sum(id(weights) not in kept for weights in after.values())


METHOD = ShuffledWeights
