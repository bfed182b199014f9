"""Plain frozen data that every other module passes around."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from compact_bench.core.errors import UnknownNameError

RunStatus = Literal["done", "untrained", "failed", "unsupported"]
TRIAL = ":trial"
"""End of the profile of a tuning trial, which is no result; no suite can name a profile so."""


@dataclass(frozen=True)
class RationaleTruth:
    """What is really so about a rationale, where its maker knows; no method but the oracle may read it.

    Attributes:
        is_right: whether every step and the answer are right.
        first_wrong_step: the first step that is wrong, counted from 1; None when all are right.
    """

    is_right: bool
    first_wrong_step: int | None
    steps: int
    style: str


@dataclass(frozen=True)
class Rationale:
    """One teacher's text for one question.

    Attributes:
        teacher: the teacher's name.
        text: the text exactly as the source has it. Only `compact_released` reads it raw; every other
            method reads it through `branches.canonical_rationale`.
        truth: what is known of it beyond its text; None for the rationales of real teachers.
        sample: which of its teacher's rationales for the question it is, from 1; 0 for the only one.
    """

    teacher: str
    text: str
    truth: RationaleTruth | None = None
    sample: int = 0

    @property
    def name(self) -> str:
        """What tells it from the question's other rationales; see `rationale_name`."""
        return rationale_name(self.teacher, self.sample)


def rationale_name(teacher: str, sample: int) -> str:
    """Name of a rationale within its question: the teacher's, or "ada#2" for one of several by "ada"."""
    return f"{teacher}#{sample}" if sample else teacher


@dataclass(frozen=True)
class RationalePair:
    """A right and a wrong text by one teacher that take a similar path.

    Attributes:
        origin: "corrupted" where the wrong one was made from the right one, "rectified" where the right one
            was made from the wrong one.
    """

    teacher: str
    chosen: str
    rejected: str
    origin: Literal["corrupted", "rectified"]


@dataclass(frozen=True)
class PeerReview:
    """One teacher's score of another's rationale.

    Attributes:
        score: 1 (bad) to 5 (good), or None where the reviewer gave no valid score.
    """

    author: str
    reviewer: str
    score: int | None


@dataclass(frozen=True)
class Feedback:
    """What a teacher says about a student's wrong answer.

    Attributes:
        text: the feedback; "{mistake}" in it stands for the student's answer.
    """

    teacher: str
    text: str


@dataclass(frozen=True)
class Question:
    """A question, its gold answer and the rationales of K teachers.

    Attributes:
        id: unique within a rationale set.
        text: the question as the student sees it in the user turn.
        gold_answer: the right answer as text ("145", "True", "B").
        rationales: those that there are, in the suite's teacher order, one teacher's beside each other; most
            sets have exactly one of every teacher. Empty for test questions.
        source: where it came from ("file, row 3"), for messages.
        family: kind of question, where a suite distinguishes kinds; "" elsewhere.
        pairs: right and wrong texts on similar paths, where a data set has them.
        reviews: the teachers' scores of one another's rationales, where a data set has them.
        feedback: on a student's wrong answer, where a data set has it.
        mistake: a student's wrong answer that was collected beforehand, or "".
    """

    id: str
    text: str
    gold_answer: str
    rationales: tuple[Rationale, ...] = ()
    source: str = ""
    family: str = ""
    pairs: tuple[RationalePair, ...] = ()
    reviews: tuple[PeerReview, ...] = ()
    feedback: tuple[Feedback, ...] = ()
    mistake: str = ""

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers with a rationale, each once, in order."""
        return tuple(dict.fromkeys(r.teacher for r in self.rationales))


def all_teachers(questions: Iterable[Question]) -> tuple[str, ...]:
    """The teachers of a rationale set, of whom a question may lack some, in the set's order."""
    by_size = sorted(questions, key=lambda q: -len(q.teachers))
    return tuple(dict.fromkeys(teacher for question in by_size for teacher in question.teachers))


def taught_by(questions: Sequence[Question], teacher: str) -> tuple[Question, ...]:
    """The questions for which a teacher has a rationale.

    Raises:
        UnknownNameError: there is none.
    """
    taught = tuple(question for question in questions if teacher in question.teachers)
    if not taught:
        raise UnknownNameError("teacher", teacher, all_teachers(questions))
    return taught


def without_truth(questions: Sequence[Question]) -> tuple[Question, ...]:
    """The questions as a method may see them: without a suite's knowledge of which rationales are right."""
    return tuple(
        replace(q, rationales=tuple(replace(r, truth=None) for r in q.rationales)) for q in questions
    )


def plain(value: Any) -> Any:
    """A value as JSON data: dataclasses and mappings as objects, tuples as lists, numpy's numbers as ours."""
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    item = getattr(value, "item", None)
    return item() if callable(item) else value


def fingerprint(value: Any, length: int = 16) -> str:
    """Short, stable hash of plain data, anything that `json.dumps` accepts (sorted keys, sha256)."""
    # Every option is part of every run's name: another separator, and all stored runs would be lost.
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def row_label(method: str, variant: str = "") -> str:
    """How users and tables name a method or a variant of it ("single_teacher[gpt-4o]")."""
    return f"{method}[{variant}]" if variant else method


