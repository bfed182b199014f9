"""All families of questions by name, and those of version 1: ring, order, lookup, count, and swap."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence

from compact_bench.data.lab.world.problems import Chain, Family, Problem, right_chain
from compact_bench.data.lab.world.tracking import TRACKED, TWINS, Walk
from compact_bench.data.lab.world.words import COLOURS, NAMES, ORDINALS, STUFF, THINGS

RING = 10
LARGEST_CHANGE = 4
PLACES = 4


class Ring:
    """A story computed in a ring of ten: gains and losses of shells, where 0 follows 9.

    Wrong rule: a loss is read as a gain.
    """

    name = "ring"

    def sample(self, rng: random.Random, steps: int) -> Problem:
        """A start and as many changes as steps, one loss among them at least."""
        who, start = rng.choice(NAMES), rng.randrange(RING)
        changes = [rng.choice((-1, 1)) * rng.randint(1, LARGEST_CHANGE) for _ in range(steps)]
        if min(changes) > 0:
            place = rng.randrange(steps)
            changes[place] = -changes[place]
        story = " ".join(f"She {'gains' if c > 0 else 'loses'} {abs(c)}." for c in changes)
        text = f"{who} has {start} shells. {story} After 9 comes 0. How many shells does {who} have?"
        return Problem(self.name, text, start, tuple(changes))

    def advance(self, problem: Problem, index: int, state: int) -> int:
        """The number after one change."""
        change: int = problem.steps[index]
        return (state + change) % RING

    def slips(self, problem: Problem, index: int, state: int) -> Sequence[int]:
        """One off."""
        right = self.advance(problem, index, state)
        return ((right + 1) % RING, (right - 1) % RING)

    def say(self, problem: Problem, index: int, before: int, after: int) -> str:
        """One change and what it makes."""
        change: int = problem.steps[index]
        return f"She {'gains' if change > 0 else 'loses'} {abs(change)} so {after}"

    def answer(self, problem: Problem, state: int) -> str:
        """The number itself."""
        return str(state)

    def wrong_rule(self, problem: Problem) -> Chain:
        """Every loss is read as a gain."""
        misread = Problem(self.name, problem.text, problem.start, tuple(abs(c) for c in problem.steps))
        chain = right_chain(self, misread)
        right = right_chain(self, problem)
        if chain.answer == right.answer:
            return right
        return Chain(chain.steps, chain.answer, _first_difference(chain, right))


class Order:
    """Who is n-th in a row that is told by its first person and shuffled neighbours.

    Wrong rule: off by one, the person after the first one is taken for the first.
    """

    name = "order"

    def sample(self, rng: random.Random, steps: int) -> Problem:
        """A row with one or two people behind the person in question; steps name the ranks up to it."""
        row = rng.sample(NAMES, steps + rng.choice((1, 2)))
        facts = [f"{row[0]} is first.", *(f"{a} leads {b}." for a, b in itertools.pairwise(row))]
        rng.shuffle(facts)
        text = f"{' '.join(facts)} Who is {ORDINALS[steps - 1]} in the row?"
        return Problem(self.name, text, -1, tuple(range(steps)), tuple(row))

    def advance(self, problem: Problem, index: int, state: int) -> int:
        """The next place in the row."""
        return state + 1

    def slips(self, problem: Problem, index: int, state: int) -> Sequence[int]:
        """Another person, who has enough people behind for the rest."""
        left = len(problem.steps) - 1 - index
        return [p for p in range(len(problem.facts) - left) if p != state + 1]

    def say(self, problem: Problem, index: int, before: int, after: int) -> str:
        """Who is next, and the rank."""
        rank = f"{problem.facts[after]} is {ORDINALS[index]}"
        return rank if index == 0 else f"{problem.facts[before]} leads {problem.facts[after]} so {rank}"

    def answer(self, problem: Problem, state: int) -> str:
        """The person."""
        return str(problem.facts[state])

    def wrong_rule(self, problem: Problem) -> Chain:
        """The person after the first one is taken for the first."""
        shifted = Problem(self.name, problem.text, 0, problem.steps, problem.facts)
        chain = right_chain(self, shifted)
        return Chain(chain.steps, chain.answer, 1)


class Lookup:
    """What the person likes whom one reaches through helpers: two relations, several hops.

    Wrong rule: stops one hop early.
    """

    name = "lookup"

    def sample(self, rng: random.Random, steps: int) -> Problem:
        """As many hops as steps, the last of them to the thing liked; one person lies off the way."""
        people = rng.sample(NAMES, steps + 1)
        liked = dict(zip(people, rng.sample(STUFF, len(people)), strict=True))
        # One circle through all of them, so that a wrong hop can be followed by right ones.
        circle = {a: b for a, b in zip(people, [*people[1:], people[0]], strict=True)}
        sentences = [f"{a} helps {b}." for a, b in circle.items()]
        sentences += [f"{a} likes {thing}." for a, thing in liked.items()]
        rng.shuffle(sentences)
        path = ("helps",) * (steps - 1) + ("likes",)
        text = f"{' '.join(sentences)} From {people[0]} follow {', '.join(path)}. What is there?"
        return Problem(self.name, text, people[0], path, (circle, liked))

    def advance(self, problem: Problem, index: int, state: str) -> str:
        """Whom a person helps, or what the person likes."""
        circle, liked = problem.facts
        relation: Mapping[str, str] = circle if problem.steps[index] == "helps" else liked
        return relation[state]

    def slips(self, problem: Problem, index: int, state: str) -> Sequence[str]:
        """Another person than the one helped, or another thing than the one liked."""
        circle, liked = problem.facts
        right = self.advance(problem, index, state)
        options = circle if problem.steps[index] == "helps" else liked.values()
        return [option for option in options if option not in (right, state)]

    def say(self, problem: Problem, index: int, before: str, after: str) -> str:
        """One fact."""
        return f"{before} {problem.steps[index]} {after}"

    def answer(self, problem: Problem, state: str) -> str:
        """The thing."""
        return state

    def wrong_rule(self, problem: Problem) -> Chain:
        """Stops one hop early; with a single step there is no hop to leave out."""
        right = right_chain(self, problem)
        if len(problem.steps) < 2:
            return right
        early = Problem(self.name, problem.text, problem.start, problem.steps[1:], problem.facts)
        chain = right_chain(self, early)
        return Chain(chain.steps, chain.answer, _first_difference(chain, right))


class Count:
    """How many things of one colour and kind lie on a shelf.

    Wrong rule: the colour is not looked at.
    """

    name = "count"

    def sample(self, rng: random.Random, steps: int) -> Problem:
        """As many things as steps; one of the kind has another colour."""
        colour, thing = rng.choice(COLOURS), rng.choice(THINGS)
        others = [c for c in COLOURS if c != colour]
        shelf = [(rng.choice(others), thing)]
        while len(shelf) < steps:
            draw = rng.random()
            if draw < 0.5:
                shelf.append((colour, thing))
            else:
                kind = rng.choice(THINGS)
                shelf.append((rng.choice(others) if kind == thing else rng.choice(COLOURS), kind))
        rng.shuffle(shelf)
        listed = ", ".join(f"a {c} {t}" for c, t in shelf)
        text = f"On the shelf: {listed}. How many of these are a {colour} {thing}?"
        return Problem(self.name, text, 0, tuple(shelf), (colour, thing))

    def advance(self, problem: Problem, index: int, state: int) -> int:
        """One more where the thing matches."""
        return state + int(problem.steps[index] == problem.facts)

    def slips(self, problem: Problem, index: int, state: int) -> Sequence[int]:
        """Counts what does not match, or leaves out what does."""
        return (state + int(problem.steps[index] != problem.facts),)

    def say(self, problem: Problem, index: int, before: int, after: int) -> str:
        """Whether a thing counts, and the count so far."""
        colour, thing = problem.steps[index]
        return f"a {colour} {thing} {'yes' if after > before else 'no'} {after}"

    def answer(self, problem: Problem, state: int) -> str:
        """The count."""
        return str(state)

    def wrong_rule(self, problem: Problem) -> Chain:
        """Every thing of the kind counts."""
        state, lines = 0, []
        for index, (_, thing) in enumerate(problem.steps):
            after = state + (thing == problem.facts[1])
            lines.append(self.say(problem, index, state, after))
            state = after
        chain = Chain(tuple(lines), str(state))
        return Chain(chain.steps, chain.answer, _first_difference(chain, right_chain(self, problem)))


class Swap:
    """Where a ball is after places have been exchanged. No teacher covers it."""

    name = "swap"

    def sample(self, rng: random.Random, steps: int) -> Problem:
        """A start and as many exchanges as steps."""
        start = rng.randint(1, PLACES)
        swaps = [tuple(rng.sample(range(1, PLACES + 1), 2)) for _ in range(steps)]
        story = " ".join(f"Places {a} and {b} change." for a, b in swaps)
        return Problem(
            self.name, f"The ball is at {start}. {story} Where is the ball now?", start, tuple(swaps)
        )

    def advance(self, problem: Problem, index: int, state: int) -> int:
        """The place after one exchange."""
        a, b = problem.steps[index]
        return int(b if state == a else a if state == b else state)

    def slips(self, problem: Problem, index: int, state: int) -> Sequence[int]:
        """Any other place."""
        right = self.advance(problem, index, state)
        return [place for place in range(1, PLACES + 1) if place != right]

    def say(self, problem: Problem, index: int, before: int, after: int) -> str:
        """Where the ball is after one exchange."""
        a, b = problem.steps[index]
        return f"Places {a} and {b} change so {after}"

    def answer(self, problem: Problem, state: int) -> str:
        """The place."""
        return str(state)

    def wrong_rule(self, problem: Problem) -> Chain:
        """None is known of this family."""
        return right_chain(self, problem)


def _first_difference(chain: Chain, right: Chain) -> int:
    """The first step, from 1, that is not the right chain's; where some are missing, the first of those."""
    for number, (line, true) in enumerate(zip(chain.steps, right.steps, strict=False), 1):
        if line != true:
            return number
    return min(len(chain.steps), len(right.steps)) + 1


_ALL: tuple[Family, ...] = (Ring(), Order(), Lookup(), Count(), Swap(), *TRACKED, *TWINS)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
TWO_RULES: Mapping[str, Walk] = {family.name: family for family in (*TRACKED, *TWINS)}
"""Families with a second wrong rule."""
