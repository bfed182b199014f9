"""What teachers are measured to be like: by their answers, and by the truth where it is known."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from compact_bench.core.answers import answer_span, canonical_answer, extract_answer, same_answer
from compact_bench.core.records import Question, Rationale, all_teachers


class TeacherFacts(TypedDict):
    """Facts about the teachers of one rationale set; shares are in [0, 1].

    Keys:
        questions: how many questions were looked at.
        teachers: name -> really_right (share: every step and the answer right), by_family (the same per
            family of questions), right_by_last_answer (share), mean_words, mean_steps (None where steps are
            not told apart) and mean_first_wrong_step (from 1, over wrong rationales; None without any).
        disagreement: "first+second" -> share of questions where the two state different last answers, of
            those that have both (of several rationales every pair counts); none where no question has both.
        majority_wrong: share of questions where some wrong answer is stated by more rationales than the right
            one.
    """

    questions: int
    teachers: dict[str, dict[str, Any]]
    disagreement: dict[str, float]
    majority_wrong: float


def all_true(questions: Sequence[Question]) -> bool:
    """Whether it is known of every rationale if it is really right."""
    return all(r.truth is not None for question in questions for r in question.rationales)


def some_have_pairs(questions: Sequence[Question]) -> bool:
    """Whether a question has a right and a wrong rationale on a similar path; one is enough to learn from."""
    return any(question.pairs for question in questions)


def all_reviewed(questions: Sequence[Question]) -> bool:
    """Whether every teacher scored, validly or not, every other's rationale; one teacher has no reviewer."""
    return all(
        (given := {(r.author, r.reviewer) for r in q.reviews})
        and given >= {*itertools.permutations(q.teachers, 2)}
        for q in questions
    )


def all_have_feedback(questions: Sequence[Question]) -> bool:
    """Whether every question has feedback on a student's wrong answer."""
    return all(question.feedback for question in questions)


def teacher_facts(questions: Sequence[Question]) -> TeacherFacts | None:
    """Measure the teachers; None where some rationale's truth is not known."""
    if not questions or not all_true(questions):
        return None
    names = all_teachers(questions)
    answers = [[_answer(rationale) for rationale in question.rationales] for question in questions]
    disagreement = {
        f"{first}+{second}": _share(differ)
        for first, second in itertools.combinations(names, 2)
        if (differ := _differences(questions, answers, first, second))
    }
    wrong = [_majority_is_wrong(q, row) for q, row in zip(questions, answers, strict=True)]
    return TeacherFacts(
        questions=len(questions),
        teachers={name: _one_teacher(questions, name) for name in names},
        disagreement=disagreement,
        majority_wrong=_share(wrong),
    )


def answer_counts(questions: Sequence[Question]) -> dict[str, dict[str, int]]:
    """Per teacher: rationales, those whose stated answer is wrong, and those that state none, of which no
    number is guessed: what is left is right.
    """
    notes: dict[str, dict[str, int]] = {}
    for question in questions:
        for r in question.rationales:
            counts = notes.setdefault(r.teacher, {"rationales": 0, "wrong_by_last_answer": 0, "no_answer": 0})
            counts["rationales"] += 1
            answer = stated_answer(r.text)
            counts["wrong_by_last_answer"] += answer is not None and not same_answer(
                answer, question.gold_answer
            )
            counts["no_answer"] += answer is None
    return notes


def right_answers(counts: Mapping[str, int]) -> int:
    """How many of one teacher's rationales state the gold answer, of its `answer_counts`."""
    return counts["rationales"] - counts["wrong_by_last_answer"] - counts["no_answer"]


def stated_answer(text: str) -> str | None:
    """The answer that a rationale states, or None: a last number stands in for one in generations alone."""
    return extract_answer(text) if answer_span(text) else None


def _answer(rationale: Rationale) -> str:
    """The stated answer in one way of writing; "" for none, which no stated answer is."""
    return canonical_answer(stated_answer(rationale.text) or "").casefold()


def _differences(
    questions: Sequence[Question], answers: Sequence[Sequence[str]], first: str, second: str
) -> list[bool]:
    """Whether answers differ, of every pair of a rationale by the first and one by the second."""
    differ = []
    for question, of_question in zip(questions, answers, strict=True):
        said = list(zip((r.teacher for r in question.rationales), of_question, strict=True))
        of_first, of_second = ([a for teacher, a in said if teacher == name] for name in (first, second))
        differ += [not same_answer(a, b, by_rules=True) for a, b in itertools.product(of_first, of_second)]
    return differ


def _majority_is_wrong(question: Question, answers: Sequence[str]) -> bool:
    counts = Counter(answer for answer in answers if answer)
    right = {answer for answer in counts if same_answer(answer, question.gold_answer)}
    most_wrong = max((n for answer, n in counts.items() if answer not in right), default=0)
    return most_wrong > sum(counts[answer] for answer in right)


def _one_teacher(questions: Sequence[Question], teacher: str) -> dict[str, Any]:
    rows = [(q, rationale) for q in questions for rationale in q.rationales if rationale.teacher == teacher]
    truths = [rationale.truth for _, rationale in rows if rationale.truth is not None]
    families: dict[str, list[bool]] = {}
    for (question, _), truth in zip(rows, truths, strict=True):
        families.setdefault(question.family, []).append(truth.is_right)
    steps = [truth.steps for truth in truths]
    wrong_at = [truth.first_wrong_step for truth in truths if truth.first_wrong_step is not None]
    return {
        "really_right": _share([truth.is_right for truth in truths]),
        "by_family": {name: _share(rights) for name, rights in families.items() if name},
        "right_by_last_answer": _share([same_answer(_answer(r), q.gold_answer) for q, r in rows]),
        "mean_words": _mean([len(rationale.text.split()) for _, rationale in rows]),
        "mean_steps": _mean(steps) if any(steps) else None,
        "mean_first_wrong_step": _mean(wrong_at) if wrong_at else None,
    }


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)


def _mean(values: Sequence[float]) -> float:
    # Exactly rounded, so that the order of the questions cannot show in a published figure.
    return math.fsum(values) / len(values)
