"""How rows of benchmark files are laid out: each format is one function, and one line in `FORMATS`.

A format turns a row's JSON object into an item without its id: {"question", "answer"}, or {"question",
"choices", "label"}. A row that it cannot use raises `RowProblem`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compact_bench.core.answers import answer_problem, canonical_answer, parse_number
from compact_bench.core.registry import Registry
from compact_bench.data.files.rows import name_problem, text_problem

Row = dict[str, Any]
Format = Callable[[Mapping[str, Any]], Row]


class RowProblem(Exception):
    """Why one row cannot be used: the field, "" for the whole row, and "expected ..., got ..."."""


def row_text(data: Mapping[str, Any], name: str) -> str:
    """A field that must hold a text.

    Raises:
        RowProblem: the field is missing or holds something else.
    """
    if name not in data:
        raise RowProblem(name, "expected it, got a row without it")
    if problem := text_problem(data[name]):
        raise RowProblem(name, problem)
    return str(data[name])


def row_number(data: Mapping[str, Any], name: str) -> str:
    """A field that must hold a number, as the text that answers are compared by.

    Raises:
        RowProblem: the field is missing or holds something else.
    """
    value = data.get(name)
    text = repr(value) if _is_number(value) else row_text(data, name)
    if parse_number(text) is None:
        raise RowProblem(name, f"expected a number, got {text!r}")
    return canonical_answer(text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_or_words(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    text = repr(value) if _is_number(value) else row_text(data, name)
    if problem := answer_problem(text):
        raise RowProblem(name, problem)
    return canonical_answer(text)


def _svamp(data: Mapping[str, Any]) -> Row:
    question = f"{row_text(data, 'Body')} {row_text(data, 'Question')}"
    return {"question": question.strip(), "answer": row_number(data, "Answer")}


def _adapters_number(data: Mapping[str, Any]) -> Row:
    # The "output" of these files is a model's solution and often wrong; "answer" is the gold one.
    return {"question": row_text(data, "instruction").strip(), "answer": row_number(data, "answer")}


def _gsm8k(data: Mapping[str, Any]) -> Row:
    solution = row_text(data, "answer")
    _, mark, answer = solution.rpartition("####")
    if not mark or parse_number(answer) is None:
        raise RowProblem("answer", "expected a number after '####', got none")
    return {"question": row_text(data, "question").strip(), "answer": canonical_answer(answer)}


def _strategyqa(data: Mapping[str, Any]) -> Row:
    choices = ["False", "True"]
    label = row_text(data, "label")
    if label not in choices:
        raise RowProblem("label", f"expected True or False, got {label!r}")
    return {
        "question": row_text(data, "instruction").strip(),
        "choices": choices,
        "label": choices.index(label),
    }


_LETTERED = re.compile(r"^([A-Z])\. (.*)$", re.MULTILINE)


def _csqa(data: Mapping[str, Any]) -> Row:
    question, mark, listing = row_text(data, "instruction").partition("Answer Choices:\n")
    options = dict(_LETTERED.findall(listing))
    label = row_text(data, "label")
    if not mark or len(options) < 2 or label not in options:
        raise RowProblem("label", f"expected one of the lettered options, got {label!r}")
    choices = [text.strip() for text in options.values()]
    return {"question": question.strip(), "choices": choices, "label": list(options).index(label)}


def _adapters_choice(opening: str, word: str) -> Format:
    """Parser of LLM-Adapters' files with numbered options ("Answer1: ...", "Solution2: ...")."""
    start = re.compile(rf"\s*{word}(\d+): ")

    def parse(data: Mapping[str, Any]) -> Row:
        question, options = _numbered(row_text(data, "instruction"), opening, start)
        return {"question": question, "choices": options, "label": _numbered_label(data, word, options)}

    return parse


def _numbered(text: str, opening: str, start: re.Pattern[str]) -> tuple[str, list[str]]:
    body, mark, _ = text.removeprefix(opening).rpartition("Answer format:")
    pieces = start.split(body)
    numbers = [int(n) for n in pieces[1::2]]
    if not mark or len(numbers) < 2 or numbers != list(range(1, len(numbers) + 1)):
        raise RowProblem("instruction", f"expected options numbered from 1, got {numbers}")
    options = [piece.strip() for piece in pieces[2::2]]
    if not all(options) or not pieces[0].strip():
        raise RowProblem("instruction", "expected a question and options with text, got an empty one")
    return pieces[0].strip(), options


