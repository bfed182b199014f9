"""Upstream rationale files, one per teacher, joined by question into rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compact_bench.core.errors import Fault
from compact_bench.data.files.rows import SourceRow, normalised, repeated_keys, text_problem


@dataclass(frozen=True)
class UpstreamFile:
    """Rows of one upstream file of {"instruction", "output"}."""

    name: str
    rows: tuple[SourceRow, ...]


@dataclass(frozen=True)
class UpstreamRules:
    """Faults that a suite knows of and how it treats them; any other fault is one.

    Attributes:
        missing: teachers whose file may lack questions, which are then left out.
        extra: teachers whose file may hold other questions, which are then ignored.
        repeated: teachers (and "" for the gold file) whose file may repeat a question; the first counts.
        stray: teacher -> texts that are taken out of its rationales.
    """

    missing: frozenset[str] = frozenset()
    extra: frozenset[str] = frozenset()
    repeated: frozenset[str] = frozenset()
    stray: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Joined:
    """Upstream files joined on the normalised question.

    Attributes:
        rows: rows of our form, one per question that every file has.
        treated: what other rules did, as text.
    """

    rows: tuple[SourceRow, ...]
    faults: tuple[Fault, ...]
    excluded: tuple[Fault, ...]
    treated: tuple[str, ...]


def join_upstream(
    gold: UpstreamFile, teachers: Mapping[str, UpstreamFile], rules: UpstreamRules, prefix: str
) -> Joined:
    """Join a gold-answer file with one file per teacher.

    Args:
        gold: questions and gold answers.
        teachers: teacher -> its file, in teacher order.
        prefix: start of the questions' ids; the row in the gold file follows.
    """
    join = _Join(rules)
    golds = join.index(gold, "")
    ids = {key: f"{prefix}-{where.rpartition(' ')[2]}" for key, (_, _, where) in golds.items()}
    answers = {name: join.index(file, name) for name, file in teachers.items()}
    for name, entries in answers.items():
        join.compare(name, teachers[name].name, golds, ids, entries)
    rows = []
    for key, (text, answer, where) in golds.items():
        if key not in join.left_out:
            places = {name: entries[key][2] for name, entries in answers.items()}
            rationales = {name: join.clean(name, entries[key][1]) for name, entries in answers.items()}
            data = {"id": ids[key], "question": text, "gold_answer": answer, "rationales": rationales}
            rows.append(SourceRow(where, data, places))
    return Joined(tuple(rows), tuple(join.faults), tuple(join.excluded), tuple(join.treated))


_Entry = tuple[str, Any, str]


class _Join:
    """The bookkeeping of one join."""

    def __init__(self, rules: UpstreamRules) -> None:
        self.rules = rules
        self.faults: list[Fault] = []
        self.excluded: list[Fault] = []
        self.treated: list[str] = []
        self.left_out: set[str] = set()

    def index(self, file: UpstreamFile, teacher: str) -> dict[str, _Entry]:
        """Normalised question -> (question, output, where), the first of each."""
        entries: dict[str, _Entry] = {}
        for row in file.rows:
            if not isinstance(row.data, Mapping):
                self.faults.append(Fault(row.where, "expected an object with instruction and output"))
                continue
            if twice := list(repeated_keys(row.data)):
                where = f"{row.where}, field {twice[0]!r}"
                self.faults.append(Fault(where, "expected a field once in a row, got it twice"))
                continue
            question = row.data.get("instruction")
            if problem := text_problem(question):
                self.faults.append(Fault(f"{row.where}, field 'instruction'", problem))
                continue
            key = normalised(str(question))
            if key not in entries:
                # A wrong output is reported by the validation that follows, as a rationale's fault.
                entries[key] = (str(question), row.data.get("output"), row.where)
            elif teacher in self.rules.repeated:
                self.treated.append(f"{row.where}: question of {entries[key][2]} again; the first is kept")
            else:
                problem = f"expected a question once, got the one of {entries[key][2]} again"
                self.faults.append(Fault(f"{row.where}, field 'instruction'", problem))
        return entries

    def compare(
        self,
        teacher: str,
        file: str,
        golds: Mapping[str, _Entry],
        ids: Mapping[str, str],
        entries: Mapping[str, _Entry],
    ) -> None:
        """Find the questions that only one of gold file and teacher's file has."""
        for key in golds:
            if key not in entries:
                problem = f"expected a rationale of {teacher!r} for {golds[key][0]!r}, got none"
                known = teacher in self.rules.missing
                (self.excluded if known else self.faults).append(Fault(file, problem, ids[key]))
                self.left_out.add(key)
        extra: Sequence[str] = [key for key in entries if key not in golds]
        if extra and teacher in self.rules.extra:
            self.treated.append(f"{file}: {len(extra)} question(s) without a gold answer ignored")
            return
        for key in extra:
            problem = "expected a question of the gold file, got another"
            self.faults.append(Fault(f"{entries[key][2]}, field 'instruction'", problem))

    def clean(self, teacher: str, text: Any) -> Any:
        """A rationale without the texts that a rule takes out."""
        if isinstance(text, str):
            for stray in self.rules.stray.get(teacher, ()):
                text = text.replace(stray, "")
        return text
