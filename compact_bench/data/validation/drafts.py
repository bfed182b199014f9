"""One row of a rationale file as it is read: fields that are wrong are None, and every fault is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from compact_bench.core.answers import answer_problem, canonical_answer
from compact_bench.core.errors import Fault
from compact_bench.data.files.rows import (
    SourceRow,
    content_id,
    kind_of,
    name_problem,
    repeated_keys,
    teacher_name_problem,
    text_problem,
    unseen_problem,
)
from compact_bench.data.validation.extras import QuestionExtras, read_extras
from compact_bench.data.validation.ragged import sample_name_problem

_NO_NUMBERS = frozenset({"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"})
_OURS = ("question", "gold_answer", "rationales")
_RELEASED = ("Question", "Answer", "CoT")


@dataclass
class Draft:
    """A row whose fields have been looked at; texts that were wrong are None."""

    row: SourceRow
    id: str | None = None
    text: str | None = None
    gold: str | None = None
    rationales: dict[str, list[str]] | None = None
    right: Mapping[str, list[bool]] | None = None
    extras: QuestionExtras = field(default_factory=QuestionExtras)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, problem: str, name: str = "", where: str = "") -> None:
        """Keep a fault of a field (the whole row where it has no name), at the row's place or another."""
        place = where or self.row.where
        self.faults.append(Fault(f"{place}, field {name!r}" if name else place, problem, self.id))


def is_released(row: SourceRow) -> bool:
    """Whether a row is in the form of the released code, where teachers have no names."""
    return isinstance(row.data, Mapping) and any(name in row.data for name in _RELEASED)


def read_row(row: SourceRow, teachers: Sequence[str], *, ragged: bool) -> Draft:
    """Look at every field of a row.

    Args:
        row: of either form.
        teachers: which are used; empty for all. A row of the released form gets its names from them.
        ragged: whether a teacher may be missing, or have several rationales.
    """
    draft = Draft(row)
    if not isinstance(row.data, Mapping):
        draft.fault(f"expected an object with question, answer and rationales, got {kind_of(row.data)}")
        return draft
    for place in repeated_keys(row.data):
        draft.fault("expected a field once in a row, got it twice: nobody knows which counts", place)
    released = is_released(row)
    if released and (ours := [name for name in _OURS if name in row.data]):
        theirs = [name for name in _RELEASED if name in row.data]
        draft.fault(f"expected a row of one form, got {', '.join(ours)} beside {', '.join(theirs)}")
    names = _RELEASED if released else _OURS
    # The question comes first: its text gives an id to a row that has none.
    draft.text = _text_field(draft, names[0])
    draft.id = _id_field(draft)
    draft.gold = _gold_field(draft, names[1])
    if names[2] not in row.data:
        draft.fault("expected it, got a row without it", names[2])
    elif released:
        draft.rationales = _released_rationales(draft, row.data["CoT"], teachers)
    else:
        draft.rationales = _named_rationales(draft, row.data["rationales"], teachers, ragged=ragged)
        draft.right = _right_field(draft, row.data.get("right"))
        draft.extras = read_extras(row.data, draft.gold, teachers, draft.fault)
    return draft


def _text_field(draft: Draft, name: str) -> str | None:
    if name not in draft.row.data:
        draft.fault("expected it, got a row without it", name)
        return None
    value = draft.row.data[name]
    if problem := text_problem(value):
        draft.fault(problem, name)
        return None
    return str(value)


def _id_field(draft: Draft) -> str | None:
    value = draft.row.data.get("id")
    if value is None:
        return f"q-{content_id(draft.text)}" if draft.text is not None else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if problem := text_problem(value):
        draft.fault(problem, "id")
        return None
    if problem := name_problem(value):
        draft.fault(problem, "id")
        return None
    return str(value)


def _gold_field(draft: Draft, name: str) -> str | None:
    value = draft.row.data.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        # Never as 1e-07, which no answer is written like.
        return canonical_answer(format(Decimal(repr(value)), "f"))
    text = _text_field(draft, name)
    if text is None:
        return None
    if text.strip().casefold() in _NO_NUMBERS:
        draft.fault(f"expected an answer, got {text.strip()[:20]!r} as text", name)
        return None
    if problem := unseen_problem(text) or answer_problem(text):
        draft.fault(problem, name)
        return None
    return text


