"""Families of version 2: a number is followed through short sentences, each of which moves it.

Two verbs say which way. Pretraining mostly tells a covered family as one who reads its two verbs the wrong
way round: the student knows the steps and has a misconception, which right rationales correct. Twins are told
right.
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
CUPS = 8


@dataclass(frozen=True)
class _Told:
    """What the families share: a number as state, and two verbs.

    Attributes:
        forward, backward: the verbs.

    Wrong rule: each of the two verbs is read as the other. Other rule: the second one is read as the first.
    """

    name: str
    forward: str
    backward: str

    def answer(self, problem: Problem, state: int) -> str:
        """The number itself."""
        return str(state)


@dataclass(frozen=True)
class Walk(_Told):
    """One number that goes up and down, in a ring of ten or, where `ends`, between 0 and 9.

    Attributes:
        opening, asking: first and last sentence; {who} and {other} are names, {start} the start.
        subject: of the sentences between them; {who} as above.
    """

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
            if _tells(self, problem):
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

    def _verb(self, move: int) -> str:
        return f"{self.forward if move > 0 else self.backward} {abs(move)}"

    def wrong_rule(self, problem: Problem) -> Chain:
        """Up is read as down and down as up."""
        return _retold(self, problem, tuple(-move for move in problem.steps))

    def other_rule(self, problem: Problem) -> Chain:
        """Down is read as up."""
        return _retold(self, problem, tuple(abs(move) for move in problem.steps))


@dataclass(frozen=True)
class Cups(_Told):
    """Where a ball is under one of eight cups, two of which trade places or stay where they are.

    A step is the two cups and whether they trade; both kinds name the cup that the ball is under.
    """

    def sample(self, rng: random.Random, steps: int) -> Problem:
        """A start and as many pairs of cups as steps, both kinds from two steps on."""
        start = rng.randint(1, CUPS)
        while True:
            place = start
            moves: list[tuple[int, int, bool]] = []
            for trades in (move > 0 for move in _both_ways(rng, steps)):
                other = rng.choice([cup for cup in range(1, CUPS + 1) if cup != place])
                a, b = rng.sample((place, other), 2)
                moves.append((a, b, trades))
                place = other if trades else place
            story = " ".join(f"{self._sentence(move)}." for move in moves)
            text = f"The ball is at {start}. {story} Where is the ball now?"
            problem = Problem(self.name, text, start, tuple(moves))
            if _tells(self, problem):
                return problem

    def advance(self, problem: Problem, index: int, state: int) -> int:
        """The place after one sentence."""
        a, b, trades = problem.steps[index]
        return int(state if not trades or state not in (a, b) else b if state == a else a)

    def slips(self, problem: Problem, index: int, state: int) -> Sequence[int]:
        """Any other place."""
        right = self.advance(problem, index, state)
        return [place for place in range(1, CUPS + 1) if place != right]

    def say(self, problem: Problem, index: int, before: int, after: int) -> str:
        """One sentence and where the ball then is."""
        return f"{self._sentence(problem.steps[index])} so {after}"

    def _sentence(self, move: tuple[int, int, bool]) -> str:
        return f"Places {move[0]} and {move[1]} {self.forward if move[2] else self.backward}"

    def wrong_rule(self, problem: Problem) -> Chain:
        """Those that stay are read as those that trade, and those that trade as those that stay."""
        return _retold(self, problem, tuple((a, b, not trades) for a, b, trades in problem.steps))

    def other_rule(self, problem: Problem) -> Chain:
        """Those that stay are read as those that trade."""
        return _retold(self, problem, tuple((a, b, True) for a, b, _ in problem.steps))


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


def _tells(family: Walk | Cups, problem: Problem) -> bool:
    """Whether the wrong rules give other answers; they do not where moves cancel out, or all are forward."""
    right = right_chain(family, problem).answer
    backward = family.other_rule(problem)
    return right != family.wrong_rule(problem).answer and (
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
TRACKED: tuple[Walk | Cups, ...] = (
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
    Cups("cups", "whirl", "doze"),
)
"""The covered families of version 2."""
TWINS: tuple[Walk | Cups, ...] = (
    replace(_LIFT, name="floor", forward="climbs", backward="sinks"),
    replace(_COINS, name="give", forward="gives", backward="takes"),
)
"""The same kinds in other words, by one reading; the twin of the shells is `ring`, of version 1."""