def _numbered_label(data: Mapping[str, Any], word: str, options: Sequence[str]) -> int:
    answer = row_text(data, "answer")
    known = [f"{word.lower()}{number}" for number in range(1, len(options) + 1)]
    if answer not in known:
        raise RowProblem("answer", f"expected one of {', '.join(known)}, got {answer!r}")
    return known.index(answer)


_BOOLQ_OPENING = "Please answer the following question with true or false, question: "


def _boolq(data: Mapping[str, Any]) -> Row:
    text, mark, _ = row_text(data, "instruction").rpartition("Answer format:")
    answer = row_text(data, "answer")
    choices = ["false", "true"]
    if not mark or not text.startswith(_BOOLQ_OPENING):
        raise RowProblem("instruction", f"expected it to start with {_BOOLQ_OPENING!r}")
    if answer not in choices:
        raise RowProblem("answer", f"expected true or false, got {answer!r}")
    question = text.removeprefix(_BOOLQ_OPENING).strip()
    prompt = f"Please answer the following question with true or false: {question}"
    return {"question": prompt, "choices": choices, "label": choices.index(answer)}


_WINO_OPENING = "Please choose the correct answer to fill in the blank to complete the given sentence: "
_WINO_OPTION = re.compile(r"\s*Option(\d+): ")


def _winogrande(data: Mapping[str, Any]) -> Row:
    sentence, names = _numbered(row_text(data, "instruction"), _WINO_OPENING, _WINO_OPTION)
    if sentence.count("_") != 1:
        raise RowProblem("instruction", f"expected one blank '_', got {sentence.count('_')}")
    # The options are whole sentences: what follows the blank decides, and must be scored with it.
    filled = [sentence.replace("_", name) for name in names]
    listed = " or ".join(f'"{name}"' for name in names)
    question = f"Fill in the blank with {listed} and write the whole sentence: {sentence}"
    return {"question": question, "choices": filled, "label": _numbered_label(data, "Option", names)}


def _row_id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if problem := text_problem(value) or name_problem(value):
        raise RowProblem("id", problem)
    return str(value)


def _rows(data: Mapping[str, Any]) -> Row:
    item: Row = {"question": row_text(data, "question")}
    if data.get("id") is not None:
        item["id"] = _row_id(data["id"])
    if "choices" not in data:
        return {**item, "answer": _number_or_words(data, "answer")}
    choices, label = data["choices"], data.get("label")
    if not isinstance(choices, list) or len(choices) < 2 or any(text_problem(c) for c in choices):
        raise RowProblem("choices", f"expected a list of two or more texts, got {choices!r}")
    if len({" ".join(choice.split()) for choice in choices}) < len(choices):
        raise RowProblem("choices", f"expected options that differ, got {choices!r}")
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(choices):
        raise RowProblem("label", f"expected a number from 0 to {len(choices) - 1}, got {label!r}")
    return {**item, "choices": list(choices), "label": label}


_CHOOSE = "Please choose the correct {} to the question: "
_arc = _adapters_choice(_CHOOSE.format("answer"), "Answer")
_piqa = _adapters_choice(_CHOOSE.format("solution"), "Solution")
FORMATS: Registry[Format] = Registry(
    "benchmark format",
    "compact_bench.formats",
    {
        "svamp": f"{__name__}:_svamp",
        "adapters_number": f"{__name__}:_adapters_number",
        "gsm8k": f"{__name__}:_gsm8k",
        "strategyqa": f"{__name__}:_strategyqa",
        "csqa": f"{__name__}:_csqa",
        "arc": f"{__name__}:_arc",
        "piqa": f"{__name__}:_piqa",
        "boolq": f"{__name__}:_boolq",
        "winogrande": f"{__name__}:_winogrande",
        "rows": f"{__name__}:_rows",
    },
    "a function",
    callable,
)
