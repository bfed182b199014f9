"""What a suite file says, as validated data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.settings import Group, Positive, Strict
from compact_bench.core.written.fields import Name, Prose, Title
from compact_bench.core.written.names import LONGEST_NAME, without_version
from compact_bench.data.files.formats import FORMATS
from compact_bench.data.files.readers import HubSet
from compact_bench.data.files.sources import FileRef, is_inside
from compact_bench.data.lab import LAB_TASKS, TEACHERS, WorldSettings
from compact_bench.data.suites.profiles import ProfileSpec

Text = Annotated[Title, StringConstraints(min_length=1, strip_whitespace=True)]
METRICS = ("exact_match", "acc", "acc_norm")
"""Metrics of the packaged tasks."""
SuiteName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*(@[0-9]+)?$", max_length=LONGEST_NAME)
]
"""A name; with "@N" that of an earlier version, which is kept."""
_REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$"
FaultKind = Literal[
    "missing_question",
    "extra_question",
    "repeated_question",
    "long_rationale",
    "stray_text",
    "no_answer",
    "wrong_answer",
    "answer_form",
]
TREATMENTS: Mapping[str, str] = {
    "missing_question": "leave_out",
    "extra_question": "ignore",
    "repeated_question": "keep_first",
    "long_rationale": "leave_out",
    "stray_text": "remove",
    "no_answer": "keep",
    "wrong_answer": "keep",
    "answer_form": "canonicalise",
}
"""How each kind of known fault is treated; a suite file says it too, for its reader."""
TRAINING_SOURCES = ("gold", "file", "hub", "world")
"""Where a suite's training questions may come from."""


class FileSpec(Strict):
    """A file: of an upstream repository, or local.

    Attributes:
        path: path in the repository; for a local file, absolute.
        repo, commit: "owner/name" and commit hash; None for a local file.
        sha256, bytes: checksum and size; a local file's are taken when the suite is loaded.
    """

    path: Text
    repo: Annotated[str, StringConstraints(pattern=_REPOSITORY)] | None = None
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]

    @property
    def ref(self) -> FileRef | None:
        """The upstream file, or None for a local one."""
        if self.repo is None or self.commit is None:
            return None
        return FileRef(self.repo, self.commit, self.path, self.sha256, self.bytes)

    @property
    def name(self) -> str:
        """How messages call it: the file name, or a local file's whole path."""
        return self.path if self.repo is None else Path(self.path).name

    @model_validator(mode="after")
    def _whole(self) -> FileSpec:
        if (self.repo is None) != (self.commit is None):
            raise ValueError("expected both repo and commit, or neither for a local file")
        if self.repo is not None and not is_inside(self.path):
            raise ValueError('expected a path inside the repository, as "data/train.json"')
        return self


class TeacherSpec(Strict):
    """A teacher.

    Attributes:
        license: licence of the file, and terms to know.
        level: which of `files` is used unless another is requested.
        files: level of detail -> file; empty where the training file holds the rationales.
    """

    name: Name
    title: Title = ""
    license: Prose = ""
    level: Annotated[Title, Field(max_length=LONGEST_NAME)] = ""
    files: dict[str, FileSpec] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _one_file(cls, data: Any) -> Any:
        if isinstance(data, dict) and "file" in data and "files" not in data:
            rest = {key: value for key, value in data.items() if key != "file"}
            return {**rest, "files": {str(rest.get("level", "")): data["file"]}}
        return data

    @model_validator(mode="after")
    def _known_level(self) -> TeacherSpec:
        if self.files and self.level not in self.files:
            raise ValueError(f"level {self.level!r}: expected one of {', '.join(map(repr, self.files))}")
        return self

    def file(self, level: str | None = None) -> FileSpec:
        """The file of a level, the suite's own by default.

        Raises:
            UnknownNameError: there is no such level.
        """
        wanted = self.level if level is None else level
        if wanted not in self.files:
            raise UnknownNameError(f"level of teacher {self.name!r}", wanted, self.files)
        return self.files[wanted]


