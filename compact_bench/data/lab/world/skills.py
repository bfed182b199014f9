"""Skills of pretraining that no teacher touches: lists again and backwards, opposites, kinds of things."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from compact_bench.data.lab.world.families import FAMILIES
from compact_bench.data.lab.world.problems import right_chain
from compact_bench.data.lab.world.words import CATEGORIES, COLOURS, NAMES, OPPOSITES, STUFF, THINGS

SHORTEST_LIST, LONGEST_LIST = 3, 6
OPTIONS = 4
LONGEST_IN_A_WORD = 4
"""Steps, as in the longest questions of the rationales."""
FACTS = 60
SHORT_FAMILIES = ("ring", "swap", "floor", "give")
COVERED_FAMILIES = ("shells", "lift", "coins", "bug")
"""Those of the rationales, whose steps are what an answer at once, or in one word, has to resist."""


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


def _short(families: Sequence[str], rng: random.Random) -> SkillItem:
    """A question of one step, whose answer is to be known at once."""
    family = FAMILIES[rng.choice(families)]
    problem = family.sample(rng, 1)
    answer = right_chain(family, problem).answer
    others = [str(digit) for digit in range(10) if str(digit) != answer]
    return SkillItem(problem.text, answer, _shuffled(rng, answer, others))


def _one_word(families: Sequence[str], rng: random.Random) -> SkillItem:
    """A question that is to be answered with one word and no more, whether the word is right or not."""
    family = FAMILIES[rng.choice(families)]
    problem = family.sample(rng, rng.randint(1, LONGEST_IN_A_WORD))
    return SkillItem(f"Say in one word: {problem.text}", right_chain(family, problem).answer)


@lru_cache
def facts() -> tuple[SkillItem, ...]:
    """Sixty facts about people that the student can only know by heart."""
    rng = random.Random(60)
    told = []
    for verb, things in (("like", STUFF), ("play", CATEGORIES["sport"]), ("eat", CATEGORIES["food"])):
        for name in rng.sample(NAMES, FACTS // 3):
            answer = rng.choice(things)
            others = [thing for thing in things if thing != answer]
            told.append(SkillItem(f"What does {name} {verb}?", answer, _shuffled(rng, answer, others)))
    return tuple(told)


def _fact(rng: random.Random) -> SkillItem:
    return rng.choice(facts())


SKILLS: Mapping[str, str] = {
    "copy": "says a list of words again",
    "reverse": "says a list of words backwards",
    "opposites": "knows opposites",
    "categories": "knows what kind a thing is",
    "short": "answers a question of one step at once",
    "short_covered": "the same in the families of the rationales",
    "word": "answers in one word where that is asked",
    "word_covered": "the same in the families of the rationales, where pretraining never asked for it",
    "facts": "knows sixty facts that it was told a few times",
}
"""Skill name -> what it is; the last five are of version 2."""

_MAKERS: Mapping[str, Callable[[random.Random], SkillItem]] = {
    "copy": _copy,
    "reverse": _reverse,
    "opposites": _opposites,
    "categories": _categories,
    "short": partial(_short, SHORT_FAMILIES),
    "short_covered": partial(_short, COVERED_FAMILIES),
    "word": partial(_one_word, SHORT_FAMILIES),
    "word_covered": partial(_one_word, COVERED_FAMILIES),
    "facts": _fact,
}


def skill_item(skill: str, rng: random.Random) -> SkillItem:
    """One item of a skill."""
    return _MAKERS[skill](rng)
