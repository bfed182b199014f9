"""A second solver of the lab's questions: it reads their text alone and shares no code with the world."""

from __future__ import annotations

import re

ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"]


def solve(text: str) -> tuple[str, list[str]]:
    """The answer of a question and the steps that lead to it, from its words alone."""
    for solver in (_shells, _lift, _bug, _coins, _ring, _order, _lookup, _count, _swap):
        found = solver(text)
        if found is not None:
            return found
    raise AssertionError(f"no solver reads {text!r}")


def _ring(text: str) -> tuple[str, list[str]] | None:
    start = re.match(r"(\w+) has (\d) shells\.", text)
    if start is None:
        return None
    assert text.endswith(f"After 9 comes 0. How many shells does {start[1]} have?")
    value, steps = int(start[2]), []
    for verb, amount in re.findall(r"She (gains|loses) (\d)\.", text):
        # One shell at a time around the ring.
        for _ in range(int(amount)):
            value += 1 if verb == "gains" else -1
            value = 0 if value == 10 else 9 if value == -1 else value
        steps.append(f"She {verb} {amount} so {value}")
    return str(value), steps


def _order(text: str) -> tuple[str, list[str]] | None:
    pairs = re.findall(r"(\w+) leads (\w+)\.", text)
    asked = re.search(r"Who is (\w+) in the row\?$", text)
    if not pairs or asked is None:
        return None
    people = {name for pair in pairs for name in pair}
    row = sorted(people, key=lambda name: _behind(name, pairs), reverse=True)
    rank = ORDINALS.index(asked[1])
    assert f"{row[0]} is first." in text
    steps = [f"{row[0]} is first"]
    steps += [f"{row[i - 1]} leads {row[i]} so {row[i]} is {ORDINALS[i]}" for i in range(1, rank + 1)]
    return row[rank], steps


def _behind(name: str, pairs: list[tuple[str, str]]) -> int:
    """How many people stand behind somebody."""
    return sum(1 + _behind(back, pairs) for front, back in pairs if front == name)


def _lookup(text: str) -> tuple[str, list[str]] | None:
    asked = re.search(r"From (\w+) follow ((?:helps, )*)likes\. What is there\?$", text)
    if asked is None:
        return None
    helps = re.findall(r"(\w+) helps (\w+)\.", text)
    likes = re.findall(r"(\w+) likes (\w+)\.", text)
    who, steps = asked[1], []
    for _ in range(asked[2].count("helps")):
        (after,) = [b for a, b in helps if a == who]
        steps.append(f"{who} helps {after}")
        who = after
    (thing,) = [b for a, b in likes if a == who]
    return thing, [*steps, f"{who} likes {thing}"]


def _count(text: str) -> tuple[str, list[str]] | None:
    asked = re.match(r"On the shelf: (.*)\. How many of these are a (\w+ \w+)\?$", text)
    if asked is None:
        return None
    things = [thing.removeprefix("a ") for thing in asked[1].split(", ")]
    steps = []
    for number, thing in enumerate(things, 1):
        steps.append(f"a {thing} {'yes' if thing == asked[2] else 'no'} {things[:number].count(asked[2])}")
    return str(things.count(asked[2])), steps


def _swap(text: str) -> tuple[str, list[str]] | None:
    start = re.match(r"The ball is at (\d)\.", text)
    if start is None:
        return None
    row = ["ball" if place == int(start[1]) else "" for place in range(5)]
    steps = []
    for a, b in re.findall(r"Places (\d) and (\d) change\.", text):
        row[int(a)], row[int(b)] = row[int(b)], row[int(a)]
        steps.append(f"Places {a} and {b} change so {row.index('ball')}")
    return str(row.index("ball")), steps


# The verbs of version 2, as a reader of right rationales would learn them.
UP = ("finds", "soars", "climbs", "pays", "gives", "hops")
DOWN = ("drops", "dives", "sinks", "bills", "takes", "slides")


def _counted(value: int, verb: str, amount: str, *, stops: bool = False) -> int:
    """One at a time, up or down; past the end the other end follows, or nothing happens."""
    assert (verb in UP) != (verb in DOWN), verb
    row = list(range(10))
    for _ in range(int(amount)):
        if verb in UP:
            value = row[value + 1] if value < 9 else (9 if stops else 0)
        else:
            value = row[value - 1] if value > 0 else (0 if stops else 9)
    return value


def _moved(start: str, moves: list[tuple[str, str, str]], *, stops: bool = False) -> tuple[str, list[str]]:
    value, steps = int(start), []
    for who, verb, amount in moves:
        value = _counted(value, verb, amount, stops=stops)
        steps.append(f"{who} {verb} {amount} so {value}")
    return str(value), steps


def _shells(text: str) -> tuple[str, list[str]] | None:
    start = re.match(r"(\w+) has (\d) shells\.", text)
    moves = re.findall(r"(She) (finds|drops) (\d)\.", text)
    return _moved(start[2], moves) if start and moves else None


def _lift(text: str) -> tuple[str, list[str]] | None:
    start = re.match(r"\w+ is in the lift at (\d)\.", text)
    if start is None:
        return None
    assert text.endswith("It ends at 0 and 9. Where is the lift?")
    return _moved(start[1], re.findall(r"(It) (\w+) (\d)\.", text), stops=True)


def _bug(text: str) -> tuple[str, list[str]] | None:
    start = re.match(r"The bug is at (\d)\.", text)
    if start is None:
        return None
    assert text.endswith("After 9 comes 0. Where is the bug?")
    return _moved(start[1], re.findall(r"(It) (\w+) (\d)\.", text))


def _coins(text: str) -> tuple[str, list[str]] | None:
    start = re.match(r"(\w+) meets (\w+)\. (\w+) has (\d) coins\.", text)
    if start is None:
        return None
    assert start[2] == start[3] and text.endswith(f"How many coins does {start[2]} have?")
    # Counted as what the other one has: who pays makes it more.
    return _moved(start[4], re.findall(rf"({start[1]}) (\w+) (\d)\.", text))
