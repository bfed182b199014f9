"""A suite's training questions, validation questions and benchmark items, read, checked and split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compact_bench.core.errors import DataError, Fault, UnknownNameError
from compact_bench.core.records import Question
from compact_bench.data.files.benchmarks import USES, Benchmark, benchmark_notes, parse_benchmark
from compact_bench.data.files.readers import read_hub_rows, read_rows
from compact_bench.data.files.rows import OnFault, SourceRow, normalised
from compact_bench.data.files.sources import FileRef, Sources, checksum_problem
from compact_bench.data.files.task_yaml import task_rows
from compact_bench.data.files.upstream import Joined, UpstreamFile, UpstreamRules, join_upstream
from compact_bench.data.suites import BenchmarkSpec, FileSpec, SuiteSpec
from compact_bench.data.suites.fingerprint import data_fingerprint
from compact_bench.data.suites.generated import generated_benchmark, generated_questions
from compact_bench.data.suites.own_data import own_data_notes
from compact_bench.data.suites.suite_data import SuiteData
from compact_bench.data.suites.teacher_statistics import answer_counts, teacher_facts
from compact_bench.data.validation.limits import CountTokens, FindUnknown, check_words, length_faults
from compact_bench.data.validation.near_copies import NearCopy, OnOverlap, copies_note, find_overlaps
from compact_bench.data.validation.questions import enforce_fault_policy, validate_questions
from compact_bench.data.validation.ragged import gaps
from compact_bench.data.validation.splits import (
    NEAR_DUPLICATE_SHARE,
    WANTED_VALIDATION_QUESTIONS,
    check_no_overlap,
    near_duplicate_counts,
    split_validation,
)

DEFAULT_MAX_LENGTH_TOKENS = 2560
_FILE_MEND = "put the file back as it was when the command started, and start again."


@dataclass(frozen=True)
class _Pool:
    """All sound questions before the split."""

    questions: tuple[Question, ...]
    excluded: tuple[Fault, ...]
    treated: tuple[str, ...] = ()
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    copies: tuple[NearCopy, ...] = ()


def load_suite_data(
    spec: SuiteSpec,
    sources: Sources,
    *,
    profile: str | None = None,
    max_length_tokens: int = DEFAULT_MAX_LENGTH_TOKENS,
    count_tokens: CountTokens | None = None,
    find_unknown: FindUnknown | None = None,
    on_fault: OnFault = "stop",
    on_overlap: OnOverlap = "keep",
    teachers: Sequence[str] = (),
    rationales: str | Path | None = None,
    benchmarks: Iterable[str] | None = None,
) -> SuiteData:
    """Read everything a suite needs, check it, and split it.

    Args:
        sources: where upstream files come from.
        profile: which profile's number of training questions; None for all of them.
        max_length_tokens: longest row; a longer one is a fault.
        count_tokens: (question, rationale) -> tokens of the whole row; with "" as rationale, of the
            prompt. None leaves lengths unchecked, and `notes["lengths_checked"]` says so.
        find_unknown: finds words that the student cannot read, which are refused; None: it reads any text.
        on_fault: "stop" raises on any fault of a question; "drop" leaves faulty questions out.
        on_overlap: what near copies of test questions do; see `find_overlaps`.
        teachers: which teachers, in order: "name", or "name@level" for another file of a teacher; with
            `rationales`, the names of that file's teachers. Empty for all.
        rationales: a JSON or JSONL file whose questions replace the suite's training questions.
        benchmarks: tasks to load; None for all. The fingerprint does not depend on it.

    Raises:
        DataError: a file cannot be fetched or read, has faults or unknown words; lists them all.
        OverlapError: a question is a benchmark item, or nearly one where `on_overlap` is "refuse".
        UnknownNameError: no such profile, teacher, level or task.
        ConfigError: a hub dataset is not pinned or lacks a column.
    """
    if profile is not None and profile not in spec.profiles:
        raise UnknownNameError("profile", profile, spec.profiles)
    items = _load_benchmarks(spec, sources, benchmarks, on_fault)
    pool = _load_pool(spec, sources, teachers, rationales, max_length_tokens, count_tokens, on_fault)
    pool = _without_overlap(pool, items, on_fault, on_overlap)
    training, validation = _split(spec, pool, replaced=rationales is not None)
    limit = spec.training.max_rationale_tokens if rationales is None else None
    training, validation, long = _without_long(
        [training, validation], pool, limit, max_length_tokens, count_tokens, on_fault
    )
    rows = {task: list(b.rows) for task, b in items.items()}
    check_no_overlap(training, validation, rows)
    check_words((*training, *validation), rows, find_unknown)
    count = spec.profiles[profile].questions if profile is not None else None
    drawn = count if count is not None and count < len(training) and spec.training.questions_drawn else None
    notes = _notes(pool, items, len(training), len(validation), drawn)
    notes["lengths_checked"] = count_tokens is not None
    if file := rationales or (spec.training.file and spec.training.file.path):
        notes["own_data"] = own_data_notes(Path(file), (*training, *validation), len(training[:count]))
    excluded = (*pool.excluded, *long, *(f for b in items.values() for f in b.faults))
    kept = training if drawn else training[:count]
    mark = data_fingerprint(spec, kept, validation, drawn)
    return SuiteData(kept, validation, rows, excluded, notes, mark, drawn)


def suite_files(spec: SuiteSpec, teachers: Sequence[str] = ()) -> tuple[FileRef, ...]:
    """Upstream files that a suite needs, for `prefetch` and `doctor`; teachers as in `load_suite_data`.

    Raises:
        UnknownNameError: no such teacher or level.
    """
    files: list[FileSpec | None] = [spec.training.gold]
    if spec.training.gold is not None:
        files += [teacher.file(level) for teacher, level in spec.choose_teachers(teachers)]
    files += [file for benchmark in spec.benchmarks for file in _files_of(benchmark)]
    return tuple(dict.fromkeys(f.ref for f in files if f is not None and f.ref is not None))


def _files_of(benchmark: BenchmarkSpec) -> list[FileSpec]:
    return [file for file in (benchmark.file, benchmark.excluding) if file is not None]


def _path(file: FileSpec, sources: Sources) -> Path:
    ref = file.ref
    if ref is not None:
        return sources.fetch(ref)
    path = Path(file.path)
    try:
        problem = checksum_problem(path, file.sha256, file.bytes)
    except OSError as error:
        problem = f"expected a file, got: {error.strerror or error}"
    if problem:
        raise DataError(f"{path} changed", [Fault(str(path), problem)], _FILE_MEND)
    return path


def _load_benchmarks(
    spec: SuiteSpec, sources: Sources, wanted: Iterable[str] | None, on_fault: OnFault
) -> dict[str, Benchmark]:
    known = {benchmark.task: benchmark for benchmark in spec.benchmarks}
    tasks = list(known) if wanted is None else list(wanted)
    for task in tasks:
        if task not in known:
            raise UnknownNameError("benchmark task", task, known)
    needed = [file for task in tasks for file in _files_of(known[task])]
    # All at once, so that one message lists every file that cannot be fetched.
    sources.fetch_all(ref for f in needed if (ref := f.ref) is not None)
    loaded: dict[str, Benchmark] = {}
    for task in tasks:
        benchmark = known[task]
        parsed = _read_benchmark(benchmark, sources) or generated_benchmark(spec, benchmark)
        if not parsed.rows and not parsed.faults:
            raise DataError(f"benchmark {task}: expected at least one item, got none")
        enforce_fault_policy(parsed.faults, on_fault, f"benchmark {task}", len(parsed.rows))
        loaded[task] = parsed
    return loaded


def _read_benchmark(benchmark: BenchmarkSpec, sources: Sources) -> Benchmark | None:
    """The items of a benchmark's file, or None where it has none."""
    if benchmark.task_file is not None:
        return Benchmark(tuple(task_rows(Path(benchmark.task_file.path), benchmark.metric)), (), 0)
    if benchmark.file is None or benchmark.layout is None:
        return None
    excluding = _questions_of(benchmark.excluding, sources) if benchmark.excluding else frozenset()
    rows, bad_lines = read_rows(_path(benchmark.file, sources), benchmark.file.name)
    parsed = parse_benchmark(benchmark.layout, rows, excluding)
    if benchmark.uses:
        used = tuple({**row, USES: benchmark.uses} for row in parsed.rows)
        parsed = replace(parsed, rows=used)
    return Benchmark(parsed.rows, (*bad_lines, *parsed.faults), parsed.repeats)


