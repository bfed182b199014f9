"""Checks that compare fits: twice the same, teachers turned round, less known, interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from compact_bench.core.records import Question
from compact_bench.methods.checks.fits import (
    Fit,
    distance,
    interrupted_fit,
    logged_losses,
    moved,
    one_fit,
    same_bits,
)
from compact_bench.methods.checks.results import MethodError
from compact_bench.methods.checks.subject import Subject
from compact_bench.methods.checks.world import World, with_teachers
from compact_bench.methods.contract import SUITE_DATA, MethodCard, refusal

ORDER_TOLERANCE = 1e-3
"""Distance of the weights after training in another order, as a share of how far they moved. Rounding alone
leaves less than 1e-5 of it."""
LOSS_TOLERANCE = 1e-5


def determinism(fit: Fit, other: Fit) -> list[str]:
    """Whether two fits, begun with the global generators in different places, are alike."""
    drawn = [n for n in other.drawn if fit.generators[n] != other.generators[n] or n not in fit.drawn]
    problems = []
    if not same_bits(fit, other):
        problems.append("two fits with the same seed end with different weights")
    if drawn:
        problems.append(f"it draws from the global generator {' and '.join(drawn)}")
    if problems:
        problems.append(
            "let all chance come from a generator of your own, seeded by context.seed_for(...) or "
            "trainer.derive_seed, and iterate over no set"
        )
    return problems


def teacher_order(subject: Subject, world: World, fit: Fit) -> list[str]:
    """Whether the order in which a question names its teachers matters; `fit` is in the usual order."""
    backwards = [r.teacher for r in world.questions[0].rationales][::-1]
    other = one_fit(subject, replace(world, questions=with_teachers(world.questions, backwards)))
    share = distance(fit.after, other.after) / moved(fit)
    # A method of several trainings may do them in another order; its losses do not line up then.
    first, second = sorted(logged_losses(fit.logs)), sorted(logged_losses(other.logs))
    off = max((abs(a - b) / max(1.0, abs(a)) for a, b in zip(first, second, strict=False)), default=0.0)
    if share <= ORDER_TOLERANCE and off <= LOSS_TOLERANCE and len(first) == len(second):
        return []
    return [
        f"with the teachers of every question in reverse order, the weights end {100 * share:.2g} % of their "
        f"way apart (up to {100 * ORDER_TOLERANCE:.1g} % can be rounding) and losses differ by {off:.1g}: "
        "choose and weigh teachers by name or by what they wrote, never by position"
    ]


def _wrong_gold(question: Question, number: int, everyone: Sequence[Question]) -> Question:
    """The question with the gold answer of another one of its kind, which differs from its own."""
    others = [q.gold_answer for q in everyone if q.gold_answer != question.gold_answer]
    return replace(question, gold_answer=others[number % len(others)])


def _without_truth(question: Question) -> Question:
    return replace(question, rationales=tuple(replace(r, truth=None) for r in question.rationales))


Change = Callable[[tuple[Question, ...]], tuple[Question, ...]]

KNOWLEDGE: Mapping[str, tuple[Change, str]] = {
    "gold use": (
        lambda qs: tuple(_wrong_gold(q, n, qs) for n, q in enumerate(qs)),
        "with other gold answers",
    ),
    "truth use": (lambda qs: tuple(map(_without_truth, qs)), "without the truth about rationales"),
    "pairs use": (lambda qs: tuple(replace(q, pairs=()) for q in qs), "without pairs"),
    "reviews use": (lambda qs: tuple(replace(q, reviews=()) for q in qs), "without reviews"),
    "feedback use": (
        lambda qs: tuple(replace(q, feedback=(), mistake="") for q in qs),
        "without feedback and mistakes",
    ),
}
"""Check -> how questions are changed for it, and that in words."""

_MENDS = {
    f"{data} use": f'say so with requires=("{data}",) on the card, or do not read them' for data in SUITE_DATA
} | {"gold use": "say so with uses_gold=True on the card, or do not read them"}


def undeclared(subject: Subject, world: World, fit: Fit, card: MethodCard) -> dict[str, list[str]]:
    """For every kind of knowledge, whether the weights depend on it though the method says it has no need.

    Args:
        fit: with everything known.
    """
    method = subject.make()

    def is_free(name: str) -> bool:
        if name == "gold use":
            return not card.uses_gold
        lacking: dict[str, Any] = {f"has_{name.removesuffix(' use')}": False}
        return refusal(method, replace(world.suite, **lacking)) is None

    free = [name for name in KNOWLEDGE if is_free(name)]
    problems_of: dict[str, list[str]] = {name: [] for name in KNOWLEDGE}
    # All changes at once first: nearly every method stands that, and needs one fit for it.
    if free and _difference(subject, world, fit, free):
        for name in free:
            problem = _difference(subject, world, fit, [name])
            if problem:
                problems_of[name].append(f"{KNOWLEDGE[name][1]} {problem}: {_MENDS[name]}")
    return problems_of


def _difference(subject: Subject, world: World, fit: Fit, names: Sequence[str]) -> str:
    questions = world.questions
    for name in names:
        questions = KNOWLEDGE[name][0](questions)
    try:
        other = one_fit(subject, replace(world, questions=questions))
    except MethodError as error:
        return str(error)
    return "" if same_bits(fit, other) else "it trains other weights"


def resume(subject: Subject, world: World, fit: Fit) -> list[str]:
    """Whether a run that was killed after every step ends like one that was not.

    Args:
        fit: without an interruption.
    """
    other = interrupted_fit(subject, world)
    if other.lives == 1:
        return []
    problems = []
    if not same_bits(fit, other):
        share = distance(fit.after, other.after) / moved(fit)
        problems.append(
            f"a run that was interrupted ends with other weights ({100 * share:.1f} % of their way)"
        )
    counts = ("optimiser_steps", "branches", "supervised_tokens", "total_tokens", "final_loss")
    problems += [
        f"its report has {name} {getattr(other.report, name)}, expected {getattr(fit.report, name)}"
        for name in counts
        if getattr(other.report, name) != getattr(fit.report, name)
    ]
    if problems:
        problems.append(
            "what a step needs must follow from seed, step and question, or be kept by the loop "
            "(OwnsParameters); an attribute that grows while training is lost with the process"
        )
    return problems
