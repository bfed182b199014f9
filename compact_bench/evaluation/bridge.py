"""Evaluate a student through lm-evaluation-harness, a task at a time, each cached when it is whole."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import filelock

from compact_bench.core.answers import needs_math
from compact_bench.core.errors import NumericalError
from compact_bench.core.files import usable_place
from compact_bench.core.paths import package_folder
from compact_bench.core.records import fingerprint
from compact_bench.core.settings import EvalSettings
from compact_bench.data.files.benchmarks import USES
from compact_bench.data.files.task_yaml import OWN
from compact_bench.evaluation.answer_steps import measured_items, steps_rule
from compact_bench.evaluation.cache import CacheEntry
from compact_bench.evaluation.engines.choosing import EnginePath, Engines, choose_path
from compact_bench.evaluation.guards import (
    quiet_harness,
    read_only,
    unchanged_generators,
    unchanged_tokenizer,
)
from compact_bench.evaluation.own_tasks import OwnTask, own_task, run_harness
from compact_bench.evaluation.room import check_room
from compact_bench.evaluation.task_files import (
    answer_format,
    check_rows,
    generation_options,
    is_generation,
    limited,
    task_texts,
    used_task,
    write_task_folder,
)
from compact_bench.evaluation.task_results import EvalProgress, TaskResult

if TYPE_CHECKING:
    from torch import nn

Rows = Sequence[Mapping[str, Any]]


class Evaluable(Protocol):
    """What is needed of a student here; `compact_bench.students.student.Student` has it."""

    model: nn.Module
    tokenizer: Any


@dataclass(frozen=True)
class _Job:
    """One task to evaluate: its rows, what evaluates it, its cache entry, and what its key was made of."""

    task: str
    rows: Rows
    path: EnginePath
    entry: CacheEntry
    depends_on: Mapping[str, Any]


def _ignore(_: EvalProgress) -> None:
    return None


def evaluate(
    student: Evaluable,
    benchmarks: Mapping[str, Rows],
    settings: EvalSettings,
    *,
    weights_hash: str,
    cache_dir: Path,
    since: float = 0.0,
    on_progress: Callable[[EvalProgress], None] = _ignore,
) -> dict[str, TaskResult]:
    """Accuracy of a student on tasks, as the `lm_eval` command line gives it with the same task folder.

    A task evaluated before (same weights, task, items, settings, versions) is read from the cache; a
    killed evaluation goes on with the task it was in. The student is left as it was.

    Args:
        student: with merged weights.
        benchmarks: task name -> rows: {"id", "question", "answer"} for generation tasks, {"id", "question",
            "choices", "label"} for choice tasks.
        settings: items per task, longest generation (tokens), batch size (rows).
        weights_hash: hash of the student's merged weights; names the cache folder.
        since: what was evaluated before this time, in seconds since the epoch, is evaluated again.
        on_progress: called before and after every task.

    Returns:
        Task name -> result, in the order of `benchmarks`.

    Raises:
        UnknownNameError: a task that is not packaged.
        DataError: rows are not as expected; nothing is evaluated.
        ConfigError: a prompt and the longest generation do not fit into the student's context.
        NumericalError: the student gives log-likelihoods that are not finite.
    """
    check_rows(benchmarks)
    results: dict[str, TaskResult] = {}
    with unchanged_tokenizer(student.tokenizer), unchanged_generators():
        engines = Engines(student.model, student.tokenizer, settings)
        vocabulary = _tokenizer_hash(student.tokenizer)
        for index, (task, all_rows) in enumerate(benchmarks.items(), 1):
            rows = limited(all_rows, settings)
            path = task_path(student, task, settings, rows)
            depends_on = task_dependencies(student, task, rows, settings, vocabulary, path)
            entry = CacheEntry(cache_dir, weights_hash, task_key(depends_on))
            job = _Job(task, rows, path, entry, depends_on)
            report = _reporter(on_progress, job, index, len(benchmarks))
            results[task] = _cached_or_evaluated(student, job, settings, engines, report, since)
    return results


def check_all_room(student: Evaluable, benchmarks: Mapping[str, Rows], settings: EvalSettings) -> None:
    """Refuse, before anything is trained, items that do not fit into the student's context.

    Raises:
        ConfigError: as `evaluate`; a student's own prompt prefix is not known yet, and checked there.
    """
    harness = None
    with unchanged_tokenizer(student.tokenizer), unchanged_generators():
        for task, all_rows in benchmarks.items():
            rows = limited(all_rows, settings)
            if harness is None:
                harness = Engines(student.model, student.tokenizer, settings).get(EnginePath("harness"))
            if own := own_task(rows):
                with quiet_harness():
                    own.check_room(task, rows, settings, harness)
            else:
                check_room(student.tokenizer, task, rows, settings, harness.max_length)


def _cached_or_evaluated(
    student: Evaluable,
    job: _Job,
    settings: EvalSettings,
    engines: Engines,
    report: Callable[..., None],
    since: float,
) -> TaskResult:
    result, state = job.entry.load(since), "cached"
    if result is None:
        with _locked(job.entry.lock_file, partial(report, "waiting", None)):
            # Another process may have made it while this one waited.
            result = job.entry.load(since)
            if result is None:
                report("running", None)
                harness = engines.get(job.path, partial(report, "running", None))
                result, state = _evaluate_task(student, job, settings, harness), "done"
    report(state, result)
    return result


def task_path(student: Evaluable, task: str, settings: EvalSettings, rows: Rows = ()) -> EnginePath:
    """What evaluates a task: the requested engine, or the plain harness with the reason."""
    generation, options = _decoding_of(task, rows, settings)
    return choose_path(
        student.model, student.tokenizer, settings.engine, generation=generation, options=options
    )


def _decoding_of(task: str, rows: Rows, settings: EvalSettings) -> tuple[bool, dict[str, Any]]:
    """Whether the student writes the answers, and how if it does."""
    own, used = own_task(rows), used_task(task, rows)
    return own.decoding(settings) if own else (is_generation(used), generation_options(used, settings))


def task_dependencies(
    student: Evaluable,
    task: str,
    rows: Rows,
    settings: EvalSettings,
    tokenizer_hash: str | None = None,
    path: EnginePath | None = None,
) -> dict[str, Any]:
    """All that a result depends on besides the weights; never a name the user chose.

    Args:
        student: gives chat template, tokenizer, data type and kind of device.
        settings: the longest generation counts for generation tasks only.
        tokenizer_hash: from an earlier call, because large tokenizers take a while.
        path: what `task_path` gave, where it is known already.
    """
    model, tokenizer = student.model, student.tokenizer
    parameter = next(model.parameters())
    own = own_task(rows)
    texts = {} if own else task_texts(used_task(task, rows), settings)
    generation, options = _decoding_of(task, rows, settings)
    rule = sorted((package_folder() / "core" / "answers").glob("*.py"))
    return {
        "task": own.mark() if own else {name: _sha(text) for name, text in sorted(texts.items())},
        # A packaged task's are in its texts.
        **({"options": options} if own else {}),
        # The whole text of core/answers: any edit of it may score an answer otherwise.
        "answer_rule": _sha("".join(path.read_text(encoding="utf-8") for path in rule)),
        **({"steps_rule": steps_rule()} if generation else {}),
        "items": fingerprint([{n: v for n, v in row.items() if n not in (OWN, USES)} for row in rows], 32),
        # Other rows in a batch mean other padding and other kernels, which can move a last bit.
        "batch_size": settings.batch_size,
        "engine": _engine_mark(path or task_path(student, task, settings, rows)),
        "chat_template": _sha(str(tokenizer.chat_template)),
        "tokenizer": tokenizer_hash or _tokenizer_hash(tokenizer),
        "decoding": _decoding(model) if generation else {},
        "dtype": str(parameter.dtype),
        "device": parameter.device.type,
        "versions": {name: importlib.metadata.version(name) for name in _libraries(rows)},
    }


def _libraries(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Distributions whose version may move a result of these rows."""
    expressions = any(needs_math(str(row.get("answer", ""))) for row in rows)
    return ("lm_eval", "torch", "transformers", *(("math-verify", "sympy") if expressions else ()))


