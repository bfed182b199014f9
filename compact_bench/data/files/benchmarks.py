"""Upstream test files as benchmark rows.

A generation row is {"id", "question", "answer"}; a choice row is {"id", "question", "choices", "label"}.
Ids are hashes of the normalised question (and the options), so that a question which two benchmarks share
has one id; rows stand in the order of their ids, so that the first n are a sample that never changes.

Options are scored as texts and are not listed in the question. Two tasks need a word on theirs:
StrategyQA's are "True" and "False", because that is what its training rationales state as answers; BoolQ's
are "true" and "false" and its question keeps the upstream files' own request for them (these files carry
no passage, so the task is closed-book).
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from compact_bench.core.errors import Fault
from compact_bench.data.files.formats import FORMATS, Format, Row, RowProblem
from compact_bench.data.files.rows import SourceRow, content_id, normalised, repeated_keys

USES = "uses"
"""Column of a row whose benchmark has a name of its own: the packaged task that asks and scores it."""


@dataclass(frozen=True)
class Benchmark:
    """One task's items.

    Attributes:
        rows: the items, in order of their ids.
        faults: rows that could not be read.
        repeats: rows left out because an earlier one is the same item.
    """

    rows: tuple[Row, ...]
    faults: tuple[Fault, ...]
    repeats: int


def parse_benchmark(
    layout: str, rows: Sequence[SourceRow], excluding: AbstractSet[str] = frozenset()
) -> Benchmark:
    """Turn the rows of an upstream file into items.

    Args:
        layout: how the file is laid out, one of `FORMATS`.
        rows: the file's rows.
        excluding: normalised questions that are no test items (SVAMP's file holds the training ones too).

    Raises:
        UnknownNameError, ConfigError: there is no such format, or it cannot be imported.
    """
    parse = FORMATS.get(layout)
    by_id: dict[str, tuple[Row, str]] = {}
    faults: list[Fault] = []
    repeats = 0
    for row in rows:
        if twice := list(repeated_keys(row.data)):
            faults.append(
                Fault(f"{row.where}, field {twice[0]!r}", "expected a field once in a row, got it twice")
            )
            continue
        try:
            item = _item(parse, row.data)
        except RowProblem as problem:
            name, text = problem.args
            faults.append(Fault(f"{row.where}, field {name!r}" if name else row.where, text))
            continue
        if normalised(item["question"]) in excluding:
            continue
        item = {"id": item.pop("id", None) or _item_id(item), **item}
        before = by_id.setdefault(item["id"], (item, row.where))
        if before[1] == row.where:
            continue
        if before[0] == item or (_same_question(before[0], item) and _outcome(before[0]) == _outcome(item)):
            repeats += 1
        else:
            faults.append(Fault(row.where, f"the same question or id as {before[1]} with another answer"))
    return Benchmark(tuple(by_id[key][0] for key in sorted(by_id)), tuple(faults), repeats)


def _item(parse: Format, data: Any) -> Row:
    if not isinstance(data, Mapping):
        raise RowProblem("", f"expected an object, got {type(data).__name__}")
    try:
        item = dict(parse(data))
    # What another package's format trips over is this row's fault, like any other.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RowProblem("", f"the format fails on it with {type(error).__name__}: {error}") from error
    if not isinstance(item.get("question"), str) or not ("answer" in item or {"choices", "label"} <= {*item}):
        raise RowProblem("", f"expected the format to give question and answer, or choices, got {item}")
    return item


def chance(rows: Sequence[Mapping[str, Any]]) -> float:
    """Accuracy of a uniform guess on choice rows, in [0, 1]."""
    return math.fsum(1.0 / len(row["choices"]) for row in rows) / len(rows)


def majority(rows: Sequence[Mapping[str, Any]]) -> float:
    """Share of the commonest label of choice rows, in [0, 1]: what always picking one option would get."""
    counts: dict[int, int] = {}
    for row in rows:
        counts[row["label"]] = counts.get(row["label"], 0) + 1
    return max(counts.values()) / len(rows)


def shared_ids(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Ids that two benchmarks share, so that a mean over both can count each item once."""
    return tuple(sorted({row["id"] for row in first} & {row["id"] for row in second}))


def benchmark_notes(items: Mapping[str, Benchmark]) -> dict[str, Any]:
    """What a report says of benchmarks: numbers of items and repeats, chance, majority, shared ids.

    Args:
        items: task name -> its items.
    """
    choice = {task: b.rows for task, b in items.items() if "choices" in b.rows[0]}
    shared = {
        f"{first}+{second}": list(ids)
        for first, second in itertools.combinations(items, 2)
        if (ids := shared_ids(items[first].rows, items[second].rows))
    }
    return {
        "items": {task: len(b.rows) for task, b in items.items()},
        "repeats": {task: b.repeats for task, b in items.items() if b.repeats},
        "chance": {task: chance(rows) for task, rows in choice.items()},
        "majority": {task: majority(rows) for task, rows in choice.items()},
        "shared_items": shared,
    }


def _item_id(item: Row) -> str:
    if "choices" not in item:
        return content_id(item["question"])
    text = "\n".join([normalised(item["question"]), *item["choices"]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _same_question(first: Row, second: Row) -> bool:
    return normalised(first["question"]) == normalised(second["question"])


def _outcome(item: Row) -> Any:
    return item["answer"] if "answer" in item else (tuple(item["choices"]), item["label"])
