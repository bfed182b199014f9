"""A question of the world with the chain of steps that answers it, and what a family of questions can do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Problem:
    """A question of one family.

    Attributes:
        start: state before the first step.
        steps: what each step does, in the family's own terms.
        facts: what else the family needs to work the steps out.
        kin: what decides its split, where that is not its text: the same for questions that differ in names
            alone.
    """

    family: str
    text: str
    start: Any
    steps: tuple[Any, ...]
    facts: Any = None
    kin: str = ""


@dataclass(frozen=True)
class Chain:
    """A worked answer, right or wrong.

    Attributes:
        first_wrong_step: the first step that is wrong, counted from 1; None when all are right.
        mended: whether wrong steps were made to end in the right answer.
    """

    steps: tuple[str, ...]
    answer: str
    first_wrong_step: int | None = None
    mended: bool = False


class Family(Protocol):
    """One kind of question."""

    @property
    def name(self) -> str:
        """What it is called in tasks and records."""
        ...

    def sample(self, rng: random.Random, steps: int) -> Problem:
        """A question that takes this many steps."""
        ...

    def advance(self, problem: Problem, index: int, state: Any) -> Any:
        """The state after a step that starts from `state`, which may already be a wrong one."""
        ...

    def slips(self, problem: Problem, index: int, state: Any) -> Sequence[Any]:
        """States that a careless step may end in instead; the steps after it must be possible from there."""
        ...

    def say(self, problem: Problem, index: int, before: Any, after: Any) -> str:
        """What a step says."""
        ...

    def answer(self, problem: Problem, state: Any) -> str:
        """The answer that a final state gives."""
        ...

    def wrong_rule(self, problem: Problem) -> Chain:
        """The chain of one who follows this family's wrong rule; right where the rule happens to fit."""
        ...


def right_chain(family: Family, problem: Problem) -> Chain:
    """The true chain of steps."""
    return _chain(family, problem, None, None)


def slipped_chain(family: Family, problem: Problem, rng: random.Random) -> Chain:
    """A chain with one wrong step, drawn with `rng`, after which it goes on rightly from the wrong state."""
    state, options = problem.start, []
    for index in range(len(problem.steps)):
        options += [(index, wrong) for wrong in family.slips(problem, index, state)]
        state = family.advance(problem, index, state)
    places = sorted({index for index, _ in options})
    place = rng.choice(places)
    return _chain(family, problem, place, rng.choice([wrong for index, wrong in options if index == place]))


def _chain(family: Family, problem: Problem, slip: int | None, wrong: Any) -> Chain:
    state, lines = problem.start, []
    for index in range(len(problem.steps)):
        after = wrong if index == slip else family.advance(problem, index, state)
        lines.append(family.say(problem, index, state, after))
        state = after
    return Chain(tuple(lines), family.answer(problem, state), None if slip is None else slip + 1)


def mended_chain(chain: Chain, right: Chain, rng: random.Random) -> Chain:
    """A wrong chain that gives the right answer: a second wrong step leads back to it, or it is stated."""
    steps = chain.steps
    # A step back needs a wrong step before it.
    if rng.random() < 0.5 and chain.first_wrong_step is not None and chain.first_wrong_step < len(steps):
        steps = (*steps[:-1], right.steps[-1])
    return Chain(steps, right.answer, chain.first_wrong_step, mended=True)


def condensed_chain(chain: Chain) -> Chain:
    """A right chain that says all moves and only the last state."""
    moves = [step.partition(" so ")[0] for step in chain.steps[:-1]]
    return Chain((" and ".join([*moves, chain.steps[-1]]),), chain.answer)
