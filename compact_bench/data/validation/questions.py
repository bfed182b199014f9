"""What a rationale set must be: questions with a gold answer and K named rationales, each fault reported.

Two forms of a row are read. Ours is {"id"?, "question", "gold_answer", "rationales", "right"?} and the
optional fields that `extras` reads: rationales are {teacher: text} or [{"teacher", "text"}, ...], and
"right", where it is known, says of each teacher whether its reasoning is really right. The released code's
is {"Question", "CoT", "Answer"}, where the teachers have no names.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from compact_bench.core.answers import canonical_answer, parse_number
from compact_bench.core.errors import ConfigError, DataError, Fault
from compact_bench.core.records import Question, Rationale, RationaleTruth
from compact_bench.data.files.rows import (
    OnFault,
    SourceRow,
    content_id,
    kind_of,
    name_key,
    name_problem,
    normalised,
    repeated_keys,
    teacher_name_problem,
    text_problem,
    unseen_problem,
)
from compact_bench.data.validation.extras import QuestionExtras, read_extras
from compact_bench.data.validation.limits import CountTokens, length_faults

_NO_NUMBERS = frozenset({"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"})
_OURS = ("question", "gold_answer", "rationales")
_RELEASED = ("Question", "Answer", "CoT")
_MEND = "correct the file, or pass --on-fault drop to leave the faulty questions out and list them."


@dataclass
class _Draft:
    """A row whose fields have been looked at; texts that were wrong are None."""

    row: SourceRow
    id: str | None = None
    text: str | None = None
    gold: str | None = None
    rationales: dict[str, str] | None = None
    right: Mapping[str, bool] | None = None
    extras: QuestionExtras = field(default_factory=QuestionExtras)
    faults: list[Fault] = field(default_factory=list)

    def fault(self, problem: str, name: str = "", where: str = "") -> None:
        place = where or self.row.where
        self.faults.append(Fault(f"{place}, field {name!r}" if name else place, problem, self.id))


def validate_questions(
    rows: Sequence[SourceRow],
    source: str,
    *,
    teachers: Sequence[str] = (),
    count_tokens: CountTokens | None = None,
    max_length_tokens: int | None = None,
    on_fault: OnFault = "stop",
    read_faults: Iterable[Fault] = (),
) -> tuple[tuple[Question, ...], tuple[Fault, ...]]:
    """Turn rows into questions, or say everything that is wrong with them.

    Args:
        rows: rows of either form.
        source: what was read, for the message.
        teachers: teacher names, in order. For named rationales they choose which are used; for the
            released form they give the names (default teacher_1 to teacher_K).
        count_tokens: counts the tokens of a row, or None to leave lengths unchecked.
        max_length_tokens: longest row.
        on_fault: "stop" raises on any fault; "drop" leaves faulty questions out.

    Returns:
        The questions, all with the same teachers in the same order; and the faults of those left out.

    Raises:
        DataError: there are faults and `on_fault` is "stop", or no question is left.
    """
    # Every row is read before any is refused: a user mends a file once, not once per fault.
    _check_wanted(teachers)
    drafts = [_read_row(row, teachers) for row in rows]
    _check_spelling(drafts)
    if not teachers:
        _check_teachers(drafts)
    _check_repeats(drafts)
    if count_tokens is not None and max_length_tokens is not None:
        for draft in drafts:
            draft.faults += _draft_length_faults(draft, count_tokens, max_length_tokens)
    faults = [*read_faults, *(fault for draft in drafts for fault in draft.faults)]
    good = tuple(_question(draft, teachers, drafts) for draft in drafts if not draft.faults)
    enforce_fault_policy(faults, on_fault, source, len(good))
    return good, tuple(faults)


def enforce_fault_policy(faults: Sequence[Fault], on_fault: OnFault, source: str, left: int) -> None:
    """Raise where faults are not to be dropped, or where dropping them leaves no question.

    Raises:
        DataError: lists every fault.
    """
    if faults and on_fault == "stop":
        raise DataError(f"{source}: {len(faults)} fault(s); nothing was trained", faults, _MEND)
    if left == 0:
        raise DataError(f"{source}: expected a sound question, got none", faults, "correct the file.")


def _read_row(row: SourceRow, teachers: Sequence[str]) -> _Draft:
    draft = _Draft(row)
    if not isinstance(row.data, Mapping):
        draft.fault(f"expected an object with question, answer and rationales, got {kind_of(row.data)}")
        return draft
    for place in repeated_keys(row.data):
        draft.fault("expected a field once in a row, got it twice: nobody knows which counts", place)
    released = any(name in row.data for name in _RELEASED)
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
        draft.rationales = _named_rationales(draft, row.data["rationales"], teachers)
        draft.right = _right_field(draft, row.data.get("right"))
        draft.extras = read_extras(row.data, draft.gold, teachers, draft.fault)
    return draft


def _text_field(draft: _Draft, name: str) -> str | None:
    if name not in draft.row.data:
        draft.fault("expected it, got a row without it", name)
        return None
    value = draft.row.data[name]
    if problem := text_problem(value):
        draft.fault(problem, name)
        return None
    return str(value)


def _id_field(draft: _Draft) -> str | None:
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


def _gold_field(draft: _Draft, name: str) -> str | None:
    value = draft.row.data.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        # Never as 1e-07, which no answer is written like.
        return canonical_answer(format(Decimal(repr(value)), "f"))
    text = _text_field(draft, name)
    if text is None:
        return None
    number = parse_number(text)
    if text.strip().casefold() in _NO_NUMBERS or (number is not None and not math.isfinite(number)):
        what = "a number that is too large" if number is not None else f"{text.strip()[:20]!r}"
        draft.fault(f"expected an answer, got {what} as text", name)
        return None
    if problem := unseen_problem(text):
        draft.fault(problem, name)
        return None
    return text


def _released_rationales(draft: _Draft, value: Any, teachers: Sequence[str]) -> dict[str, str] | None:
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
    return dict(zip(names, value, strict=True))


def _named_rationales(draft: _Draft, value: Any, teachers: Sequence[str]) -> dict[str, str] | None:
    if isinstance(value, Mapping):
        pairs = [(name, text, f"rationales.{name}") for name, text in value.items()]
    elif isinstance(value, list):
        pairs = _listed_pairs(draft, value)
    else:
        draft.fault(f"expected an object or a list, got {kind_of(value)}", "rationales")
        return None
    if not pairs:
        if not draft.faults or not value:
            draft.fault("expected at least one rationale, got none", "rationales")
        return None
    by_teacher: dict[str, str] = {}
    for name, text, place in pairs:
        if teachers and name not in teachers:
            continue
        if problem := text_problem(text):
            draft.fault(problem, place, draft.row.places.get(name, ""))
        if problem := teacher_name_problem(name):
            draft.fault(problem, place)
            continue
        if name in by_teacher:
            draft.fault(f"expected one rationale of teacher {name!r}, got two", place)
        by_teacher[name] = text
    for name in teachers:
        if name not in by_teacher:
            draft.fault(f"expected a rationale of teacher {name!r}, got none", "rationales")
    return by_teacher


def _listed_pairs(draft: _Draft, value: list[Any]) -> list[tuple[str, Any, str]]:
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


def _right_field(draft: _Draft, value: Any) -> Mapping[str, bool] | None:
    """Which rationales are really right, or None where the row does not say."""
    if value is None or draft.rationales is None:
        return None
    if not isinstance(value, Mapping):
        draft.fault(f"expected an object of teacher and true or false, got {kind_of(value)}", "right")
        return None
    for name in draft.rationales:
        if not isinstance(value.get(name), bool):
            got = kind_of(value[name]) if name in value else "nothing"
            draft.fault(f"expected true or false, got {got}", f"right.{name}")
    return value


def _expected_teachers(drafts: Sequence[_Draft]) -> tuple[str, ...]:
    """The teachers that most rows have, in the order of the first such row."""
    counts = Counter(frozenset(draft.rationales) for draft in drafts if draft.rationales)
    if not counts:
        return ()
    usual = counts.most_common(1)[0][0]
    return next(tuple(d.rationales) for d in drafts if d.rationales and frozenset(d.rationales) == usual)


def _check_teachers(drafts: Sequence[_Draft]) -> None:
    expected = _expected_teachers(drafts)
    for draft in drafts:
        if draft.rationales and set(draft.rationales) != set(expected):
            draft.fault(
                f"expected K = {len(expected)} rationales, of {', '.join(expected)}, as most questions have; "
                f"got {len(draft.rationales)}, of {', '.join(draft.rationales)}",
                "CoT" if "CoT" in draft.row.data else "rationales",
            )


def _check_wanted(teachers: Sequence[str]) -> None:
    """Refuse names given from outside that no teacher may have, or that two teachers would share."""
    problems = [problem for name in teachers if (problem := teacher_name_problem(name))]
    keys = Counter(map(name_key, teachers))
    twice = [name for name in teachers if keys[name_key(name)] > 1]
    if twice:
        problems.append(f"expected names that differ in more than case, got {', '.join(map(repr, twice))}")
    if problems:
        raise ConfigError(f"--teachers: {'; '.join(problems)}.")


def _check_spelling(drafts: Sequence[_Draft]) -> None:
    """Refuse a teacher's name that another row writes in other case or in another form of Unicode."""
    first: dict[str, tuple[str, str]] = {}
    for draft in drafts:
        for name in draft.rationales or ():
            known, where = first.setdefault(name_key(name), (name, draft.row.where))
            if name != known:
                same = f"expected {known!r}, as {where} writes this name, got {name!r}"
                draft.fault(
                    f"{same}; two teachers' names must differ in more than case or form", "rationales"
                )


