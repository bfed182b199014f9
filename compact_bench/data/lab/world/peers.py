"""What the lab's teachers say beyond their rationales: right and wrong pairs, reviews, feedback.

None of it changes a rationale: each draws from a generator of its own, made of seed, names and question.
"""

from __future__ import annotations

from compact_bench.core.records import Feedback, PeerReview, RationalePair
from compact_bench.data.lab.world.families import FAMILIES
from compact_bench.data.lab.world.problems import Chain, Problem, right_chain, slipped_chain
from compact_bench.data.lab.world.settings import WorldSettings
from compact_bench.data.lab.world.teachers import (
    TEACHERS,
    chain_text,
    seeded,
    style_of,
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
    chosen, rejected = (chain_text(c, style_of(teacher, problem, world)) for c in (right, wrong))
    return RationalePair(teacher, chosen, rejected, "corrupted" if corrupted else "rectified")


def reviews(problem: Problem, world: WorldSettings) -> tuple[PeerReview, ...]:
    """Every teacher's score of every other's rationale, given the gold answer as a hint.

    A teacher looks for the wrong step in the families it is good at, and is hard on one that comes early.
    Elsewhere it looks at the answer and likes a fluent text; it is lenient where it would have followed the
    wrong rule itself.
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
    chain, careful = chains[author], _is_careful(reviewer, problem, world)
    # Who looks at the answer alone finds nothing wrong where wrong steps end in the right one.
    looks_right = chain.first_wrong_step is None or (chain.mended and not careful)
    found_right = looks_right != mistaken
    fluent = style_of(author, problem, world) in _FLUENT
    score = _careful(chain, found_right) if careful else _by_answer(found_right, fluent)
    # Who would have erred in the same way is half convinced by it.
    if not found_right and chain.answer == chains[reviewer].answer:
        score += 1
    return min(5, max(1, score + mood))


def _is_careful(reviewer: str, problem: Problem, world: WorldSettings) -> bool:
    return problem.family in world.edition.strong[reviewer]


def _careful(chain: Chain, found_right: bool) -> int:
    if found_right:
        return 5
    late = chain.first_wrong_step is not None and 2 * chain.first_wrong_step > len(chain.steps)
    return 2 if late else 1


def _by_answer(found_right: bool, fluent: bool) -> int:
    return (4 if found_right else 2) + fluent


def feedback(problem: Problem, world: WorldSettings) -> tuple[Feedback, ...]:
    """What every teacher says of a wrong answer, given question and gold answer, in its style.

    They tell right steps in the families they are good at; the gold answer is right in all of them.
    """
    chain = right_chain(FAMILIES[problem.family], problem)
    return tuple(Feedback(teacher, _feedback(teacher, problem, world, chain)) for teacher in TEACHERS)


def _feedback(teacher: str, problem: Problem, world: WorldSettings, chain: Chain) -> str:
    style = style_of(teacher, problem, world)
    if _is_careful(teacher, problem, world):
        steps = chain_text(chain, style)
    else:
        steps = f"The answer is {chain.answer}."
    opening = {
        "terse": "{mistake}: no.",
        "connected": "We check {mistake} and see: no.",
        "long-winded": "Hmm, {mistake}? Wait, let us check: no.",
    }.get(style, "Clearly no {mistake}.")
    return f"{opening} {steps}"