@dataclass(frozen=True)
class RunKey:
    """Everything a run's result depends on; its hash names the run directory.

    Attributes:
        variant: what distinguishes runs of one method ("gpt-4o" for a single teacher), or "".
        student_revision: fingerprint of its weights and tokenizer.
        suite_fingerprint: hash of the suite's definition and of the questions it yields for training
            and validation.
        profile: "smoke", "lite" or "full"; of a tuning trial, with `TRIAL` at its end.
        settings: the resolved settings, every value (method, train, lora, eval).
        results_version: raised by the project whenever a code change can move results.
        code: fingerprint of the method's code and of the files that its settings name; "" in runs of before
            results version 3.
    """

    method: str
    variant: str
    student: str
    student_revision: str
    suite: str
    suite_fingerprint: str
    profile: str
    seed: int
    settings: Mapping[str, Any]
    results_version: int
    code: str = ""
    requires: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """Name of the run directory."""
        values = asdict(self)
        for name in ("code", "requires"):
            if not values[name]:
                # So that the runs of older stores, which have none, keep the hash that names their folder.
                del values[name]
        return fingerprint(values)

    @property
    def name(self) -> str:
        """Readable name: "svamp/lite/single_teacher[gpt-4o]@1" (suite, profile, label, seed)."""
        return f"{self.suite}/{self.profile}/{self.label}@{self.seed}"

    @property
    def is_trial(self) -> bool:
        """Whether the run only tries a learning rate: it is trained and measured, and is no result."""
        return self.profile.endswith(TRIAL)

    @property
    def label(self) -> str:
        """Short readable name, for progress lines and tables."""
        name = row_label(self.method, self.variant)
        return f"{name} (trial at {self.settings['train']['learning_rate']:g})" if self.is_trial else name


@dataclass(frozen=True)
class RunRecord:
    """What a run left behind; tables are made from nothing else.

    Attributes:
        status: "done", "failed", "unsupported", or "untrained": a method that trains left the base's weights,
            or trained on nothing, so that its numbers would be the base's under its name; none are kept.
        reason: why it is not done (first line of the error, or the method's reason); "" when done.
        training: optimiser_steps, epochs, questions (how many), question_ids_sha256 (which: the hash of
            their sorted ids), drawn_from (of how many the seed drew them, where it did), branches, used,
            offered, tokens (supervised), total_tokens, seconds, final_loss, peak_memory_bytes, excluded (list
            of {question_id, problem}); diverged, of a failed run whose numbers became infinite.
        weights: hash of the merged weights, hash of the base's.
        evaluations: task name -> {"metric", "value", "n", "items" (per-item scores, in item order),
            "item_ids", "measures" (of each item, "has_steps"), "cache_key"}.
        probes: probe name -> plain data ("drift_nats_per_token", "weight_change", "validation_nats", ...).
        provenance: code commit, package versions, hardware, dtype, threads, data fingerprint, times.
        files: name -> sha256 of what training left in the run's folder (final weights, steps table).
    """

    key: RunKey
    status: RunStatus
    reason: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    evaluations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    probes: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One number of a table, over runs.

    Attributes:
        mean: mean over seeds and items, or None when there is none.
        low, high: 95 % interval, or None.
        seed_sd: standard deviation over seeds, or None with fewer than two.
        reason: why the cell is empty; "" when it is not.
    """

    row: str
    column: str
    mean: float | None
    low: float | None = None
    high: float | None = None
    seed_sd: float | None = None
    seeds: int = 0
    items: int = 0
    reason: str = ""


RESULTS_VERSION = 4
"""Raised by hand whenever a code change can move a result; every run then counts as missing again."""
RESULTS_CHANGES: Mapping[int, str] = {
    2: "branches no longer pay for each other in a training step",
    3: "a run's key names its method's code, and weights are float32 on every device",
    4: "a seed draws its training questions, and more questions are set aside for validation",
}
"""Version -> what it changed, for the listing of a store with older runs."""


def value_at(record: RunRecord, path: str) -> Any:
    """What a record holds at a dotted path ("probes.validation_nats.after_question"); None if nothing."""
    head, *rest = path.split(".")
    value: Any = getattr(record, head, None)
    for name in rest:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def number_at(record: RunRecord, path: str) -> float | None:
    """A finite number at a dotted path; a mapping there may give it as `value`. None if there is none."""
    value = value_at(record, path)
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def selective_use(records: Sequence[RunRecord]) -> float | None:
    """Share of the rationales that a method's finished runs chose; None where it is a half or more."""
    done = [record.training for record in records if record.status == "done"]
    offered = sum(training.get("offered", 0) for training in done)
    used = sum(training.get("used", 0) for training in done)
    return used / offered if 2 * used < offered else None


def suite_notes(records: Sequence[RunRecord]) -> Mapping[str, Any]:
    """What the first record that has any notes of the suite's data says; {} where none has."""
    for record in records:
        for path in ("probes.suite_notes", "provenance.suite_notes"):
            notes = value_at(record, path)
            if isinstance(notes, Mapping) and notes:
                return notes
    return {}
