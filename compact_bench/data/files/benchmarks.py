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
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from compact_bench.core.answers import answer_problem, canonical_answer, parse_number
from compact_bench.core.errors import Fault
from compact_bench.data.files.rows import SourceRow, content_id, normalised, text_problem

Row = dict[str, Any]


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


class _RowProblem(Exception):
    """Why one row cannot be used: (field, expected and got)."""


def parse_benchmark(
    layout: str, rows: Sequence[SourceRow], excluding: AbstractSet[str] = frozenset()
) -> Benchmark:
    """Turn the rows of an upstream file into items.

    Args:
        layout: how the file is laid out, one of `FORMATS`.
        rows: the file's rows.
        excluding: normalised questions that are no test items (SVAMP's file holds the training ones too).
    """
    found: dict[str, tuple[Row, str]] = {}
    faults: list[Fault] = []
    repeats = 0
    for row in rows:
        try:
            item = FORMATS[layout](_mapping(row.data))
        except _RowProblem as problem:
            name, text = problem.args
            faults.append(Fault(f"{row.where}, field {name!r}" if name else row.where, text))
            continue
        if normalised(item["question"]) in excluding:
            continue
        item = {"id": item.pop("id", None) or _item_id(item), **item}
        before = found.setdefault(item["id"], (item, row.where))
        if before[1] == row.where:
            continue
        if before[0] == item or (_same_question(before[0], item) and _outcome(before[0]) == _outcome(item)):
            repeats += 1
        else:
            faults.append(Fault(row.where, f"the same question or id as {before[1]} with another answer"))
    return Benchmark(tuple(found[key][0] for key in sorted(found)), tuple(faults), repeats)


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


