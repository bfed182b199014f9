"""What a method works out before training, of every question or on held-out ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from compact_bench import (
    ConfigError,
    DataError,
    Question,
    RunContext,
    Student,
    read_only,
    without_truth,
)

T = TypeVar("T")


def held_out(context: RunContext, method: str, purpose: str, *, answered: bool = False) -> Sequence[Question]:
    """The validation questions that a method may read, without the truth about their rationales.

    Args:
        method, purpose: for the error: whose they are, and what for ("to choose by").
        answered: whether the student is to answer them; else they are those that nats are measured on.

    Raises:
        ConfigError: there is none.
    """
    settings = context.settings.eval
    limit = settings.answered_questions if answered else settings.validation_questions
    questions = without_truth(context.validation[:limit])
    if not questions:
        raise ConfigError(
            f"{method}: expected validation questions {purpose}, got none. "
            "Hold some out with training.validation_questions of the suite."
        )
    return questions


def measured(
    student: Student,
    questions: Sequence[Question],
    context: RunContext,
    what: str,
    measure: Callable[[Question], T],
) -> dict[str, T]:
    """Question id -> what the untrained student makes of the question, measured without gradients.

    A question that cannot be encoded is left out: training comes next and names all of these at once.

    Args:
        what: names the work in the progress display.
        measure: of one question.
    """
    by_question = {}
    with read_only(student.model):
        for number, question in enumerate(questions):
            context.on_progress(number, len(questions), what)
            with suppress(DataError):
                by_question[question.id] = measure(question)
    return by_question
