"""What a rationale set must be: questions with a gold answer and K named rationales, each fault reported.

Two forms of a row are read. Ours is {"id"?, "question", "gold_answer", "rationales", "right"?} and the
optional fields that `extras` reads: rationales are {teacher: text} or [{"teacher", "text"}, ...], and
"right", where it is known, says of each teacher whether its reasoning is really right. The released code's
is {"Question", "CoT", "Answer"}, where the teachers have no names.

A ragged set may lack teachers for a question and have several rationales of one: {teacher: [text, ...]}, the
teacher in the list again, or the question in another row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from compact_bench.core.answers import canonical_answer
from compact_bench.core.errors import ConfigError, DataError, Fault
from compact_bench.core.records import Question, Rationale, RationaleTruth
from compact_bench.data.files.rows import (
    OnFault,
    SourceRow,
    name_key,
    normalised,
    teacher_name_problem,
    text_problem,
)
from compact_bench.data.validation.drafts import Draft, is_released, read_row
from compact_bench.data.validation.extras import QuestionExtras
from compact_bench.data.validation.limits import CountTokens, length_faults
from compact_bench.data.validation.ragged import misspelt, repeated_text

_MEND = "correct the file, or pass --on-fault drop to leave the faulty questions out and list them."


def validate_questions(
    rows: Sequence[SourceRow],
    source: str,
    *,
    teachers: Sequence[str] = (),
    count_tokens: CountTokens | None = None,
    max_length_tokens: int | None = None,
    on_fault: OnFault = "stop",
    read_faults: Iterable[Fault] = (),
    ragged: bool = False,
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
        ragged: whether a question may lack teachers, and a teacher have several rationales for one. A
            question with none of the `teachers` is then left out without being a fault.

    Returns:
        The questions, with their teachers in the same order, all of them unless `ragged`; and why others were
        left out.

    Raises:
        DataError: there are faults and `on_fault` is "stop", or no question is left.
    """
    # Every row is read before any is refused: a user mends a file once, not once per fault.
    _check_wanted(teachers)
    drafts = [read_row(row, teachers, ragged=ragged) for row in rows]
    _check_spelling(drafts)
    unused: list[Fault] = []
    if ragged:
        drafts = _joined_rows(drafts)
        _check_samples(drafts)
        unused = [fault for draft in drafts if (fault := _without_rationale(draft, teachers))]
        drafts = [draft for draft in drafts if not _without_rationale(draft, teachers)]
    _check_any_left(drafts, unused, source, teachers)
    if not teachers:
        _check_teachers([draft for draft in drafts if not ragged or is_released(draft.row)])
    _check_repeats(drafts)
    if count_tokens is not None and max_length_tokens is not None:
        for draft in drafts:
            draft.faults += _draft_length_faults(draft, count_tokens, max_length_tokens)
    faults = [*read_faults, *(fault for draft in drafts for fault in draft.faults)]
    order = teachers or _all_teachers(drafts)
    good = tuple(_question(draft, order) for draft in drafts if not draft.faults)
    enforce_fault_policy(faults, on_fault, source, len(good))
    if ragged:
        _check_every_teacher(good, order, source)
    return good, (*faults, *unused)


def _check_any_left(
    drafts: Sequence[Draft], unused: Sequence[Fault], source: str, teachers: Sequence[str]
) -> None:
    if unused and not drafts:
        mend = "give names of the file's teachers (--teachers)."
        raise DataError(
            f"{source}: no question has a rationale of {', '.join(map(repr, teachers))}", unused, mend
        )


def _check_every_teacher(questions: Sequence[Question], teachers: Sequence[str], source: str) -> None:
    for name in teachers:
        if not any(name in question.teachers for question in questions):
            fault = Fault(source, f"expected a rationale of teacher {name!r}, got none in any question")
            raise DataError(
                f"{source}: a teacher has no rationale", [fault], "correct the names (--teachers)."
            )


def enforce_fault_policy(faults: Sequence[Fault], on_fault: OnFault, source: str, left: int) -> None:
    """Raise where faults are not to be dropped, or where dropping them leaves no question.

    Raises:
        DataError: lists every fault.
    """
    if faults and on_fault == "stop":
        raise DataError(f"{source}: {len(faults)} fault(s); nothing was trained", faults, _MEND)
    if left == 0:
        raise DataError(f"{source}: expected a sound question, got none", faults, "correct the file.")


