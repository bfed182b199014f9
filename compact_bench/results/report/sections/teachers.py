"""Measured facts about teachers as tables, for a report and for `show` of a suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compact_bench.results.report.markdown import grid


@dataclass(frozen=True)
class FactTable:
    """A small table.

    Attributes:
        title: what its numbers are.
        head: column titles.
        rows: cells as text, the first of each a teacher's name.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def teacher_tables(facts: Mapping[str, Any]) -> tuple[FactTable, FactTable]:
    """How often each teacher is right and how it writes; and how often two of them disagree.

    Args:
        facts: what `teacher_statistics.teacher_facts` gave, or a record's copy of it.
    """
    teachers: Mapping[str, Mapping[str, Any]] = facts["teachers"]
    families = list(dict.fromkeys(name for measured in teachers.values() for name in measured["by_family"]))
    head = ("Teacher", "Really right, %", *(f"{name}, %" for name in families), "Right by last answer, %")
    rows = tuple(
        (
            name,
            _percent(measured["really_right"]),
            *(_percent(measured["by_family"].get(family)) for family in families),
            _percent(measured["right_by_last_answer"]),
            *(_number(measured[key]) for key in ("mean_words", "mean_steps", "mean_first_wrong_step")),
        )
        for name, measured in teachers.items()
    )
    names = list(teachers)
    disagreement = tuple(
        (first, *("" if first == second else _percent(_pair(facts, first, second)) for second in names))
        for first in names
    )
    return (
        FactTable(
            f"Measured on {facts['questions']} questions; really right: every step and the answer are right",
            (*head, "Words", "Steps", "First wrong step"),
            rows,
        ),
        FactTable(
            "Questions on which two teachers' last answers differ, %", ("Teacher", *names), disagreement
        ),
    )


def majority_sentence(facts: Mapping[str, Any]) -> str:
    """How often a wrong answer has more teachers than the right one; `facts` as in `teacher_tables`."""
    share = _percent(facts["majority_wrong"])
    return f"A wrong answer is stated by more teachers than the right one on {share} % of the questions."


def teachers_markdown(facts: Mapping[str, Any]) -> list[str]:
    """The tables and the sentence as lines of Markdown; `facts` as in `teacher_tables`."""
    lines: list[str] = []
    for table in teacher_tables(facts):
        lines += [f"{table.title}.", "", *grid(table.head, table.rows), ""]
    return [*lines, majority_sentence(facts)]


def _pair(facts: Mapping[str, Any], first: str, second: str) -> float | None:
    shares: Mapping[str, float] = facts["disagreement"]
    return shares.get(f"{first}+{second}", shares.get(f"{second}+{first}"))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
