"""What one command works with: the suite, its data and the base student, each loaded once and only if needed.

Planning needs fingerprints, not weights or questions. Both fingerprints are therefore remembered in the
cache, under a name that changes with everything they depend on, so that a command with nothing to run
loads neither the student nor the data.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

from pydantic import ValidationError

from compact_bench.core.errors import ConfigError, StoreError, UnknownNameError
from compact_bench.core.records import RESULTS_VERSION, RunKey, RunRecord, fingerprint
from compact_bench.core.settings import RunSettings, apply_overrides, describe_validation_error, merged
from compact_bench.data.files.formats import FORMATS
from compact_bench.data.suites import SuiteSpec, load_spec, with_world
from compact_bench.methods.contract import SuiteInfo
from compact_bench.methods.registry import get_method
from compact_bench.runs.store.store import Store
from compact_bench.runs.suite_cache import SuiteFacts, data_code_mark, file_mark
from compact_bench.runs.suite_settings import all_method_fields, check_method_settings

if TYPE_CHECKING:
    from compact_bench.data.suites.loading import SuiteData
    from compact_bench.students.student import Student

_BASES: WeakValueDictionary[tuple[str, str, str], Student] = WeakValueDictionary()
"""Untrained students that some workbench of this process holds: (name, revision, device) -> student."""


@dataclass(frozen=True)
class Request:
    """What a command was asked to work with.

    Attributes:
        suite: suite name or TOML file.
        profile: name of one of the suite's profiles.
        cache, store: folders.
        seeds: empty for the profile's own.
        student: hub id, folder or packaged student; None for the suite's.
        overrides: "key=value" texts.
        world: "key=value" texts that change the suite's generated world.
        on_fault: what a faulty training question does.
        rationales: a file whose questions replace the suite's training questions.
        teachers: which of the suite's teachers, as "name" or "name@level"; with `rationales`, the names of
            that file's teachers, in order. Empty for all.
        mirror: folder of upstream files.
        offline: whether the network must not be used.
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
    rationales: str | None = None
    teachers: tuple[str, ...] = ()
    mirror: Path | None = None
    offline: bool = False
    device: str = "auto"
    threads: int = 0