def _questions_of(file: FileSpec, sources: Sources) -> frozenset[str]:
    rows, _ = read_rows(_path(file, sources), file.name)
    texts = (row.data.get("instruction") for row in rows if isinstance(row.data, Mapping))
    return frozenset(normalised(text) for text in texts if isinstance(text, str))


def _load_pool(
    spec: SuiteSpec,
    sources: Sources,
    teachers: Sequence[str],
    rationales: str | Path | None,
    max_length_tokens: int,
    count_tokens: CountTokens | None,
    on_fault: OnFault,
) -> _Pool:
    if rationales is None and spec.training.world is not None:
        return _generated_pool(spec, teachers, max_length_tokens, count_tokens, on_fault)
    joined: Joined | None = None
    read_faults: tuple[Fault, ...] = ()
    names: Sequence[str] = teachers
    if rationales is not None:
        source = str(rationales)
        rows, read_faults = read_rows(Path(rationales).expanduser(), source)
    else:
        if spec.teachers:
            names = [teacher.name for teacher, _ in spec.choose_teachers(teachers)]
        source, rows, read_faults, joined = _suite_rows(spec, sources, teachers)
    questions, faults = validate_questions(
        rows,
        source,
        teachers=tuple(names),
        # Where the suite has a limit of its own, `_without_long` checks both.
        count_tokens=None if joined and spec.training.max_rationale_tokens else count_tokens,
        max_length_tokens=max_length_tokens,
        on_fault=on_fault,
        read_faults=read_faults,
        ragged=rationales is not None or spec.training.ragged,
    )
    if not faults:
        _check_count(spec, joined, teachers, len(questions))
    places = {str(row.data["id"]): row.places for row in joined.rows} if joined else {}
    left_out = joined.excluded if joined else ()
    return _Pool(questions, (*left_out, *faults), joined.treated if joined else (), places)