def _mapping(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise _RowProblem("", f"expected an object, got {type(data).__name__}")
    return data


def _text(data: Mapping[str, Any], name: str) -> str:
    if name not in data:
        raise _RowProblem(name, "expected it, got a row without it")
    if problem := text_problem(data[name]):
        raise _RowProblem(name, problem)
    return str(data[name])


def _number(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    text = repr(value) if _is_number(value) else _text(data, name)
    if parse_number(text) is None:
        raise _RowProblem(name, f"expected a number, got {text!r}")
    return canonical_answer(text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_or_words(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    text = repr(value) if _is_number(value) else _text(data, name)
    if problem := answer_problem(text):
        raise _RowProblem(name, problem)
    return canonical_answer(text)


def _svamp(data: Mapping[str, Any]) -> Row:
    question = f"{_text(data, 'Body')} {_text(data, 'Question')}"
    return {"question": question.strip(), "answer": _number(data, "Answer")}


def _adapters_number(data: Mapping[str, Any]) -> Row:
    # The "output" of these files is a model's solution and often wrong; "answer" is the gold one.
    return {"question": _text(data, "instruction").strip(), "answer": _number(data, "answer")}


def _gsm8k(data: Mapping[str, Any]) -> Row:
    solution = _text(data, "answer")
    _, mark, answer = solution.rpartition("####")
    if not mark or parse_number(answer) is None:
        raise _RowProblem("answer", "expected a number after '####', got none")
    return {"question": _text(data, "question").strip(), "answer": canonical_answer(answer)}


def _strategyqa(data: Mapping[str, Any]) -> Row:
    choices = ["False", "True"]
    label = _text(data, "label")
    if label not in choices:
        raise _RowProblem("label", f"expected True or False, got {label!r}")
    return {"question": _text(data, "instruction").strip(), "choices": choices, "label": choices.index(label)}


_LETTERED = re.compile(r"^([A-Z])\. (.*)$", re.MULTILINE)


def _csqa(data: Mapping[str, Any]) -> Row:
    question, mark, listing = _text(data, "instruction").partition("Answer Choices:\n")
    options = dict(_LETTERED.findall(listing))
    label = _text(data, "label")
    if not mark or len(options) < 2 or label not in options:
        raise _RowProblem("label", f"expected one of the lettered options, got {label!r}")
    choices = [text.strip() for text in options.values()]
    return {"question": question.strip(), "choices": choices, "label": list(options).index(label)}


def _adapters_choice(opening: str, word: str) -> Callable[[Mapping[str, Any]], Row]:
    """Parser of LLM-Adapters' files with numbered options ("Answer1: ...", "Solution2: ...")."""
    start = re.compile(rf"\s*{word}(\d+): ")

    def parse(data: Mapping[str, Any]) -> Row:
        question, options = _numbered(_text(data, "instruction"), opening, start)
        return {"question": question, "choices": options, "label": _numbered_label(data, word, options)}

    return parse


def _numbered(text: str, opening: str, start: re.Pattern[str]) -> tuple[str, list[str]]:
    body, mark, _ = text.removeprefix(opening).rpartition("Answer format:")
    pieces = start.split(body)
    numbers = [int(n) for n in pieces[1::2]]
    if not mark or len(numbers) < 2 or numbers != list(range(1, len(numbers) + 1)):
        raise _RowProblem("instruction", f"expected options numbered from 1, got {numbers}")
    options = [piece.strip() for piece in pieces[2::2]]
    if not all(options) or not pieces[0].strip():
        raise _RowProblem("instruction", "expected a question and options with text, got an empty one")
    return pieces[0].strip(), options


def _numbered_label(data: Mapping[str, Any], word: str, options: Sequence[str]) -> int:
    answer = _text(data, "answer")
    known = [f"{word.lower()}{number}" for number in range(1, len(options) + 1)]
    if answer not in known:
        raise _RowProblem("answer", f"expected one of {', '.join(known)}, got {answer!r}")
    return known.index(answer)


_BOOLQ_OPENING = "Please answer the following question with true or false, question: "


def _boolq(data: Mapping[str, Any]) -> Row:
    text, mark, _ = _text(data, "instruction").rpartition("Answer format:")
    answer = _text(data, "answer")
    choices = ["false", "true"]
    if not mark or not text.startswith(_BOOLQ_OPENING):
        raise _RowProblem("instruction", f"expected it to start with {_BOOLQ_OPENING!r}")
    if answer not in choices:
        raise _RowProblem("answer", f"expected true or false, got {answer!r}")
    question = text.removeprefix(_BOOLQ_OPENING).strip()
    asked = f"Please answer the following question with true or false: {question}"
    return {"question": asked, "choices": choices, "label": choices.index(answer)}


_WINO_OPENING = "Please choose the correct answer to fill in the blank to complete the given sentence: "
_WINO_OPTION = re.compile(r"\s*Option(\d+): ")


def _winogrande(data: Mapping[str, Any]) -> Row:
    sentence, names = _numbered(_text(data, "instruction"), _WINO_OPENING, _WINO_OPTION)
    if sentence.count("_") != 1:
        raise _RowProblem("instruction", f"expected one blank '_', got {sentence.count('_')}")
    # The options are whole sentences: what follows the blank decides, and must be scored with it.
    filled = [sentence.replace("_", name) for name in names]
    listed = " or ".join(f'"{name}"' for name in names)
    question = f"Fill in the blank with {listed} and write the whole sentence: {sentence}"
    return {"question": question, "choices": filled, "label": _numbered_label(data, "Option", names)}


def _own(data: Mapping[str, Any]) -> Row:
    item: Row = {"question": _text(data, "question")}
    if data.get("id") is not None:
        item["id"] = str(data["id"])
    if "choices" not in data:
        return {**item, "answer": _number_or_words(data, "answer")}
    choices, label = data["choices"], data.get("label")
    if not isinstance(choices, list) or len(choices) < 2 or any(text_problem(c) for c in choices):
        raise _RowProblem("choices", f"expected a list of two or more texts, got {choices!r}")
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(choices):
        raise _RowProblem("label", f"expected a number from 0 to {len(choices) - 1}, got {label!r}")
    return {**item, "choices": list(choices), "label": label}


_CHOOSE = "Please choose the correct {} to the question: "
FORMATS: Mapping[str, Callable[[Mapping[str, Any]], Row]] = {
    "svamp": _svamp,
    "adapters_number": _adapters_number,
    "gsm8k": _gsm8k,
    "strategyqa": _strategyqa,
    "csqa": _csqa,
    "arc": _adapters_choice(_CHOOSE.format("answer"), "Answer"),
    "piqa": _adapters_choice(_CHOOSE.format("solution"), "Solution"),
    "boolq": _boolq,
    "winogrande": _winogrande,
    "rows": _own,
}
"""Layout name -> what turns a row's JSON object into an item without its id."""