def _released_rationales(draft: Draft, value: Any, teachers: Sequence[str]) -> dict[str, list[str]] | None:
    if not isinstance(value, list):
        draft.fault(f"expected a list of texts, got {kind_of(value)}", "CoT")
        return None
    if not value:
        draft.fault("expected at least one rationale, got an empty list", "CoT")
        return None
    if teachers and len(value) != len(teachers):
        draft.fault(f"expected {len(teachers)} rationales ({', '.join(teachers)}), got {len(value)}", "CoT")
        return None
    names = teachers or [f"teacher_{number}" for number in range(1, len(value) + 1)]
    for number, text in enumerate(value, 1):
        if problem := text_problem(text):
            draft.fault(problem, f"CoT[{number}]")
    return {name: [text] for name, text in zip(names, value, strict=True)}


def _named_rationales(
    draft: Draft, value: Any, teachers: Sequence[str], *, ragged: bool
) -> dict[str, list[str]] | None:
    if isinstance(value, Mapping):
        pairs = _keyed_pairs(draft, value, ragged=ragged)
    elif isinstance(value, list):
        pairs = _listed_pairs(draft, value)
    else:
        draft.fault(f"expected an object or a list, got {kind_of(value)}", "rationales")
        return None
    if not pairs:
        if not draft.faults or not value:
            draft.fault("expected at least one rationale, got none", "rationales")
        return None
    by_teacher: dict[str, list[str]] = {}
    for name, text, place in pairs:
        if teachers and name not in teachers:
            continue
        if problem := text_problem(text):
            draft.fault(problem, place, draft.row.places.get(name, ""))
        if problem := teacher_name_problem(name) or (sample_name_problem(name) if ragged else None):
            draft.fault(problem, place)
            continue
        if name in by_teacher and not ragged:
            draft.fault(f"expected one rationale of teacher {name!r}, got two", place)
        by_teacher.setdefault(name, []).append(text)
    for name in () if ragged else teachers:
        if name not in by_teacher:
            draft.fault(f"expected a rationale of teacher {name!r}, got none", "rationales")
    return by_teacher


def _keyed_pairs(draft: Draft, value: Mapping[Any, Any], *, ragged: bool) -> list[tuple[str, Any, str]]:
    pairs: list[tuple[str, Any, str]] = []
    for name, text in value.items():
        place = f"rationales.{name}"
        if not ragged or not isinstance(text, list):
            pairs.append((name, text, place))
        elif text:
            pairs += [(name, one, f"{place}[{number}]") for number, one in enumerate(text, 1)]
        else:
            draft.fault("expected at least one text, got an empty list", place)
    return pairs


def _listed_pairs(draft: Draft, value: list[Any]) -> list[tuple[str, Any, str]]:
    pairs = []
    for number, item in enumerate(value, 1):
        place = f"rationales[{number}]"
        if not isinstance(item, Mapping):
            draft.fault(f"expected an object with teacher and text, got {kind_of(item)}", place)
        elif missing := [name for name in ("teacher", "text") if name not in item]:
            for name in missing:
                draft.fault("expected it, got a rationale without it", f"{place}.{name}")
        elif not isinstance(item["teacher"], str):
            draft.fault(str(teacher_name_problem(item["teacher"])), f"{place}.teacher")
        else:
            pairs.append((item["teacher"], item["text"], f"{place}.text"))
    return pairs


def _right_field(draft: Draft, value: Any) -> Mapping[str, list[bool]] | None:
    """Which rationales are really right, or None where the row does not say."""
    if value is None or draft.rationales is None:
        return None
    if not isinstance(value, Mapping):
        draft.fault(f"expected an object of teacher and true or false, got {kind_of(value)}", "right")
        return None
    told: dict[str, list[bool]] = {}
    for name, texts in draft.rationales.items():
        of_teacher: list[Any] = value[name] if isinstance(value.get(name), list) else [value.get(name)]
        told[name] = of_teacher
        if len(of_teacher) != len(texts):
            draft.fault(f"expected {len(texts)} of true or false, got {len(of_teacher)}", f"right.{name}")
        elif wrong := [item for item in of_teacher if not isinstance(item, bool)]:
            got = kind_of(wrong[0]) if name in value else "nothing"
            draft.fault(f"expected true or false, got {got}", f"right.{name}")
    return told
