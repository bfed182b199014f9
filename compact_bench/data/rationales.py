"""Reads rows of rationale sets: JSON, JSONL, a hub dataset, or upstream files of one teacher each."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compact_bench.data.schema import SourceRow
from compact_bench.data.splits import normalised
from compact_bench.data.texts import text_problem
from compact_bench.errors import ConfigError, DataError, Fault

__all__ = ["HubSet", "Joined", "UpstreamFile", "UpstreamRules", "join_upstream", "read_hub_rows", "read_rows"]

_LINE_SUFFIXES = frozenset({".jsonl", ".ndjson"})
_FILE_MEND = (
    'expected a JSON list, or one JSON object a line, of {"question", "gold_answer", "rationales"} '
    'or {"Question", "CoT", "Answer"}.'
)


def read_rows(path: Path, name: str | None = None) -> tuple[tuple[SourceRow, ...], tuple[Fault, ...]]:
    """Rows of a JSON list or of a JSONL file, not yet validated.

    Args:
        path: the file; `.jsonl` and `.ndjson` are read line by line, others as one JSON value or, where
            they are none, line by line.
        name: how messages call it; the path by default.

    Returns:
        The rows that are JSON, and a fault for each line that is not.

    Raises:
        DataError: the file as a whole cannot be used.
    """
    name = name or str(path)
    text = _read_text(path, name)
    if path.suffix.lower() in _LINE_SUFFIXES:
        return _read_lines(text, name)
    try:
        value = _parse(text)
    except ValueError as error:
        if text.lstrip().startswith("{") and _is_json(text.lstrip().split("\n", 1)[0]):
            return _read_lines(text, name)
        raise _file_error(name, f"not JSON: {error}") from None
    if not isinstance(value, list):
        raise _file_error(name, f"expected a list of questions, got {type(value).__name__}")
    if not value:
        raise _file_error(name, "expected at least one question, got an empty list")
    return tuple(SourceRow(f"{name}, row {n}", item) for n, item in enumerate(value, 1)), ()


def _file_error(name: str, problem: str) -> DataError:
    return DataError(f"{name} cannot be read as a rationale set", [Fault(name, problem)], _FILE_MEND)


def _read_text(path: Path, name: str) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _file_error(name, f"expected UTF-8 text, got byte {error.start} that is not") from None
    except OSError as error:
        raise _file_error(name, f"expected a file, got: {error.strerror or error}") from None
    if not text.strip():
        raise _file_error(name, "expected questions, got an empty file")
    return text


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _is_json(text: str) -> bool:
    try:
        _parse(text)
    except ValueError:
        return False
    return True


def _read_lines(text: str, name: str) -> tuple[tuple[SourceRow, ...], tuple[Fault, ...]]:
    rows: list[SourceRow] = []
    faults: list[Fault] = []
    # Not splitlines: a rationale may hold a Unicode line separator, which JSON leaves as it is.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(SourceRow(f"{name}, row {number}", _parse(line)))
        except ValueError as error:
            faults.append(Fault(f"{name}, row {number}", f"not JSON: {error}"))
    if not rows:
        raise DataError(f"{name} cannot be read as a rationale set", faults, _FILE_MEND)
    return tuple(rows), tuple(faults)


@dataclass(frozen=True)
class HubSet:
    """A dataset on the hub, or in a local folder.

    Attributes:
        name: hub id, or a folder.
        revision: commit the data is pinned to; required for a hub id.
        config: configuration name, or None.
        split: split name.
        columns: our field -> the dataset's column ("question", "gold_answer", "id", "rationales" or
            "rationales.<teacher>"; or "Question", "CoT", "Answer"). Empty: the columns have our names.
    """

    name: str
    revision: str | None = None
    config: str | None = None
    split: str = "train"
    columns: Mapping[str, str] = field(default_factory=dict)


def read_hub_rows(hub: HubSet) -> tuple[SourceRow, ...]:
    """Rows of a hub dataset, with columns renamed to our fields; no code of the dataset is run.

    Raises:
        ConfigError: the revision is missing, or a mapped column is not there.
        DataError: the dataset cannot be loaded.
    """
    if hub.revision is None and not Path(hub.name).expanduser().is_dir():
        raise ConfigError(
            f"hub dataset {hub.name!r}: expected a revision (the commit the data is pinned to), got none; "
            'add revision = "..." to the suite file.'
        )
    table = _load_hub(hub)
    columns = list(table.column_names)
    missing = sorted(set(hub.columns.values()) - set(columns))
    if missing:
        raise ConfigError(
            f"hub dataset {hub.name!r}: expected columns {', '.join(missing)}, got {', '.join(columns)}."
        )
    where = f"{hub.name}, {hub.split}"
    return tuple(
        SourceRow(f"{where}, row {number}", _renamed(row, hub.columns)) for number, row in enumerate(table, 1)
    )


def _load_hub(hub: HubSet) -> Any:
    import datasets
    from datasets.exceptions import DatasetsError

    before = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    local = Path(hub.name).expanduser()
    try:
        return datasets.load_dataset(
            str(local) if local.is_dir() else hub.name, hub.config, split=hub.split, revision=hub.revision
        )
    except (DatasetsError, OSError, ValueError, KeyError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        fault = Fault(hub.name, f"expected split {hub.split!r}, got: {said}")
        mend = "check id, revision, configuration and split, or that the hub can be reached."
        raise DataError("the hub dataset cannot be loaded", [fault], mend) from None
    finally:
        if before:
            datasets.enable_progress_bars()


def _renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    renamed: dict[str, Any] = {} if columns else dict(row)
    for ours, theirs in columns.items():
        name, _, teacher = ours.partition(".")
        if teacher:
            renamed.setdefault(name, {})[teacher] = row[theirs]
        else:
            renamed[name] = row[theirs]
    return _without_nulls(renamed)


def _without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """Arrow tables fill what a row lacks with nulls: a teacher that is null was not there."""
    plain = dict(row)
    for name in ("rationales", "right", "feedback"):
        if isinstance(plain.get(name), Mapping):
            plain[name] = {k: v for k, v in plain[name].items() if not _absent(v)}
    for name in ("right", "feedback"):
        if not plain.get(name):
            plain.pop(name, None)
    return plain


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True)
class UpstreamFile:
    """Rows of one upstream file of {"instruction", "output"}.

    Attributes:
        name: file name, for messages.
        rows: its rows.
    """

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
        faults: faults that no rule covers.
        excluded: questions that a rule leaves out.
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
        rules: known faults.
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