def _generated_pool(
    spec: SuiteSpec,
    teachers: Sequence[str],
    max_length_tokens: int,
    count_tokens: CountTokens | None,
    on_fault: OnFault,
) -> _Pool:
    questions = generated_questions(spec, teachers)
    faults: list[Fault] = []
    if count_tokens is not None:
        faults = [f for q in questions for f in length_faults(q, count_tokens, max_length_tokens)]
    bad = {fault.question_id for fault in faults}
    kept = tuple(question for question in questions if question.id not in bad)
    enforce_fault_policy(faults, on_fault, f"suite {spec.name}", len(kept))
    return _Pool(kept, tuple(faults))


def _suite_rows(
    spec: SuiteSpec, sources: Sources, wanted: Sequence[str]
) -> tuple[str, tuple[SourceRow, ...], tuple[Fault, ...], Joined | None]:
    training = spec.training
    if training.hub is not None:
        return f"hub dataset {training.hub.name}", read_hub_rows(training.hub), (), None
    if training.file is not None:
        rows, faults = read_rows(_path(training.file, sources), training.file.name)
        return training.file.name, rows, faults, None
    assert training.gold is not None
    files = {teacher.name: teacher.file(level) for teacher, level in spec.choose_teachers(wanted)}
    refs = [f.ref for f in (training.gold, *files.values())]
    sources.fetch_all(ref for ref in refs if ref is not None)
    gold, bad_gold = _upstream(training.gold, sources)
    read = {name: _upstream(file, sources) for name, file in files.items()}
    joined = join_upstream(gold, {n: f for n, (f, _) in read.items()}, _rules(spec), spec.name)
    bad_lines = (*bad_gold, *(fault for _, faults in read.values() for fault in faults))
    return f"suite {spec.name}", joined.rows, (*bad_lines, *joined.faults), joined


def _upstream(file: FileSpec, sources: Sources) -> tuple[UpstreamFile, tuple[Fault, ...]]:
    rows, faults = read_rows(_path(file, sources), file.name)
    return UpstreamFile(file.name, rows), faults


def _rules(spec: SuiteSpec) -> UpstreamRules:
    names = [teacher.name for teacher in spec.teachers]
    covered: dict[str, set[str]] = {}
    stray: dict[str, tuple[str, ...]] = {}
    for fault in spec.known_faults:
        # The gold file goes by the name "" inside the join.
        who = ["" if name == "gold" else name for name in fault.teachers or (*names, "gold")]
        covered.setdefault(fault.kind, set()).update(who)
        if fault.kind == "stray_text":
            stray |= {name: (*stray.get(name, ()), fault.text) for name in who}
    return UpstreamRules(
        missing=frozenset(covered.get("missing_question", ())),
        extra=frozenset(covered.get("extra_question", ())),
        repeated=frozenset(covered.get("repeated_question", ())),
        stray=stray,
    )