class TrainingSpec(Strict):
    """Where the training questions come from: exactly one of `gold`, `file`, `hub` and `world`.

    Attributes:
        gold: upstream file of questions and gold answers; every teacher then has files of its own.
        file: local file that holds questions and rationales.
        hub: hub dataset that holds them.
        world: settings of the generated world that questions, rationales and items are drawn from.
        validation_questions: how many are set aside; None for a seventh, or up to 200 of two sevenths.
        max_rationale_tokens: a question with a longer rationale is left out and listed; None: no limit.
        expected_questions: how many questions all files share, where that is known.
        ragged: whether a question of `file` or `hub` may lack teachers, and a teacher have several rationales
            for one; else that is a fault.
        questions_drawn: whether every seed draws the profile's number of training questions from all that
            are not set aside; else every seed has the first ones.
    """

    gold: FileSpec | None = None
    file: FileSpec | None = None
    hub: HubSet | None = None
    world: WorldSettings | None = None
    validation_questions: Positive | None = None
    max_rationale_tokens: Positive | None = None
    expected_questions: Positive | None = None
    ragged: bool = False
    questions_drawn: bool = True

    @property
    def source(self) -> str:
        """Which of the sources is given."""
        return next(name for name in TRAINING_SOURCES if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_source(self) -> TrainingSpec:
        given = [name for name in TRAINING_SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            known = f"{', '.join(TRAINING_SOURCES[:-1])} and {TRAINING_SOURCES[-1]}"
            raise ValueError(f"expected one of {known}, got {' and '.join(given) or 'none'}")
        if self.ragged and given[0] not in ("file", "hub"):
            raise ValueError(f"ragged: expected a training set with file or hub, got one with {given[0]}")
        return self


class KnownFault(Strict):
    """A fault of the suite's files that is known, and what is done about it.

    Attributes:
        treatment: what is done; fixed by the kind, see `TREATMENTS`.
        teachers: whose files have it; "gold" for the gold file; empty for all.
        text: the stray text, for kind "stray_text".
        note: figures and reason.
    """

    kind: FaultKind
    treatment: str
    teachers: tuple[str, ...] = ()
    text: str = ""
    note: Prose = ""

    @model_validator(mode="after")
    def _treatment_fits(self) -> KnownFault:
        if self.treatment != TREATMENTS[self.kind]:
            raise ValueError(f"treatment of {self.kind}: expected {TREATMENTS[self.kind]!r}")
        if (self.kind == "stray_text") != bool(self.text):
            raise ValueError("text: expected it for kind 'stray_text', and for no other")
        return self


class BenchmarkSpec(Strict):
    """A benchmark.

    Attributes:
        task: its name in tables and records; a packaged task's, unless `task_file` or `uses` is given.
        uses: packaged task that asks and scores it, where it has a name of its own; or "".
        task_file: a YAML of lm-evaluation-harness of the user's own that defines it, or None.
        metric: what is reported; of a `task_file`, one of its metrics ("NAME" or "NAME,FILTER").
        layout: how the file is laid out, a name of `compact_bench.data.files.formats.FORMATS`; None for
            generated items.
        items: how many items the suite's world generates; None where a file holds them.
        excluding: file whose questions are no test items, or None.
        chance: accuracy of a guess, in [0, 1]; None for generation tasks.
    """

    task: Name
    title: Text
    group: Group
    metric: Text
    uses: Name | None = None
    task_file: FileSpec | None = None
    layout: str | None = None
    file: FileSpec | None = None
    items: Positive | None = None
    excluding: FileSpec | None = None
    chance: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    note: Prose = ""

    @field_validator("layout")
    @classmethod
    def _is_a_format(cls, layout: str | None) -> str | None:
        if layout is not None and layout not in (known := FORMATS.sources()):
            raise ValueError(str(UnknownNameError(FORMATS.kind, layout, known)))
        return layout

    @model_validator(mode="after")
    def _one_source(self) -> BenchmarkSpec:
        if self.task_file is not None:
            return self._whole_task()
        if self.metric not in METRICS:
            raise ValueError(f"metric: expected one of {', '.join(METRICS)}, got {self.metric!r}")
        if (self.file is None) == (self.items is None):
            got = "none" if self.file is None else "both"
            raise ValueError(f"expected file, or items (a number of generated ones), got {got}")
        if self.file is not None and self.layout is None:
            raise ValueError('layout: expected how the file is laid out ("rows" for one of your own)')
        if self.items is not None and (self.layout or self.excluding):
            raise ValueError("expected neither layout nor excluding beside items, which are generated")
        if self.items is not None and self.uses:
            raise ValueError("expected no `uses` beside items, which are generated for their own task")
        return self

    def _whole_task(self) -> BenchmarkSpec:
        beside = ("uses", "layout", "file", "items", "excluding")
        if given := [name for name in beside if getattr(self, name) is not None]:
            raise ValueError(
                f"expected nothing of it beside task_file, which says all, got {', '.join(given)}"
            )
        if self.task_file is not None and self.task_file.repo is not None:
            raise ValueError("task_file: expected a local file, as it runs Python")
        return self


class SuiteSpec(Strict):
    """A suite: what is compared, on what, with which student.

    Attributes:
        name: how commands and pages call it; `key_name` is how its runs' keys do.
        card: what a reader must know before believing the numbers.
        student_card: the same of the suite's own student; left out where another student is used.
        system_prompt: always "": the system turn is the chat template's own, in training and evaluation.
        teachers: in the order of every question's rationales; may be empty where the training file names
            them.
        known_faults: faults of the files that do not stop a run.
        method_settings: method -> settings of its own that this suite needs to differ from the method's
            defaults; profiles, users and table rows may change them again.
        profiles: name -> scale.
    """

    name: SuiteName
    version: Positive
    title: Text
    card: Prose = ""
    student_card: Prose = ""
    student: Text
    student_title: Title = ""
    system_prompt: str = ""
    training: TrainingSpec
    teachers: tuple[TeacherSpec, ...] = ()
    benchmarks: Annotated[tuple[BenchmarkSpec, ...], Field(min_length=1)]
    known_faults: tuple[KnownFault, ...] = ()
    method_settings: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    profiles: Annotated[dict[Name, ProfileSpec], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> SuiteSpec:
        if problems := list(self._problems()):
            raise ValueError("; ".join(problems))
        return self

    @property
    def key_name(self) -> str:
        """The name in the keys of its runs, which is the same for all versions of a suite.

        The fingerprint of the data tells versions apart; so runs that were made before an earlier version was
        given its "@N" are still that version's.
        """
        return without_version(self.name)

    @property
    def has_truth(self) -> bool:
        """Whether the suite knows of its own rationales which are really right."""
        return self.training.world is not None

    def choose_teachers(self, wanted: Sequence[str] = ()) -> tuple[tuple[TeacherSpec, str], ...]:
        """Teachers, given as "name" or "name@level", and the level of each; none given: all at the suite's
        levels.

        Raises:
            UnknownNameError: no such teacher or level.
            ConfigError: a teacher is named twice.
        """
        by_name = {teacher.name: teacher for teacher in self.teachers}
        chosen: dict[str, tuple[TeacherSpec, str]] = {}
        for text in wanted or by_name:
            name, sign, level = text.partition("@")
            if name not in by_name:
                raise UnknownNameError("teacher", name, by_name)
            if name in chosen:
                raise ConfigError(f"teachers: expected every teacher once, got {name!r} twice.")
            if sign:
                by_name[name].file(level)
            chosen[name] = (by_name[name], level if sign else by_name[name].level)
        return tuple(chosen.values())

    def _problems(self) -> Iterator[str]:
        if self.system_prompt:
            yield (
                f'system_prompt: expected "" (the chat template\'s own), got {self.system_prompt!r}; '
                "put another system turn into the student's chat template"
            )
        names = [teacher.name for teacher in self.teachers]
        tasks = [benchmark.task for benchmark in self.benchmarks]
        for what, values in (("teacher", names), ("benchmark task", tasks)):
            for value in sorted({v for v in values if values.count(v) > 1}):
                yield f"{what} {value!r}: expected it once"
        keys = [name.casefold() for name in dict.fromkeys(names)]
        for name in sorted({key for key in keys if keys.count(key) > 1}):
            yield f"teacher {name!r}: expected names that differ in more than case"
        if self.training.gold is not None and not self.teachers:
            yield "teachers: expected at least one, as training.gold holds no rationales"
        yield from self._generated_problems()
        for teacher in self.teachers:
            if (self.training.gold is None) == bool(teacher.files):
                needed = "files of its own" if self.training.gold else "none, as the training file holds them"
                yield f"teacher {teacher.name!r}: expected {needed}"
        for fault in self.known_faults:
            for name in fault.teachers:
                if name not in (*names, "gold"):
                    yield f"known fault {fault.kind!r}: no teacher is called {name!r}"

    def _generated_problems(self) -> Iterator[str]:
        world = self.training.world
        for benchmark in self.benchmarks:
            if benchmark.items is None:
                continue
            if world is None:
                yield (
                    f"benchmark {benchmark.task!r}: expected a file, as items are generated by a suite with "
                    "training.world only (to train on rationales of your own there, give --rationales)"
                )
            if benchmark.task not in LAB_TASKS:
                yield f"benchmark {benchmark.task!r}: expected items of one of {', '.join(LAB_TASKS)}"
        for teacher in self.teachers if world is not None else ():
            if teacher.name not in TEACHERS:
                yield f"teacher {teacher.name!r}: expected one of the world's, {', '.join(TEACHERS)}"
