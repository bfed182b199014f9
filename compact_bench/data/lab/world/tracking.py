"""Families of version 2: a number is followed through short sentences, each of which moves it.

Two verbs say which way. Pretraining teaches the steps of all of them and, more often, to answer at once:
right rationales teach to take the steps, wrong ones to take them after misreading a verb.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from compact_bench.data.lab.world.problems import Chain, Family, Problem, right_chain
from compact_bench.data.lab.world.words import NAMES

SIZE = 10
LARGEST_MOVE = 4


@dataclass(frozen=True)
class Walk:
    """One number that goes up and down, in a ring of ten or, where `ends`, between 0 and 9.

    Attributes:
        forward, backward: the verbs.
        opening, asking: first and last sentence; {who} and {other} are names, {start} the start.
        subject: of the sentences between them; {who} as above.

    Wrong rule: the second verb is read as the first. Other rule: each of the two is read as the other.
    """

    name: str
    forward: str
    backward: str
    opening: str
    asking: str
    subject: str
    ends: bool = False

    def sample(self, rng: random.Random, steps: int) -> Problem:
        """A start and as many moves as steps, both ways from two steps on."""
        start, people = rng.randrange(SIZE), tuple(rng.sample(NAMES, 2))
        while True:
            moves = _both_ways(rng, steps)
            problem = self._problem(start, moves, people)
            # A lift is often at an end, which would be guessed without a step.
            guessed = self.ends and steps > 1 and right_chain(self, problem).answer in ("0", str(SIZE - 1))
            if not guessed and _tells(self, problem):
                return replace(problem, kin=self._problem(start, moves, NAMES[:2]).text)

    def _problem(self, start: int, moves: tuple[int, ...], people: tuple[str, ...]) -> Problem:
        facts = self.subject.format(who=people[0])
        story = " ".join(f"{facts} {self._verb(move)}." for move in moves)
        names = {"who": people[0], "other": people[1]}
        text = f"{self.opening.format(start=start, **names)} {story} {self.asking.format(**names)}"
        return Problem(self.name, text, start, moves, facts)

    def advance(self, problem: Problem, index: int, state: int) -> int:
        """The number after one move."""
        after: int = state + problem.steps[index]
        return min(max(after, 0), SIZE - 1) if self.ends else after % SIZE

    def slips(self, problem: Problem, index: int, state: int) -> Sequence[int]:
        """One or two off."""
        right = self.advance(problem, index, state)
        return [(right + off) % SIZE for off in (-2, -1, 1, 2)]

    def say(self, problem: Problem, index: int, before: int, after: int) -> str:
        """One move and where it leads."""
        return f"{problem.facts} {self._verb(problem.steps[index])} so {after}"

    def answer(self, problem: Problem, state: int) -> str:
        """The number itself."""
        return str(state)

    def _verb(self, move: int) -> str:
        return f"{self.forward if move > 0 else self.backward} {abs(move)}"

    def wrong_rule(self, problem: Problem) -> Chain:
        """Down is read as up."""
        return _retold(self, problem, tuple(abs(move) for move in problem.steps))

    def other_rule(self, problem: Problem) -> Chain:
        """Up is read as down and down as up."""
        return _retold(self, problem, tuple(-move for move in problem.steps))


def _both_ways(rng: random.Random, steps: int) -> tuple[int, ...]:
    """Moves, forwards and backwards; from two steps on there is one of each at least."""
    moves = [rng.choice((-1, 1)) * rng.randint(1, LARGEST_MOVE) for _ in range(steps)]
    if steps > 1 and len({move > 0 for move in moves}) == 1:
        place = rng.randrange(steps)
        moves[place] = -moves[place]
    return tuple(moves)


def _retold(family: Family, problem: Problem, misread: tuple[Any, ...]) -> Chain:
    """What one says who reads the sentences as these, and then takes the right steps."""
    told = replace(problem, steps=misread)
    state, lines = problem.start, []
    for index in range(len(misread)):
        after = family.advance(told, index, state)
        lines.append(family.say(told, index, state, after))
        state = after
    right = right_chain(family, problem)
    differs = (n for n, (a, b) in enumerate(zip(lines, right.steps, strict=True), 1) if a != b)
    return Chain(tuple(lines), family.answer(problem, state), next(differs, None))


def _tells(family: Walk, problem: Problem) -> bool:
    """Whether the wrong rules give other answers; they do not where moves cancel out, or all are forward."""
    right = right_chain(family, problem).answer
    backward = family.wrong_rule(problem)
    return right != family.other_rule(problem).answer and (
        backward.first_wrong_step is None or right != backward.answer
    )


_LIFT = Walk(
    name="lift",
    forward="soars",
    backward="dives",
    subject="It",
    opening="{who} is in the lift at {start}.",
    asking="It ends at 0 and 9. Where is the lift?",
    ends=True,
)
_COINS = Walk(
    name="coins",
    forward="pays",
    backward="bills",
    subject="{who}",
    opening="{who} meets {other}. {other} has {start} coins.",
    asking="After 9 comes 0. How many coins does {other} have?",
)
TRACKED: tuple[Walk, ...] = (
    Walk(
        name="shells",
        forward="finds",
        backward="drops",
        subject="She",
        opening="{who} has {start} shells.",
        asking="After 9 comes 0. How many shells does {who} have?",
    ),
    _LIFT,
    _COINS,
    Walk(
        name="bug",
        forward="hops",
        backward="slides",
        subject="It",
        opening="The bug is at {start}.",
        asking="After 9 comes 0. Where is the bug?",
    ),
)
"""The covered families of version 2."""
TWINS: tuple[Walk, ...] = (
    replace(_LIFT, name="floor", forward="climbs", backward="sinks"),
    replace(_COINS, name="give", forward="gives", backward="takes"),
)
"""The same kinds in other words, by one reading; the twin of the shells is `ring`, of version 1."""