def _check_repeats(drafts: Sequence[_Draft]) -> None:
    first_text: dict[str, str] = {}
    first_id: dict[str, str] = {}
    for draft in drafts:
        if draft.text is not None:
            before = first_text.setdefault(normalised(draft.text), draft.row.where)
            if before is not draft.row.where:
                name = "Question" if "Question" in draft.row.data else "question"
                draft.fault(f"expected a question once, got the one of {before} again", name)
                continue
        if draft.id is not None:
            before = first_id.setdefault(draft.id, draft.row.where)
            if before is not draft.row.where:
                draft.fault(f"expected an id once, got {draft.id!r} of {before} again", "id")


def _question(draft: _Draft, teachers: Sequence[str], drafts: Sequence[_Draft]) -> Question:
    assert draft.id is not None and draft.text is not None and draft.gold is not None
    assert draft.rationales is not None
    order = teachers or sorted(draft.rationales, key=list(_expected_teachers(drafts)).index)
    right = draft.right
    truths = {name: RationaleTruth(right[name], None, 0, "") for name in order} if right else {}
    rationales = tuple(Rationale(name, draft.rationales[name], truths.get(name)) for name in order)
    return Question(
        id=draft.id,
        text=draft.text,
        gold_answer=draft.gold,
        rationales=rationales,
        source=draft.row.where,
        **vars(draft.extras),
    )


def _draft_length_faults(draft: _Draft, count_tokens: CountTokens, limit: int) -> list[Fault]:
    if draft.text is None or draft.rationales is None:
        return []
    sound = {name: text for name, text in draft.rationales.items() if text_problem(text) is None}
    rationales = tuple(Rationale(name, text) for name, text in sound.items())
    question = Question(draft.id or "", draft.text, "", rationales, draft.row.where, pairs=draft.extras.pairs)
    return length_faults(question, count_tokens, limit, draft.row.places)