def _engine_mark(path: EnginePath) -> str:
    return f"vllm {importlib.metadata.version('vllm')}" if path.engine == "vllm" else path.engine


def _tokenizer_hash(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return fingerprint(tokenizer.get_vocab(), 32)
    parts = json.loads(backend.to_str())
    # How the last call padded and cut is kept in there too, and says nothing about the tokens.
    return fingerprint({n: v for n, v in parts.items() if n not in ("padding", "truncation")}, 32)


def _decoding(model: Any) -> dict[str, Any]:
    """The student's own generation settings: its end-of-turn tokens above all."""
    configured = getattr(model, "generation_config", None)
    settings = configured.to_diff_dict() if configured is not None else {}
    return {n: v for n, v in settings.items() if n != "transformers_version" and not n.startswith("_")}


def task_key(depends_on: Mapping[str, Any]) -> str:
    """Name of a cache entry, from `task_dependencies`."""
    return fingerprint(depends_on, 32)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _reporter(
    on_progress: Callable[[EvalProgress], None], job: _Job, index: int, total: int
) -> Callable[..., None]:
    def report(
        state: Literal["running", "waiting", "done", "cached"],
        result: TaskResult | None,
        done: int = 0,
        requests: int = 0,
    ) -> None:
        seconds, reason = result.seconds if result is not None else 0.0, job.path.reason
        on_progress(
            EvalProgress(
                job.task, index, total, state, len(job.rows), seconds, result, done, requests, reason
            )
        )

    return report


@contextmanager
def _locked(lock_file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a file lock; the system frees it when the process that holds it dies."""
    lock = filelock.FileLock(lock_file)
    with usable_place(lock_file):
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            on_wait()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _evaluate_own(
    student: Evaluable, own: OwnTask, job: _Job, settings: EvalSettings, harness: Any
) -> TaskResult:
    started = time.monotonic()

    def run(tasks: Mapping[str, Any], limit: int) -> Mapping[str, Any]:
        with quiet_harness(), read_only(student.model):
            return run_harness(harness, tasks, limit)

    items, others = own.scores(job.rows, settings, harness, run)
    return _stored(job, items, own.metric, others, time.monotonic() - started)


def _evaluate_task(student: Evaluable, job: _Job, settings: EvalSettings, harness: Any) -> TaskResult:
    from lm_eval.tasks import TaskManager

    if own := own_task(job.rows):
        return _evaluate_own(student, own, job, settings, harness)
    check_room(student.tokenizer, job.task, job.rows, settings, harness.max_length)
    started = time.monotonic()
    # The item limit is already applied to the rows.
    unlimited = settings.model_copy(update={"items_per_task": None})
    folder = write_task_folder(job.entry.folder / "tasks", {job.task: job.rows}, unlimited)
    with quiet_harness(), read_only(student.model):
        loaded = TaskManager(include_path=str(folder), include_defaults=False).load([job.task])
        output = run_harness(harness, loaded["tasks"])
    _, answers = answer_format(used_task(job.task, job.rows))
    generation = answers.generation
    metric, *other_metrics = ("exact_match", "states_answer") if generation else ("acc_norm", "acc")
    samples = sorted(output["samples"][job.task], key=lambda sample: int(sample["doc_id"]))
    describe = partial(_generated_item, answers.read) if generation else _choice_item
    items = [describe(sample, metric) for sample in samples]
    if [item["id"] for item in items] != [row["id"] for row in job.rows]:
        raise AssertionError("the harness gave other items than the rows it was given")
    scores = output["results"][job.task]
    others = {name: float(scores[f"{name},none"]) for name in other_metrics}
    stated = float(scores[f"{metric},none"])
    return _stored(job, items, metric, others, time.monotonic() - started, stated)


def _stored(
    job: _Job,
    items: Sequence[Mapping[str, Any]],
    metric: str,
    others: Mapping[str, float],
    seconds: float,
    value: float | None = None,
) -> TaskResult:
    """Keep a finished evaluation; `value` is the items' mean as the harness states it."""
    mean = math.fsum(item["score"] for item in items) / len(items)
    result = TaskResult(
        task=job.task,
        metric=metric,
        value=mean if value is None else value,
        n=len(items),
        items=tuple(item["score"] for item in items),
        item_ids=tuple(item["id"] for item in items),
        cache_key=job.entry.key,
        seconds=seconds,
        others=others,
        engine=job.path.engine,
        engine_reason=job.path.reason,
        measures=measured_items(items),
    )
    job.entry.save(result, items, job.depends_on)
    return result


def _generated_item(
    read: Callable[[str], str | None], sample: Mapping[str, Any], metric: str
) -> dict[str, Any]:
    generation = str(sample["filtered_resps"][0])
    return {
        "id": str(sample["doc"]["id"]),
        "prompt": sample["arguments"][0][0],
        "generation": generation,
        "gold": sample["doc"]["answer"],
        "prediction": read(generation),
        "score": float(sample[metric]),
    }


def _choice_item(sample: Mapping[str, Any], metric: str) -> dict[str, Any]:
    doc = sample["doc"]
    loglikelihoods = [float(response[0]) for response in sample["filtered_resps"]]
    if not all(math.isfinite(x) for x in loglikelihoods):
        raise NumericalError(
            f"item {doc['id']}: expected finite log-likelihoods, got {loglikelihoods}; the student's weights "
            "have probably diverged: train with a lower learning rate"
        )
    per_character = [x / len(c) for x, c in zip(loglikelihoods, doc["choices"], strict=True)]
    predicted = max(range(len(per_character)), key=per_character.__getitem__)
    return {
        "id": str(doc["id"]),
        "prompt": sample["arguments"][0][0],
        "choices": list(doc["choices"]),
        "loglikelihoods_nats": loglikelihoods,
        "gold": doc["choices"][doc["label"]],
        "prediction": doc["choices"][predicted],
        "score": float(sample[metric]),
    }