class Session:
    """Lazy holder of everything that the runs of one command share.

    Args:
        request: what was asked for.

    Raises:
        ConfigError: the suite, the profile or an override is wrong.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.store = Store(request.store)
        self.spec: SuiteSpec = with_world(load_spec(request.suite), request.world)
        if request.profile not in self.spec.profiles:
            raise UnknownNameError("profile", request.profile, self.spec.profiles)
        self.profile = self.spec.profiles[request.profile]
        self.settings_for()
        check_method_settings(self.spec)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds asked for, or the profile's."""
        return self.request.seeds or tuple(self.profile.seeds)

    @property
    def student_name(self) -> str:
        """The student asked for, or the suite's."""
        return self.request.student or self.spec.student

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers, in order."""
        if self.request.rationales is None and self.spec.teachers:
            chosen = self.spec.choose_teachers(self.request.teachers)
            return tuple(teacher.name for teacher, _ in chosen)
        return self._suite_facts.teachers

    @property
    def suite_info(self) -> SuiteInfo:
        """What methods are told of the suite before they run."""
        facts = self._suite_facts
        return SuiteInfo(
            name=self.spec.name,
            teachers=self.teachers,
            has_truth=facts.has_truth,
            has_pairs=facts.has_pairs,
            has_reviews=facts.has_reviews,
            has_feedback=facts.has_feedback,
        )

    def settings_for(
        self, changes: Mapping[str, Mapping[str, Any]] | None = None, epochs_factor: int = 1
    ) -> RunSettings:
        """Defaults, then the profile's settings, then the user's, then those that make a table row.

        What the suite gives single methods stands below all of these; see `key`.

        Args:
            changes: nested settings of the row.
            epochs_factor: how many times the epochs are trained (K for equal tokens).

        Raises:
            ConfigError: a value is wrong or a key is unknown.
        """
        place = f"suite {self.spec.name}, profile {self.request.profile}"
        base = merged(RunSettings(), self.profile.settings, place)
        asked = apply_overrides(base, self.request.overrides, all_method_fields())
        settings = merged(asked, changes or {}, "table row")
        if epochs_factor == 1:
            return settings
        train = settings.train.model_copy(update={"epochs": settings.train.epochs * epochs_factor})
        return settings.model_copy(update={"train": train})

    def key(
        self,
        method: str,
        variant: str,
        seed: int,
        changes: Mapping[str, Mapping[str, Any]] | None = None,
        epochs_factor: int = 1,
    ) -> RunKey:
        """The key of one run, with every setting resolved and the method's own ones complete.

        Args:
            method: registry name.
            variant: what distinguishes runs of one method, or "".
            seed: the run's seed.
            changes, epochs_factor: as in `settings_for`.

        Raises:
            ConfigError: the method is unknown or refuses its configuration.
        """
        settings = self.settings_for(changes, epochs_factor)
        config_type = get_method(method).config_type
        asked = {k: v for k, v in settings.method.items() if k in config_type.model_fields}
        own = {**self.spec.method_settings.get(method, {}), **asked}
        try:
            config = config_type.model_validate(own)
        except ValidationError as error:
            raise ConfigError(describe_validation_error(error, f"settings of method {method}")) from None
        complete = settings.model_copy(update={"method": config.model_dump(mode="json")})
        return RunKey(
            method=method,
            variant=variant,
            student=self.student_name,
            student_revision=self.student_revision,
            suite=self.spec.name,
            suite_fingerprint=self.suite_fingerprint,
            profile=self.request.profile,
            seed=seed,
            settings=complete.model_dump(mode="json"),
            results_version=RESULTS_VERSION,
        )

    @property
    def fetches_student(self) -> bool:
        """Whether the packaged student is asked for and not yet in the cache."""
        from compact_bench.students.packaged import packaged_student_ready
        from compact_bench.students.student import PACKAGED_STUDENT

        return self.student_name == PACKAGED_STUDENT and not packaged_student_ready(self.request.cache)

    @cached_property
    def student_revision(self) -> str:
        """Fingerprint of the student's files; fetches them where they are not yet at hand."""
        from compact_bench.students.student import resolve_student, student_revision

        return student_revision(resolve_student(self.student_name))

    @cached_property
    def suite_fingerprint(self) -> str:
        """Fingerprint of the suite and the questions it yields; remembered between commands."""
        return self._suite_facts.fingerprint

    @cached_property
    def _suite_facts(self) -> SuiteFacts:
        known = SuiteFacts.read(self._suite_memory)
        if known is None:
            known = SuiteFacts.of(self.data)
            known.write(self._suite_memory)
        return known

    @cached_property
    def _suite_memory(self) -> Path:
        asked = self.request
        mark = fingerprint(
            {
                "spec": self.spec.model_dump(mode="json"),
                "profile": asked.profile,
                "on_fault": asked.on_fault,
                "student": self.student_revision,
                "max_length_tokens": self._max_length_tokens,
                "rationales": file_mark(asked.rationales),
                "teachers": list(asked.teachers),
                "code": data_code_mark(),
                "formats": [FORMATS.code_mark(b.layout) for b in self.spec.benchmarks if b.layout],
            }
        )
        return asked.cache / "fingerprints" / f"suite-{mark}.json"

    @cached_property
    def data(self) -> SuiteData:
        """The suite's questions and benchmark items, fetched, validated and checked for overlap."""
        from compact_bench.data.files.sources import Sources
        from compact_bench.data.suites.loading import load_suite_data
        from compact_bench.data.validation.limits import unknown_finder
        from compact_bench.students.chat import encode_row, prompt_ids

        asked, tokenizer = self.request, self.base.tokenizer

        def count_tokens(question: str, rationale: str) -> int:
            if not rationale.strip():
                return len(prompt_ids(tokenizer, question))
            return len(encode_row(tokenizer, question, rationale.strip()).input_ids)

        return load_suite_data(
            self.spec,
            Sources(asked.cache, asked.mirror, asked.offline),
            profile=asked.profile,
            max_length_tokens=self._max_length_tokens,
            count_tokens=count_tokens,
            find_unknown=unknown_finder(tokenizer),
            on_fault=asked.on_fault,
            rationales=asked.rationales,
            teachers=asked.teachers,
        )

    @cached_property
    def neutral_passages(self) -> tuple[str, ...]:
        """Text for the drift probe: in the world's own words where the suite has one."""
        if self.spec.training.world is not None:
            from compact_bench.data.lab import neutral_passages as world_passages

            return world_passages()
        from compact_bench.evaluation.probes.neutral_text import neutral_passages

        return neutral_passages()

    @property
    def _max_length_tokens(self) -> int:
        return self.settings_for().train.max_length_tokens

    @cached_property
    def base(self) -> Student:
        """The untrained student; nobody may change its weights."""
        from compact_bench.students.student import load_student

        if self.request.threads:
            import torch

            torch.set_num_threads(self.request.threads)
        # A sweep has a workbench for every value, and all of them start from the same student.
        place = (self.student_name, self.student_revision, self.request.device)
        student = _BASES.get(place)
        if student is None:
            student = load_student(self.student_name, device=self.request.device)
            _BASES[place] = student
        return student

    @cached_property
    def base_hash(self) -> str:
        """Hash of the untrained student's weights."""
        from compact_bench.students.student import weights_hash

        return weights_hash(self.base.model)

    def fresh_student(self) -> Student:
        """A student of the base's own bits that a run may train."""
        return dataclasses.replace(self.base, model=copy.deepcopy(self.base.model))

    def load_shared(self) -> None:
        """Load what every run needs, so that what is wrong with it is no single run's failure.

        Raises:
            DataError, StudentError: the data or the student cannot be had.
            StoreError: the data is not what the runs' keys say.
        """
        found = SuiteFacts.of(self.data)
        if found != self._suite_facts:
            found.write(self._suite_memory)
            raise StoreError(
                f"suite {self.spec.name}: expected data {self.suite_fingerprint}, as remembered, got "
                f"{found.fingerprint}. "
                "The remembered value is now corrected: give the same command again."
            )
        self.base_hash  # noqa: B018

    def request_as_data(self) -> dict[str, Any]:
        """What is needed to open the same workbench again, as plain data for run records."""
        asked = self.request
        return {
            "suite": asked.suite,
            "profile": asked.profile,
            "student": asked.student,
            "on_fault": asked.on_fault,
            "rationales": asked.rationales,
            "teachers": list(asked.teachers),
            "overrides": list(asked.overrides),
            "world": list(asked.world),
        }


def session_of_record(record: RunRecord, request: Request) -> Session:
    """A workbench of the suite, student and data that a run had.

    Args:
        record: the run.
        request: gives the folders, the device and the mirror.

    Raises:
        StoreError: student or data are no longer what the run had.
    """
    kept = dict(record.provenance["request"])
    for name in ("teachers", "overrides", "world"):
        # Records of before there were worlds do not name one.
        kept[name] = tuple(kept.get(name, ()))
    session = Session(dataclasses.replace(request, **kept))
    for name in ("student_revision", "suite_fingerprint"):
        now = getattr(session, name)
        if now != getattr(record.key, name):
            raise StoreError(
                f"run {record.key.name}: expected {name} {getattr(record.key, name)}, as the run had, "
                f"got {now}. "
                "The student's files or the suite's data changed since; give the old ones, or run it again."
            )
    return session
