"""The world's questions: what trains, what tests, and what pretraining alone may see."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from compact_bench.core.errors import DataError, Fault, UnknownNameError
from compact_bench.core.records import Question
from compact_bench.data.lab.world.editions import EDITIONS, Edition
from compact_bench.data.lab.world.families import FAMILIES
from compact_bench.data.lab.world.peers import feedback, pairs, reviews
from compact_bench.data.lab.world.problems import Problem, right_chain
from compact_bench.data.lab.world.settings import WorldSettings
from compact_bench.data.lab.world.skills import SKILLS, SkillItem, skill_item
from compact_bench.data.lab.world.teachers import rationales, seeded

Split = Literal["pretraining", "training", "test"]

_SHARES: tuple[tuple[Split, float], ...] = (("pretraining", 0.6), ("training", 0.8), ("test", 1.0))
_NEUTRAL = ("copy", "reverse", "opposites", "categories")
"""Skills whose items make the drift probe's passages, in every version."""
PATIENCE = 20_000
"""Draws in a row without a new question, before the world is held to be too small."""


@dataclass(frozen=True)
class _Task:
    """What a task asks: families of problems, those of the version where none are named, or a skill."""

    families: tuple[str, ...] = ()
    long: bool = False
    skill: str = ""

    def families_of(self, edition: Edition) -> tuple[str, ...]:
        """The families that are asked in a version of the world."""
        return self.families or (edition.covered if self.long else edition.uncovered)


_ASKED = dict.fromkeys(
    name for edition in EDITIONS.values() for name in (*edition.covered, *edition.uncovered)
)
_TASKS: Mapping[str, _Task] = {
    **{f"lab_{name}": _Task((name,)) for name in _ASKED},
    "lab_longer": _Task(long=True),
    "lab_chains": _Task(long=True),
    "lab_uncovered": _Task(),
    **{f"lab_{name}": _Task(skill=name) for name in SKILLS},
}
LAB_TASKS = tuple(_TASKS)
"""Names of the generated tasks."""


def split_of(text: str) -> Split:
    """The one split that a question may stand in: decided by its text, so that no two splits share any."""
    share = int.from_bytes(hashlib.sha256(f"lab split/{text}".encode()).digest()[:8], "big") / 2**64
    return next(name for name, end in _SHARES if share < end)


def training_questions(world: WorldSettings) -> tuple[Question, ...]:
    """The pool of training and validation questions, with all that the four teachers say about them.

    Raises:
        DataError: the world has not that many questions of these lengths.
    """
    questions = []
    lengths = range(world.shortest_steps, world.longest_steps + 1)
    for problem in _problems("training", world.seed, world.edition.covered, lengths, world.questions):
        family, steps = problem.family, len(problem.steps)
        questions.append(
            Question(
                id=_content_id(problem.text),
                text=problem.text,
                gold_answer=right_chain(FAMILIES[family], problem).answer,
                rationales=rationales(problem, world),
                source=f"lab, {family}, {steps} steps",
                family=family,
                pairs=pairs(problem, world),
                reviews=reviews(problem, world),
                feedback=feedback(problem, world),
            )
        )
    return tuple(questions)


def benchmark_rows(world: WorldSettings, task: str, items: int) -> list[dict[str, Any]]:
    """The items of one of `LAB_TASKS`, in the order of their ids; the world's error rates do not matter.

    Returns:
        {"id", "question", "answer"} rows, or {"id", "question", "choices", "label"} rows.

    Raises:
        UnknownNameError: no such task.
        DataError: the world has not that many items.
    """
    if task not in _TASKS:
        raise UnknownNameError("generated task", task, _TASKS)
    wanted = _TASKS[task]
    rows = _skill_rows(world, wanted.skill, items) if wanted.skill else _problem_rows(world, wanted, items)
    return sorted(rows, key=lambda row: str(row["id"]))


def _problem_rows(world: WorldSettings, task: _Task, items: int) -> Iterator[dict[str, Any]]:
    ends = (
        (world.shortest_long_steps, world.longest_long_steps)
        if task.long
        else (world.shortest_steps, world.longest_steps)
    )
    lengths = range(ends[0], ends[1] + 1)
    for problem in _problems("test", world.seed, task.families_of(world.edition), lengths, items):
        answer = right_chain(FAMILIES[problem.family], problem).answer
        yield {"id": _content_id(problem.text), "question": problem.text, "answer": answer}


def _skill_rows(world: WorldSettings, skill: str, items: int) -> Iterator[dict[str, Any]]:
    seen: set[str] = set()
    number = last = 0
    while number - last < PATIENCE:
        number += 1
        item = skill_item(skill, seeded("skill", "test", world.seed, skill, number))
        key = _content_id(item.text, *sorted(item.choices))
        # Knowledge is asked as pretraining taught it; only lists must be new.
        new = bool(item.choices) or split_of(item.text) == "test"
        if new and key not in seen:
            seen.add(key)
            last = number
            yield _skill_row(key, item)
            if len(seen) == items:
                return
    raise _too_small(f"skill {skill}", items, len(seen))


def _skill_row(key: str, item: SkillItem) -> dict[str, Any]:
    row: dict[str, Any] = {"id": key, "question": item.text}
    if not item.choices:
        return {**row, "answer": item.answer}
    return {**row, "choices": list(item.choices), "label": item.choices.index(item.answer)}


def _problems(
    split: Split, seed: int, families: tuple[str, ...], lengths: range, count: int
) -> Iterator[Problem]:
    """Problems of a split, families and lengths in turn, no text twice."""
    seen: set[str] = set()
    kinds = [(family, steps) for steps in lengths for family in families]
    number = last = 0
    while number - last < PATIENCE:
        number += 1
        family, steps = kinds[len(seen) % len(kinds)]
        problem = FAMILIES[family].sample(seeded("question", split, seed, family, steps, number), steps)
        if split_of(problem.kin or problem.text) == split and problem.text not in seen:
            seen.add(problem.text)
            last = number
            yield problem
            if len(seen) == count:
                return
    raise _too_small(
        f"families {', '.join(families)} with {lengths[0]} to {lengths[-1]} steps", count, len(seen)
    )


def _too_small(what: str, wanted: int, got: int) -> DataError:
    fault = Fault(what, f"expected {wanted} different questions, the world has about {got}")
    return DataError("the lab's world is too small for this", [fault], "ask for fewer, or for longer ones.")


def neutral_passages(count: int = 24) -> tuple[str, ...]:
    """Passages in the world's words that no task asks about, for the drift probe."""
    return tuple(_passage(seeded("neutral", number)) for number in range(count))


def _passage(rng: random.Random) -> str:
    items = [skill_item(rng.choice(_NEUTRAL), rng) for _ in range(4)]
    return " ".join(f"{item.text} {item.answer}." for item in items)


def _content_id(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
