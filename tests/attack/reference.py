"""A second reader of rationale files, written from docs/data-formats.md alone: what the product should say.

It is slow, plain, and shares nothing with the product's reader, so that the two only agree where both are
right. `read` gives the questions that a file holds, or where its first faults are.
"""

from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Read:
    """One question: its text, its gold answer and (teacher, text) of its rationales.

    Attributes:
        odd: whether it may be refused, or taken and shown escaped: a text of it holds control characters, its
            id is a number that no file counts to, its gold answer has digits among words.
    """

    text: str
    gold: str
    rationales: frozenset[tuple[str, str]]
    odd: bool = False


class Wrong(Exception):
    """A file that must be refused; `says` are the places that the message must name."""

    def __init__(self, *says: str) -> None:
        super().__init__(", ".join(says))
        self.says = says


class TooFew(Wrong):
    """Too few questions: the file as a whole is at fault, or the set that it gives."""


def read(data: bytes, suffix: str = ".jsonl", *, drop: bool = False) -> list[Read]:
    """The questions of a file, at least two (one of them is set aside for validation).

    Args:
        drop: leave faulty rows out instead of refusing the file.

    Raises:
        Wrong: the file must be refused.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Wrong() from None
    if "\x00" in text:
        # The file as a whole is no text.
        raise Wrong()
    found: list[Read] = []
    texts: set[str] = set()
    ids: set[str] = set()
    for number, value in _values(text, suffix):
        try:
            question = _row(number, value)
            name = str(value["id"]) if value.get("id") is not None else None
            if words(question.text) in texts:
                raise Wrong(f"row {number}")
            if name in ids:
                raise Wrong(f"row {number}", "id")
        except Wrong:
            if drop:
                continue
            raise
        texts.add(words(question.text))
        ids |= {name} if name is not None else set()
        found.append(question)
    if len(found) < 2:
        raise TooFew()
    # docs/data-formats.md: names that differ in case, space or signs alone are taken for one misspelt, and
    # released rows are of one length; a draw of bytes makes both.
    names = {name for question in found for name, _ in question.rationales}
    letters = {"".join(filter(str.isalnum, name)).casefold() for name in names}
    ragged = (
        all(name.startswith("teacher_") for name in names) and len({len(q.rationales) for q in found}) > 1
    )
    return [replace(q, odd=q.odd or ragged or len(letters) < len(names)) for q in found]


def words(text: str) -> str:
    """A question without case, spacing and punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split()) or text.strip()


def _values(text: str, suffix: str) -> list[tuple[int, Any]]:
    if suffix == ".jsonl":
        # A carriage return before the line end is white space to JSON.
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        return [(n, _line(line, f"row {n}")) for n, line in lines]
    try:
        value = _json(text)
    except Wrong:
        # A file of lines under another name: its first line is an object of its own.
        if not text.lstrip().startswith("{") or isinstance(_line(text.lstrip().split("\n")[0], ""), _Bad):
            raise
        return _values(text, ".jsonl")
    if not isinstance(value, list):
        raise Wrong()
    return list(enumerate(value, 1))


@dataclass(frozen=True)
class _Bad:
    """A line that is no JSON: a fault of this row."""

    where: str


def _line(text: str, place: str) -> Any:
    try:
        return _json(text, place)
    except Wrong:
        return _Bad(place)


def _json(text: str, *place: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in items]
        if len(set(names)) < len(names):
            raise Wrong(*place)
        return dict(items)

    def constant(_name: str) -> Any:
        raise Wrong(*place)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError):
        raise Wrong(*place) from None


def _row(number: int, value: Any) -> Read:
    place = f"row {number}"
    if not isinstance(value, dict):
        raise Wrong(place)
    ours = {"question", "gold_answer", "rationales"} & value.keys()
    theirs = {"Question", "CoT", "Answer"} & value.keys()
    if ours and theirs:
        raise Wrong(place)
    fields = ("Question", "Answer", "CoT") if theirs else ("question", "gold_answer", "rationales")
    for name in fields:
        if name not in value:
            raise Wrong(place, name)
    identity = value.get("id")
    if isinstance(identity, bool) or not isinstance(identity, int | str | None):
        raise Wrong(place, "id")
    if isinstance(identity, str):
        _text(identity, place, "id")
    question = _text(value[fields[0]], place, fields[0], loose=True)
    gold = _gold(value[fields[1]], place, fields[1])
    given = value[fields[2]]
    pairs = _listed(given, place) if theirs else _named(given, place)
    if not pairs:
        raise Wrong(place, fields[2])
    odd = isinstance(identity, int) and abs(identity) > 10**15
    # Digits among words: a gold answer that no reply could be read as may be refused.
    odd |= any(map(str.isdigit, gold)) and not set(gold) <= set("0123456789+-.,eE/ ")
    odd |= any(map(controlled, (question, *(text for _, text in pairs))))
    return Read(question, gold, frozenset(pairs), odd)


def _text(value: Any, *place: str, loose: bool = False) -> str:
    if not isinstance(value, str) or not any(visible(c) for c in value):
        raise Wrong(*place)
    if any(unicodedata.category(c) == "Cs" for c in value) or (controlled(value) and not loose):
        raise Wrong(*place)
    return value


def controlled(text: str) -> bool:
    """Whether a text holds control characters beside line breaks and tabs."""
    return any(unicodedata.category(c) == "Cc" and c not in "\n\t\r" for c in text)


def visible(character: str) -> bool:
    """Whether a reader sees a character."""
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zs", "Mn")


def _gold(value: Any, *place: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            raise Wrong(*place) from None
        if not math.isfinite(number):
            raise Wrong(*place)
        return str(value)
    text = _text(value, *place)
    if text.strip().casefold() == "nan":
        raise Wrong(*place)
    return text


def _named(value: Any, place: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        # Several samples of one teacher may stand in a list.
        several = {name: text if isinstance(text, list) and text else [text] for name, text in value.items()}
        pairs = [(name, text) for name, texts in several.items() for text in texts]
    elif isinstance(value, list):
        if not all(isinstance(one, dict) and {"teacher", "text"} <= one.keys() for one in value):
            raise Wrong(place, "rationales")
        pairs = [(one["teacher"], one["text"]) for one in value]
    else:
        raise Wrong(place, "rationales")
    for name, text in pairs:
        teacher_name(name, place)
        _text(text, place, "rationales", loose=True)
    return [(name, text) for name, text in pairs]


def teacher_name(name: Any, place: str) -> str:
    """A teacher's name: text that is seen, on one line, without marks that steer."""
    text = _text(name, place, "rationales")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text):
        raise Wrong(place, "rationales")
    return text


def _listed(value: Any, place: str) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise Wrong(place, "CoT")
    return [(f"teacher_{n}", _text(text, place, "CoT", loose=True)) for n, text in enumerate(value, 1)]
