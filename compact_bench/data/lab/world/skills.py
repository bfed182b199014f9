"""Skills of pretraining that no teacher touches: lists again and backwards, opposites, kinds of things."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compact_bench.data.lab.world.words import CATEGORIES, COLOURS, NAMES, OPPOSITES, STUFF, THINGS

SHORTEST_LIST, LONGEST_LIST = 3, 6
OPTIONS = 4


@dataclass(frozen=True)
class SkillItem:
    """A question of one skill.

    Attributes:
        choices: options of a choice item, the answer among them; empty for an item that is generated.
    """

    text: str
    answer: str
    choices: tuple[str, ...] = ()


def _words(rng: random.Random) -> list[str]:
    pool = [*NAMES, *STUFF, *COLOURS, *THINGS]
    return rng.sample(pool, rng.randint(SHORTEST_LIST, LONGEST_LIST))


def _copy(rng: random.Random) -> SkillItem:
    listed = " ".join(_words(rng))
    return SkillItem(f"Say again: {listed}.", listed)


def _reverse(rng: random.Random) -> SkillItem:
    listed = _words(rng)
    return SkillItem(f"Say backwards: {' '.join(listed)}.", " ".join(reversed(listed)))


def _opposites(rng: random.Random) -> SkillItem:
    pair = rng.choice(OPPOSITES)
    given, answer = rng.sample(pair, 2)
    others = [word for other in OPPOSITES if other != pair for word in other]
    return SkillItem(f"What is the opposite of {given}?", answer, _shuffled(rng, answer, others))


def _categories(rng: random.Random) -> SkillItem:
    kind = rng.choice(tuple(CATEGORIES))
    member = rng.choice(CATEGORIES[kind])
    others = [other for other in CATEGORIES if other != kind]
    return SkillItem(f"What kind is a {member}?", kind, _shuffled(rng, kind, others))


def _shuffled(rng: random.Random, answer: str, others: Sequence[str]) -> tuple[str, ...]:
    choices = [answer, *rng.sample(others, OPTIONS - 1)]
    rng.shuffle(choices)
    return tuple(choices)


SKILLS: Mapping[str, str] = {
    "copy": "says a list of words again",
    "reverse": "says a list of words backwards",
    "opposites": "knows opposites",
    "categories": "knows what kind a thing is",
}
"""Skill name -> what it is."""

_MAKERS = {"copy": _copy, "reverse": _reverse, "opposites": _opposites, "categories": _categories}


def skill_item(skill: str, rng: random.Random) -> SkillItem:
    """One item of a skill."""
    return _MAKERS[skill](rng)