def _check_count(spec: SuiteSpec, joined: Joined | None, wanted: Sequence[str], count: int) -> None:
    expected = spec.training.expected_questions
    if joined is None or expected is None or wanted or count == expected:
        return
    fault = Fault(f"suite {spec.name}", f"expected {expected} questions that all files share, got {count}")
    raise DataError("the files do not fit together", [fault], "correct expected_questions, or the files.")


def _without_overlap(
    pool: _Pool, items: Mapping[str, Benchmark], on_fault: OnFault, on_overlap: OnOverlap
) -> _Pool:
    """Leave out or refuse what the two policies say; `check_no_overlap` refuses the rest."""
    rows = {task: b.rows for task, b in items.items()}
    left_out, copies = find_overlaps(pool.questions, rows, on_fault, on_overlap)
    bad = {fault.question_id for fault in left_out}
    kept = tuple(q for q in pool.questions if q.id not in bad)
    if left_out:
        enforce_fault_policy(left_out, "drop", "the rationale set", len(kept))
    return replace(pool, questions=kept, excluded=(*pool.excluded, *left_out), copies=copies)


def _split(
    spec: SuiteSpec, pool: _Pool, *, replaced: bool
) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    total = len(pool.questions)
    # A seventh, or as many as a choice needs where two sevenths have them.
    usual = max(1, total // 7, min(WANTED_VALIDATION_QUESTIONS, 2 * total // 7))
    # The suite's number was chosen for the suite's own questions.
    count = usual if replaced else spec.training.validation_questions or usual
    if count >= total:
        fault = Fault("the rationale set", f"expected more than {count} questions, got {total}")
        mend = "add questions, or lower training.validation_questions in the suite file."
        raise DataError("too few questions to set some aside for validation", [fault], mend)
    return split_validation(pool.questions, count)


def _without_long(
    splits: Sequence[tuple[Question, ...]],
    pool: _Pool,
    rationale_limit: int | None,
    row_limit: int,
    count_tokens: CountTokens | None,
    on_fault: OnFault,
) -> tuple[tuple[Question, ...], tuple[Question, ...], tuple[Fault, ...]]:
    """Leave out questions with a rationale over the suite's limit; after the split, which so never moves.

    What the suite's own limit leaves is then held against the longest row, as every rationale set is.
    """
    training, validation = splits
    if rationale_limit is None or count_tokens is None:
        return training, validation, ()
    known: list[Fault] = []
    faults: list[Fault] = []
    for question in (*training, *validation):
        places = pool.places.get(question.id)
        long = length_faults(question, count_tokens, rationale_limit, places, whole_row=False)
        known += long
        faults += [] if long else length_faults(question, count_tokens, row_limit, places)
    bad = {fault.question_id for fault in (*known, *faults)}
    kept = [tuple(q for q in split if q.id not in bad) for split in splits]
    enforce_fault_policy(faults, on_fault, "the rationale set", min(map(len, kept)))
    return kept[0], kept[1], (*known, *faults)


def _notes(
    pool: _Pool, items: Mapping[str, Benchmark], training: int, validation: int, drawn: int | None
) -> dict[str, Any]:
    questions = {task: [str(row["question"]) for row in b.rows] for task, b in items.items()}
    facts, uneven = teacher_facts(pool.questions), gaps(pool.questions)
    return {
        "questions": len(pool.questions),
        "training_questions": training,
        "validation_questions": validation,
        **({"drawn_questions": drawn} if drawn else {}),
        "teachers": answer_counts(pool.questions),
        **({"teacher_facts": facts} if facts else {}),
        **({"ragged": uneven} if uneven else {}),
        "treated": list(pool.treated),
        "near_copies": copies_note(pool.copies),
        "near_duplicate_share": NEAR_DUPLICATE_SHARE,
        "near_duplicates": near_duplicate_counts(questions, [question.text for question in pool.questions]),
        **benchmark_notes(items),
    }
