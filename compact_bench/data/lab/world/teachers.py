"""The four teachers: programs that differ in what they get wrong and in how they talk."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

from compact_bench.core.records import Rationale, RationaleTruth
from compact_bench.data.lab.world.families import FAMILIES, TWO_RULES
from compact_bench.data.lab.world.problems import (
    Chain,
    Problem,
    condensed_chain,
    mended_chain,
    right_chain,
    slipped_chain,
)
from compact_bench.data.lab.world.settings import WorldSettings

TEACHERS: Mapping[str, str] = {
    "abacus": "terse; good at ring and count, follows a wrong rule in order and lookup",
    "atlas": "connects its steps; good at order and lookup, follows a wrong rule in ring and count",
    "ponder": "right but long-winded, checks its first step and uses thinking words",
    "breezy": "fluent; slips in one step at a known rate and reasons on from there",
}
"""Teacher name -> what it is like."""

STYLES: Mapping[str, str] = {
    "abacus": "terse",
    "atlas": "connected",
    "ponder": "long-winded",
    "breezy": "breezy",
}


def seeded(*parts: object) -> random.Random:
    """A generator that depends on these parts and on nothing else."""
    text = "/".join(map(str, parts))
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))


def chain_text(chain: Chain, style: str) -> str:
    """A chain as text, in one of the styles of `STYLES`."""
    end = f"The answer is {chain.answer}."
    if style == "terse":
        return " ".join([*(f"{step}." for step in chain.steps), end])
    if style == "connected":
        first, *rest = chain.steps
        return " ".join([f"We see that {first}.", *(f"Then {step}." for step in rest), end])
    if style == "long-winded":
        first, *rest = chain.steps
        parts = ["Okay, let us think.", f"First {first}. Wait, check: {first}."]
        parts += [f"So {step}. Hmm, yes." for step in rest]
        return " ".join([*parts, "Therefore we are done.", end])
    return f"Clearly {', and '.join(chain.steps)}. {end}"


def rationales(problem: Problem, world: WorldSettings) -> tuple[Rationale, ...]:
    """Every teacher's rationale for a question, with the truth about it.

    What a teacher would slip on, and how inclined it is to err on this question, depends on the seed and the
    question alone: raising a rate makes more rationales wrong and changes none that is wrong already.
    """
    return tuple(_rationale(teacher, problem, world) for teacher in TEACHERS)


def style_of(teacher: str, problem: Problem, world: WorldSettings) -> str:
    """How a teacher tells its rationale for a question."""
    if world.one_style:
        return "connected"
    rng = seeded("style", world.seed, teacher, problem.text)
    drawn, style = rng.random() < world.drawn_styles, rng.choice(tuple(STYLES.values()))
    return style if drawn else STYLES[teacher]


def _rationale(teacher: str, problem: Problem, world: WorldSettings) -> Rationale:
    chain, style = teacher_chain(teacher, problem, world), style_of(teacher, problem, world)
    truth = RationaleTruth(
        is_right=chain.first_wrong_step is None,
        first_wrong_step=chain.first_wrong_step,
        steps=len(chain.steps),
        style=style,
    )
    return Rationale(teacher, chain_text(chain, style), truth)


def teacher_chain(teacher: str, problem: Problem, world: WorldSettings) -> Chain:
    """The chain that one of `TEACHERS` tells in its rationale."""
    right = right_chain(FAMILIES[problem.family], problem)
    chain = _thought(teacher, problem, world)
    rng = seeded("told", world.seed, teacher, problem.text)
    # Both are always drawn, so that raising one rate leaves what the other one does.
    mended, condensed = (rng.random() < world.right_answer_wrong_step_rate), rng.random() < world.competence
    if chain.first_wrong_step is None:
        return condensed_chain(chain) if condensed and len(chain.steps) > 1 else chain
    return mended_chain(chain, right, rng) if mended and chain.answer != right.answer else chain


def _thought(teacher: str, problem: Problem, world: WorldSettings) -> Chain:
    """The steps that a teacher takes, right or wrong."""
    family, edition = FAMILIES[problem.family], world.edition
    rng = seeded("rationale", world.seed, teacher, problem.text)
    inclination = rng.random()
    weak = teacher in edition.weak_teachers(problem.family)
    middling = edition.is_middling(teacher, problem.family)
    together = seeded("shared", world.seed, problem.text)
    shared = weak and together.random() < world.shared_mistake
    if shared:
        inclination = together.random()
    if middling:
        rate = world.middling_error_rate
    elif teacher == "breezy":
        rate = world.slip_rate
    elif weak:
        rate = world.weak_error_rate
    else:
        rate = world.ponder_error_rate if teacher == "ponder" else world.strong_error_rate
    if inclination >= rate:
        return right_chain(family, problem)
    if shared or ((weak or middling) and teacher != "breezy"):
        return family.wrong_rule(problem)
    if teacher == "breezy" and problem.family in TWO_RULES:
        return TWO_RULES[problem.family].other_rule(problem)
    return slipped_chain(family, problem, rng)