def _joined_rows(drafts: Sequence[Draft]) -> list[Draft]:
    """Rows of one question and gold answer as one row; those that hold more than rationales stay apart."""
    joined: dict[tuple[str, ...], Draft] = {}
    kept: list[Draft] = []
    for draft in drafts:
        is_plain = draft.extras == QuestionExtras() and draft.right is None and not is_released(draft.row)
        if not is_plain or draft.faults or not draft.rationales:
            kept.append(draft)
            continue
        assert draft.text is not None and draft.gold is not None and draft.id is not None
        first = joined.setdefault((normalised(draft.text), canonical_answer(draft.gold), draft.id), draft)
        if first is draft:
            kept.append(draft)
            continue
        assert first.rationales is not None
        for name, texts in draft.rationales.items():
            first.rationales.setdefault(name, []).extend(texts)
    return kept


def _check_samples(drafts: Sequence[Draft]) -> None:
    """One teacher's rationales of a question differ, and no name is another one misspelt."""
    others = misspelt(draft.rationales for draft in drafts if draft.rationales)
    for draft in drafts:
        for name, texts in (draft.rationales or {}).items():
            sound = [text for text in texts if text_problem(text) is None]
            if repeat := repeated_text(sound):
                problem = f"expected other texts, got number {repeat[0]} again as number {repeat[1]}"
                draft.fault(problem, f"rationales.{name}")
            if name in others and name_key(name) != name_key(others[name]):
                problem = f"expected {others[name]!r}, as other questions have, got {name!r}"
                draft.fault(f"{problem}; is it the same teacher?", "rationales")


def _without_rationale(draft: Draft, teachers: Sequence[str]) -> Fault | None:
    """Why a sound row has nothing to train on: none of the chosen teachers has a rationale in it."""
    if draft.faults or draft.rationales is None or draft.rationales:
        return None
    problem = f"left out: it has no rationale of {', '.join(teachers)}"
    return Fault(f"{draft.row.where}, field 'rationales'", problem, draft.id)


def _all_teachers(drafts: Sequence[Draft]) -> tuple[str, ...]:
    """All teachers, those that most rows have first."""
    others = (name for draft in drafts for name in draft.rationales or {})
    return tuple(dict.fromkeys((*_expected_teachers(drafts), *others)))


def _expected_teachers(drafts: Sequence[Draft]) -> tuple[str, ...]:
    """The teachers that most rows have, in the order of the first such row."""
    counts = Counter(frozenset(draft.rationales) for draft in drafts if draft.rationales)
    if not counts:
        return ()
    usual = counts.most_common(1)[0][0]
    return next(tuple(d.rationales) for d in drafts if d.rationales and frozenset(d.rationales) == usual)


def _check_teachers(drafts: Sequence[Draft]) -> None:
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


def _check_spelling(drafts: Sequence[Draft]) -> None:
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


def _check_repeats(drafts: Sequence[Draft]) -> None:
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


def _question(draft: Draft, teachers: Sequence[str]) -> Question:
    assert draft.id is not None and draft.text is not None and draft.gold is not None
    assert draft.rationales is not None
    rationales = []
    for name in teachers:
        texts = draft.rationales.get(name, [])
        for number, text in enumerate(texts, 1):
            truth = RationaleTruth(draft.right[name][number - 1], None, 0, "") if draft.right else None
            rationales.append(Rationale(name, text, truth, number if len(texts) > 1 else 0))
    return Question(
        id=draft.id,
        text=draft.text,
        gold_answer=draft.gold,
        rationales=tuple(rationales),
        source=draft.row.where,
        **vars(draft.extras),
    )


def _draft_length_faults(draft: Draft, count_tokens: CountTokens, limit: int) -> list[Fault]:
    if draft.text is None or draft.rationales is None:
        return []
    rationales = tuple(
        Rationale(name, text, sample=number if len(texts) > 1 else 0)
        for name, texts in draft.rationales.items()
        for number, text in enumerate(texts, 1)
        if text_problem(text) is None
    )
    question = Question(draft.id or "", draft.text, "", rationales, draft.row.where, pairs=draft.extras.pairs)
    return length_faults(question, count_tokens, limit, draft.row.places)
