"""What the runs of one command share: the suite, its data and the base student, each loaded only if needed.

Planning needs fingerprints, not weights or questions. What it needs of the data is therefore kept in the
cache, under a name that changes with everything it depends on, so that a command with nothing to run loads
neither the student nor the data.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

from compact_bench.core.errors import StoreError, UnknownNameError
from compact_bench.core.records import RunRecord, fingerprint
from compact_bench.core.settings import RunSettings, apply_overrides, merged
from compact_bench.core.written.names import checked_name, without_version
from compact_bench.data.files.formats import FORMATS
from compact_bench.data.lab.student import LAB_STUDENTS
from compact_bench.data.suites import SuiteSpec, load_spec, suite_names, with_world
from compact_bench.data.suites.fingerprint import own_tasks_mark
from compact_bench.evaluation.task_files import check_names
from compact_bench.methods.contract import SuiteInfo
from compact_bench.methods.registry import use_method_files
from compact_bench.runs.store.store import Store
from compact_bench.runs.suite_cache import SuiteFacts, data_code_mark, file_mark
from compact_bench.runs.suite_settings import check_groups, check_method_settings, settable_fields

if TYPE_CHECKING:
    from compact_bench.data.suites.suite_data import SuiteData
    from compact_bench.students.student import Student

LONGEST_STUDENT = 4096
"""A student may be named by its folder."""
_BASES: WeakValueDictionary[tuple[str, str, str], Student] = WeakValueDictionary()
"""Untrained students that some session of this process holds: (name, revision, device) -> student."""

_RECORDED = (
    "suite", "profile", "student", "on_fault", "on_overlap", "rationales", "teachers", "overrides", "world",
    "method_files",
)  # fmt: skip
"""What a run record keeps of the request: all that decides which session it was."""


@dataclass(frozen=True)
class Request:
    """Which suite, student and settings a command works with, and where its folders are.

    Attributes:
        suite: suite name or TOML file.
        seeds: empty for the profile's own.
        student: hub id, folder or packaged student; None for the suite's.
        overrides: "key=value" texts.
        world: "key=value" texts that change the suite's generated world.
        on_fault: what a faulty training question does.
        on_overlap: what a near copy of a test question does.
        rationales: a file whose questions replace the suite's training questions.
        teachers: which of the suite's teachers, as "name" or "name@level"; with `rationales`, the names of
            that file's teachers, in order. Empty for all.
        method_files: files of methods that are not registered; each goes by its file's stem.
        mirror: folder of upstream files.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads, 0 for torch's own choice.
    """

    suite: str
    profile: str
    cache: Path
    store: Path
    seeds: tuple[int, ...] = ()
    student: str | None = None
    overrides: tuple[str, ...] = ()
    world: tuple[str, ...] = ()
    on_fault: Literal["stop", "drop"] = "stop"
    on_overlap: Literal["refuse", "drop", "keep"] = "keep"
    rationales: str | None = None
    teachers: tuple[str, ...] = ()
    method_files: tuple[Path, ...] = ()
    mirror: Path | None = None
    offline: bool = False
    device: str = "auto"
    threads: int = 0


class Session:
    """Suite, settings, data and base student of one command.

    Args:
        methods: names of those that the command runs or shows; no other package's code is imported.

    Raises:
        ConfigError: the suite, the profile or an override is wrong.
    """

    def __init__(self, request: Request, methods: Iterable[str] = ()) -> None:
        methods = tuple(methods)
        self.request = request
        use_method_files(request.method_files)
        self.store = Store(request.store)
        self.spec: SuiteSpec = with_world(load_spec(request.suite), request.world)
        if request.profile not in self.spec.profiles:
            raise UnknownNameError("profile", request.profile, self.spec.profiles)
        self.profile = self.spec.profiles[request.profile]
        self.seeds: tuple[int, ...] = request.seeds or tuple(self.profile.seeds)
        self.student_name: str = request.student or self.spec.student
        checked_name("student", self.student_name, longest=LONGEST_STUDENT)
        place = f"suite {self.spec.name}, profile {request.profile}"
        of_profile = merged(RunSettings(), self.profile.settings, place)
        self.settings: RunSettings = apply_overrides(
            of_profile, request.overrides, settable_fields(methods, request.overrides)
        )
        check_method_settings(self.spec, methods)
        check_names(self.spec.benchmarks)
        check_groups(self.spec, self.settings.eval.groups)

    # ------------------------------------------------------------------------------- known without loading

    @property
    def student_title(self) -> str:
        """How reports name the student: the suite's own by its title, another by its name."""
        is_suites = self.request.student in (None, self.spec.student)
        return (self.spec.student_title if is_suites else "") or self.student_name

    @property
    def student_key_name(self) -> str:
        """The student in run keys: of the lab's students without "@N", as `SuiteSpec.key_name` is."""
        is_labs = self.student_name in LAB_STUDENTS
        return without_version(self.student_name) if is_labs else self.student_name

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers, in order."""
        if self.request.rationales is None and self.spec.teachers:
            chosen = self.spec.choose_teachers(self.request.teachers)
            return tuple(teacher.name for teacher, _ in chosen)
        return self._suite_facts.info.teachers

    @property
    def recorded_request(self) -> dict[str, Any]:
        """What run records keep, so that `session_of_record` can open the same session again."""
        values = ((name, getattr(self.request, name)) for name in _RECORDED)
        lists = ((name, list(map(str, v)) if name == "method_files" else v) for name, v in values)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in lists}

    # ------------------------------------------------------------------------ known from the cache, if it is

    @property
    def fetches_student(self) -> bool:
        """Whether the student is the packaged one and is not yet in the cache."""
        from compact_bench.students.packaged import packaged_student_ready
        from compact_bench.students.student import PACKAGED_STUDENT

        return self.student_name == PACKAGED_STUDENT and not packaged_student_ready(self.request.cache)

    @cached_property
    def student_revision(self) -> str:
        """Fingerprint of the student's files; fetches them where they are not yet at hand."""
        from compact_bench.students.student import resolve_student, student_revision

        return student_revision(resolve_student(self.student_name))

    @property
    def suite_fingerprint(self) -> str:
        """Fingerprint of the suite and the questions it yields; remembered between commands."""
        return self._suite_facts.fingerprint

    @property
    def suite_info(self) -> SuiteInfo:
        """What methods may know of the suite before they run."""
        return replace(self._suite_facts.info, teachers=self.teachers)

    @property
    def gaps(self) -> str:
        """In words, which teachers lack questions or have several rationales for one; "" for none."""
        return self._suite_facts.gaps

    @property
    def data_notes(self) -> Mapping[str, Any]:
        """The notes of the suite's data, as its records have them."""
        return self._suite_facts.notes

    @property
    def own_file(self) -> Path | None:
        """The user's own rationale file that training questions come from; None where there is none."""
        if self.request.rationales is not None:
            return Path(self.request.rationales).expanduser()
        training = self.spec.training
        return Path(training.file.path) if training.file is not None else None

    @cached_property
    def _suite_facts(self) -> SuiteFacts:
        facts = SuiteFacts.read(self._facts_file)
        if facts is None:
            facts = SuiteFacts.of(self.spec.name, self.data)
            facts.write(self._facts_file)
        return facts

    @cached_property
    def _facts_file(self) -> Path:
        """Where the facts are kept: the name changes with everything that the data depend on."""
        request = self.request
        mark = fingerprint(
            {
                "spec": self.spec.model_dump(mode="json"),
                "profile": request.profile,
                "on_fault": request.on_fault,
                "on_overlap": request.on_overlap,
                "student": self.student_revision,
                "max_length_tokens": self._longest_row,
                "rationales": file_mark(request.rationales),
                "teachers": list(request.teachers),
                "code": data_code_mark(),
                "formats": [FORMATS.code_mark(b.layout) for b in self.spec.benchmarks if b.layout],
                "own tasks": own_tasks_mark(self.spec),
            }
        )
        return request.cache / "fingerprints" / f"suite-{mark}.json"

    # --------------------------------------------------------------------------------- loaded when first used

    @cached_property
    def data(self) -> SuiteData:
        """The suite's questions and benchmark items, fetched, validated and checked for overlap."""
        from compact_bench.data.files.sources import Sources
        from compact_bench.data.suites.loading import load_suite_data
        from compact_bench.data.validation.limits import unknown_finder
        from compact_bench.students.chat import encode_row, prompt_ids

        request, tokenizer = self.request, self.base.tokenizer

        def count_tokens(question: str, rationale: str) -> int:
            if not rationale.strip():
                return len(prompt_ids(tokenizer, question))
            return len(encode_row(tokenizer, question, rationale.strip()).input_ids)

        return load_suite_data(
            self.spec,
            Sources(request.cache, request.mirror, request.offline),
            profile=request.profile,
            max_length_tokens=self._longest_row,
            count_tokens=count_tokens,
            find_unknown=unknown_finder(tokenizer),
            on_fault=request.on_fault,
            on_overlap=request.on_overlap,
            rationales=request.rationales,
            teachers=request.teachers,
        )

    @property
    def _longest_row(self) -> int:
        """The longest row that the data may have, in tokens: any, where encoding cuts rows."""
        train = self.settings.train
        return sys.maxsize if train.long_rows == "truncate" else train.max_length_tokens

    @cached_property
    def neutral_passages(self) -> tuple[str, ...]:
        """Text for the drift probe: in the world's own words where the suite has one."""
        from compact_bench.data import lab
        from compact_bench.evaluation.probes import neutral_text

        source = neutral_text if self.spec.training.world is None else lab
        passages: tuple[str, ...] = source.neutral_passages()
        return passages

    @cached_property
    def base(self) -> Student:
        """The untrained student; nobody may change its weights."""
        from compact_bench.students.student import load_student

        if self.request.threads:
            import torch

            torch.set_num_threads(self.request.threads)
        # A sweep has a session for every value, and all of them start from the same student.
        place = (self.student_name, self.student_revision, self.request.device)
        # Held in a name, as the dictionary lets go of what nobody holds.
        student = _BASES.get(place) or load_student(self.student_name, device=self.request.device)
        _BASES[place] = student
        return student

    @cached_property
    def base_hash(self) -> str:
        """Hash of the untrained student's weights."""
        from compact_bench.students.student import weights_hash

        return weights_hash(self.base.model)

    def fresh_student(self) -> Student:
        """A student of the base's own bits that a run may train."""
        return replace(self.base, model=copy.deepcopy(self.base.model))

    def load_shared(self) -> None:
        """Load what every run needs, so that what is wrong with it is no single run's failure.

        Raises:
            DataError, StudentError: the data or the student cannot be loaded.
            StoreError: the data is not what the runs' keys say.
        """
        facts = SuiteFacts.of(self.spec.name, self.data)
        if facts != self._suite_facts:
            facts.write(self._facts_file)
            raise StoreError(
                f"suite {self.spec.name}: expected data {self.suite_fingerprint}, as remembered, got "
                f"{facts.fingerprint}. The remembered value is now corrected: give the same command again."
            )
        self.base_hash  # noqa: B018

    def benchmarks_of(self, settings: RunSettings) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Task -> its items, of the benchmarks that a run with these settings evaluates."""
        groups = settings.eval.groups
        tasks = {b.task for b in self.spec.benchmarks if groups is None or b.group in groups}
        return {task: rows for task, rows in self.data.benchmarks.items() if task in tasks}

    def check_room(self) -> None:
        """Refuse, before anything is trained, benchmarks whose prompts the student cannot read.

        Raises:
            ConfigError: task, items, their tokens and the student's limit.
        """
        from compact_bench.evaluation.bridge import check_all_room

        check_all_room(self.base, self.benchmarks_of(self.settings), self.settings.eval)


def session_of_record(record: RunRecord, request: Request) -> Session:
    """A session of the suite, student, data and settings that a run had; `request` gives folders and device.

    A run that was made before its suite had a next version is of the earlier one.

    Raises:
        StoreError: student or data are no longer what the run had.
    """
    kept = dict(record.provenance["request"])
    for name in ("teachers", "overrides", "world"):
        # Records of before there were worlds do not name one.
        kept[name] = tuple(kept.get(name, ()))
    # A run's student and data do not need its method; a file that is gone must not stand in their way.
    kept["method_files"] = tuple(path for path in map(Path, kept.get("method_files", ())) if path.is_file())
    changes = []
    for suite in _versions_of(kept["suite"]):
        session = Session(replace(request, **{**kept, "suite": suite}), [record.key.method])
        if not (changed := _changed_since(session, record)):
            return session
        changes.append(changed)
    raise StoreError(
        f"run {record.key.name}: expected {changes[0]}. "
        "The student's files or the suite's data changed since; give the old ones, or run it again."
    )


def _versions_of(suite: str) -> Iterator[str]:
    """A suite by the name that a run was asked for with, then the earlier versions that are kept of it."""
    yield suite
    yield from (name for name in suite_names() if name != suite and without_version(name) == suite)


def _changed_since(session: Session, record: RunRecord) -> str:
    """What of student and data is not what a run had, as "NAME THEN, as the run had, got NOW"; or ""."""
    # The student first: it is known without loading the data.
    for name in ("student_revision", "suite_fingerprint"):
        now, then = getattr(session, name), getattr(record.key, name)
        if now != then:
            return f"{name} {then}, as the run had, got {now}"
    return ""
