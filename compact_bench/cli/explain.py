"""How `explain` shows a report: a table of scores and weights, and each rationale with its tokens marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compact_bench.core.errors import UnknownNameError
from compact_bench.core.records import Question

if TYPE_CHECKING:
    from compact_bench.methods.compact.explain import ExplainReport
    from compact_bench.runs.session import Request

MARK_STYLE = "bold black on yellow"


def explain_question(
    request: Request, question_id: str, variant: Literal["paper", "released"], top: int
) -> RenderableType:
    """Explain one question of the user's file, or of the suite.

    Args:
        request: suite, student and, where the question is the user's own, the rationale file.
        question_id: which question; "" for the first.
        top: tokens marked per rationale.

    Raises:
        UnknownNameError: there is no such question.
        CompactBenchError: the file, the student or the suite's data is wrong.
    """
    from compact_bench.data.validation.limits import check_words, unknown_finder
    from compact_bench.methods.compact.explain import explain
    from compact_bench.runs.session import Session

    session = Session(request)
    if request.rationales is None:
        questions: Sequence[Question] = (*session.data.training, *session.data.validation)
    else:
        # A user's file stands alone: none of the suite's files is fetched for it.
        questions = _read_file(request, request.rationales)
    question = _find(questions, question_id)
    check_words([question], {}, unknown_finder(session.base.tokenizer))
    report = explain(session.base, question, variant=variant)
    return render(report, question, top)


def _read_file(request: Request, file: str) -> Sequence[Question]:
    from compact_bench.data.files.readers import read_rows
    from compact_bench.data.validation.questions import validate_questions

    rows, faults = read_rows(Path(file).expanduser(), file)
    return validate_questions(rows, file, teachers=request.teachers, read_faults=faults, ragged=True)[0]


def _find(questions: Sequence[Question], question_id: str) -> Question:
    if not question_id:
        return questions[0]
    for question in questions:
        if question.id == question_id:
            return question
    names = [question.id for question in questions]
    raise UnknownNameError("question", question_id, names[:20] if len(names) > 20 else names)


def render(report: ExplainReport, question: Question, top: int) -> RenderableType:
    """A report as tables and marked text; the `top` tokens with the largest information gain are marked."""
    table = Table("teacher", "adaptability", "consensus", "difficulty", "teacher weight", "supervised loss")
    rows = zip(
        report.teachers,
        report.adaptability,
        report.consensus,
        report.difficulty,
        report.teacher_weights,
        report.supervised_losses,
        strict=True,
    )
    for teacher, *values in rows:
        table.add_row(Text(teacher), *(f"{value:.4f}" for value in values))
    parts: list[RenderableType] = [
        Text(f"{question.id}: {question.text}"),
        Text(f"gold answer: {question.gold_answer}"),
        table,
        Text(f"consistency loss {report.consistency_loss:.4f} nats, loss {report.loss:.4f}"),
        Text("Scores are before z-scoring; adaptability and difficulty in nats."),
    ]
    for teacher, tokens, gains in zip(report.teachers, report.tokens, report.information_gain, strict=True):
        parts.append(Text(f"\n{teacher}: the {top} tokens with the largest information gain", style="bold"))
        parts += marked_tokens(tokens, gains, top)
    return Group(*parts)


def marked_tokens(tokens: Sequence[str], gains: Sequence[float], top: int) -> list[Text]:
    """A rationale with its most informative tokens marked, and those tokens as a list.

    Args:
        tokens: the rationale's tokens as text.
        gains: information gain of each, in nats.
        top: how many are marked; only gains above 0 count.
    """
    order = sorted(range(len(tokens)), key=lambda i: (-gains[i], i))
    chosen = [i for i in order[:top] if gains[i] > 0]
    text = Text()
    for i, token in enumerate(tokens):
        # The brackets mark in plain text what the colour marks in a terminal.
        text.append(f"[[{token}]]" if i in chosen else token, style=MARK_STYLE if i in chosen else "")
    listing = ", ".join(f"[{i}] {tokens[i]!r} {gains[i]:+.3f}" for i in chosen)
    return [text, Text(listing or "no token raises the gold answer's probability", style="dim")]
