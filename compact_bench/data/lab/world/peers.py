"""What the lab's teachers say beyond their rationales: right and wrong pairs, reviews, feedback.

None of it changes a rationale: each draws from a generator of its own, made of seed, names and question.
"""

from __future__ import annotations

from compact_bench.core.records import Feedback, PeerReview, RationalePair
from compact_bench.data.lab.world.families import FAMILIES
from compact_bench.data.lab.world.problems import Chain, Problem, right_chain, slipped_chain
from compact_bench.data.lab.world.settings import WorldSettings
from compact_bench.data.lab.world.teachers import (
    STRONG_FAMILIES,
    STYLES,
    TEACHERS,
    chain_text,
    seeded,
    teacher_chain,
)

_FLUENT = ("connected", "breezy")
"""Styles that please a reviewer who does not look at the steps."""


def pairs(problem: Problem, world: WorldSettings) -> tuple[RationalePair, ...]:
    """One pair per teacher, of its own rationale and of one that it tells on a similar path.

    A right rationale gets a wrong one with a slip in one step, from which it reasons on in the same style. A
    wrong one gets the right one, which shares its steps up to the wrong one.
    """
    return tuple(_pair(teacher, problem, world) for teacher in TEACHERS)


def _pair(teacher: str, problem: Problem, world: WorldSettings) -> RationalePair:
    family, chain = FAMILIES[problem.family], teacher_chain(teacher, problem, world)
    if chain.first_wrong_step is None:
        other = slipped_chain(family, problem, seeded("pair", world.seed, teacher, problem.text))
        right, wrong, corrupted = chain, other, True
    else:
        right, wrong, corrupted = right_chain(family, problem), chain, False
    chosen, rejected = (chain_text(c, STYLES[teacher]) for c in (right, wrong))
    return RationalePair(teacher, chosen, rejected, "corrupted" if corrupted else "rectified")


def reviews(problem: Problem, world: WorldSettings) -> tuple[PeerReview, ...]:
    """Every teacher's score of every other's rationale, given the gold answer as a hint.

    Ponder, and a specialist in the families it is good at, look for the wrong step and are hard on one that
    comes early. Breezy, and a specialist elsewhere, look at the answer and like a fluent text; a specialist
    is lenient where it would have followed the wrong rule itself.
    """
    chains = {teacher: teacher_chain(teacher, problem, world) for teacher in TEACHERS}
    return tuple(
        PeerReview(author, reviewer, _score(author, reviewer, problem, world, chains))
        for author in TEACHERS
        for reviewer in TEACHERS
        if reviewer != author
    )


def _score(
    author: str, reviewer: str, problem: Problem, world: WorldSettings, chains: dict[str, Chain]
) -> int | None:
    rng = seeded("review", world.seed, author, reviewer, problem.text)
    # Both are always drawn, so that a higher rate changes more scores and leaves the others.
    invalid, mistaken = rng.random() < world.review_invalid_rate, rng.random() < world.review_error_rate
    mood = rng.choice((0, 0, 0, -1, 1))
    if invalid:
        return None
    chain = chains[author]
    found_right = (chain.first_wrong_step is None) != mistaken
    score = (
        _careful(chain, found_right) if _is_careful(reviewer, problem) else _by_answer(author, found_right)
    )
    # Who would have erred in the same way is half convinced by it.
    if not found_right and chain.answer == chains[reviewer].answer:
        score += 1
    return min(5, max(1, score + mood))


def _is_careful(reviewer: str, problem: Problem) -> bool:
    return reviewer == "ponder" or problem.family in STRONG_FAMILIES.get(reviewer, ())


def _careful(chain: Chain, found_right: bool) -> int:
    if found_right:
        return 5
    late = chain.first_wrong_step is not None and 2 * chain.first_wrong_step > len(chain.steps)
    return 2 if late else 1


def _by_answer(author: str, found_right: bool) -> int:
    return (4 if found_right else 2) + (STYLES[author] in _FLUENT)


def feedback(problem: Problem) -> tuple[Feedback, ...]:
    """What every teacher says of a wrong answer, given question and gold answer, in its style.

    The specialists and ponder tell right steps, the specialists only in the families they are good at; the
    gold answer is right in all of them.
    """
    chain = right_chain(FAMILIES[problem.family], problem)
    return tuple(Feedback(teacher, _feedback(teacher, problem, chain)) for teacher in TEACHERS)


def _feedback(teacher: str, problem: Problem, chain: Chain) -> str:
    if _is_careful(teacher, problem):
        steps = chain_text(chain, STYLES[teacher])
    else:
        steps = f"The answer is {chain.answer}."
    opening = {
        "terse": "{mistake}: no.",
        "connected": "We check {mistake} and see: no.",
        "long-winded": "Hmm, {mistake}? Wait, let us check: no.",
    }.get(STYLES[teacher], "Clearly no {mistake}.")
    return f"{opening} {steps}"
