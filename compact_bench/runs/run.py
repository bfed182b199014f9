"""One run from its key to its record: train, merge, evaluate, probe, store.

A run killed at any instant continues when it is executed again: the loop has its own checkpoints, final
weights are kept as soon as training ends, every evaluated task and every probe is cached on its own.
"""

from __future__ import annotations

import contextlib
import json
import random
import resource
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pydantic import ValidationError

from compact_bench.core.errors import (
    CompactBenchError,
    ConfigError,
    DamageError,
    NumericalError,
    StoreError,
    UnusableStoreError,
)
from compact_bench.core.files import say_made_again, unusable, usable_place, write_atomic
from compact_bench.core.progress import Ticker
from compact_bench.core.provenance import collect_provenance
from compact_bench.core.records import RunKey, RunRecord, RunStatus, fingerprint, plain
from compact_bench.core.settings import RunSettings
from compact_bench.data.suites.teacher_statistics import answer_counts, right_answers
from compact_bench.methods.code import method_code
from compact_bench.methods.contract import Method, refusal
from compact_bench.methods.registry import get_method, make_method, method_sources
from compact_bench.runs.probing import run_probes
from compact_bench.runs.required import MADE_FROM, as_required, made_from, required_records, unmet
from compact_bench.runs.session import Session
from compact_bench.runs.store.again import FOLDER, asked_at, clear_training, settle
from compact_bench.training.final_weights import STEPS_FILE, kept_files, load_final, save_final
from compact_bench.training.protocol import FitReport, RunContext, derive_seed

if TYPE_CHECKING:
    from torch import nn

    from compact_bench.evaluation.task_results import EvalProgress, TaskResult
    from compact_bench.students.student import Student

ERROR_LOG = "error.log"


@dataclass(frozen=True)
class _Trained:
    """A student after training: merged and plain, or the session's base itself when nothing was trained.

    Attributes:
        changed: whether any weight is another than the base's.
    """

    student: Student
    report: FitReport
    weights_hash: str
    changed: bool


@dataclass(frozen=True)
class _Clock:
    """When a process began with a run: in seconds since the epoch, and of its processor time."""

    wall: float = field(default_factory=time.time)
    cpu: float = field(default_factory=time.process_time)


@dataclass(frozen=True)
class _Place:
    """Where a run works, and from when on (seconds since the epoch) what is cached counts."""

    directory: Path
    since: float = 0.0


def execute_run(session: Session, key: RunKey, ticker: Ticker, *, again: bool = False) -> RunRecord:
    """Execute one run, or what is left of it, and store its record. The caller holds the run's lock.

    Args:
        session: the suite, data and base student that runs share.
        again: whether the run has a record and is made anew, as `again.ask_again` asked; the old record stays
            until the new one is whole, and for good if the run fails.

    Returns:
        The record, stored but for that case: "done", "untrained", "unsupported", or "failed" with the error's
        first line.

    Raises:
        DataError, StudentError: the data or the base student, which every run needs, cannot be loaded.
        StoreError: the record cannot be stored, or the method's code is no longer what the key says.
    """
    started = _Clock()
    run = session.store.run_dir(key)
    place = _Place(run / FOLDER, asked_at(run) or 0.0) if again else _Place(run)
    with usable_place(place.directory):
        place.directory.mkdir(parents=True, exist_ok=True)
    session.load_shared()
    _expect_code(key)
    try:
        with _as_own_errors():
            method = make_method(key.method, dict(key.settings["method"]))
            reason = refusal(method, session.suite_info)
            if reason is not None:
                record = _record(session, key, "unsupported", started, reason=reason)
            elif (lack := unmet(required_records(session.store, key))) is not None:
                record = _ended_alike(session, key, *lack, started)
            else:
                record = _measured(session, key, method, place, ticker, started)
    except UnusableStoreError:
        raise
    except CompactBenchError as error:
        log = "".join(traceback.format_exception(error))
        write_atomic(place.directory / ERROR_LOG, log.encode())
        # That a run diverged is known for good; anything else may go better another time.
        diverged = {"diverged": True} if isinstance(error, NumericalError) else {}
        record = _record(session, key, "failed", started, reason=_first_line(error), training=diverged)
    if again and record.status == "failed":
        return record
    session.store.save(key, record)
    settle(run)
    return record


def _ended_alike(
    session: Session, key: RunKey, required: RunRecord, reason: str, started: _Clock
) -> RunRecord:
    """The record of a run that cannot be made, as the run that it requires did not end well."""
    # What is known for good of that run is so of this one, and what may go better is tried again with it.
    diverged = {"diverged": True} if required.training.get("diverged") else {}
    return _record(session, key, required.status, started, reason=reason, training=diverged)


def _expect_code(key: RunKey) -> None:
    """The key was made by another process, or a while ago: nothing may run under the name of other code."""
    try:
        config = get_method(key.method).config_type.model_validate(key.settings["method"])
        now = method_code(method_sources()[key.method], config)
    except ConfigError:
        # That the method cannot be imported is the outcome of its run.
        return
    except ValidationError:
        now = "other settings"
    if key.code and now != key.code:
        raise StoreError(
            f"run {key.name}: the code of method {key.method}, or a file that its settings name, changed "
            "while this command was at work. Give the same command again: it plans with what is there now."
        )


@contextlib.contextmanager
def _as_own_errors() -> Iterator[None]:
    """Any exception as a `CompactBenchError`: whatever a method raises ends its run and no other.

    Raises:
        UnusableStoreError: nothing can be written any more, which is no fault of the run.
    """
    try:
        yield
    except CompactBenchError:
        raise
    except Exception as error:
        if (place := unusable(error)) is not None:
            raise place from error
        raise CompactBenchError(f"{type(error).__name__}: {_first_line(error)}") from error


def _measured(
    session: Session, key: RunKey, method: Method, place: _Place, ticker: Ticker, started: _Clock
) -> RunRecord:
    directory = place.directory
    settings = RunSettings.model_validate(key.settings)
    try:
        trained = _train(session, key, settings, method, directory, ticker)
    except DamageError as error:
        say_made_again(error)
        clear_training(directory)
        trained = _train(session, key, settings, method, directory, ticker)
    # So that what is drawn from here on does not depend on whether this process trained.
    seed_everything(key.seed)
    report = trained.report
    training = {
        **{k: v for k, v in asdict(report).items() if k not in ("extra", "supervised_tokens")},
        "tokens": report.supervised_tokens,
        "extra": plain(report.extra),
        "epochs": settings.train.epochs if report.optimiser_steps else 0,
        **_questions_facts(session, key.seed),
    }
    weights = {"final": trained.weights_hash, "base": session.base_hash}
    if method.card.min_teachers and (reason := _untrained_reason(session, key.seed, trained)):
        # Not evaluated: the base's numbers under this method's name would read as what the method does.
        parts = {"training": {**training, **peak_memory()}, "weights": weights}
        return _record(session, key, "untrained", started, reason=reason, **parts)
    evaluations = _evaluate(session, trained, settings, ticker, place.since)
    probes = run_probes(
        session,
        trained.student,
        settings.eval,
        ticker.phase("probing"),
        seed=key.seed,
        weights_hash=trained.weights_hash,
        prompt_prefix=report.prompt_prefix,
        steps_file=directory / STEPS_FILE if report.optimiser_steps else None,
        trial=key.is_trial,
        since=place.since,
    )
    return _record(
        session,
        key,
        "done",
        started,
        training={**training, **peak_memory()},
        weights=weights,
        evaluations={task: result.plain() for task, result in evaluations.items()},
        probes=probes,
        files=kept_files(directory),
    )


def _train(
    session: Session, key: RunKey, settings: RunSettings, method: Method, directory: Path, ticker: Ticker
) -> _Trained:
    from compact_bench.students.student import attach_lora, merge_adapters, weights_hash
    from compact_bench.training.checkpoints import clear_checkpoints

    seed_everything(key.seed)
    student = session.fresh_student()
    attach_lora(student, settings.lora, derive_seed(key.seed, "init"))
    report = load_final(student, directory, run=key.hash)
    if report is None:
        with _open_log(directory / "log.jsonl") as stream:

            def log(metrics: Mapping[str, Any]) -> None:
                stream.write(json.dumps({"time": round(time.time(), 3), **plain(metrics)}) + "\n")
                stream.flush()

            progress, held_out = ticker.phase("training"), session.data.validation
            needed = required_records(session.store, key)
            required = as_required(session.store, needed)
            context = RunContext(directory, settings, key.seed, log, progress, held_out, required)
            report = method.fit(student, session.data.training_of(key.seed), context)
            if needed:
                report = replace(report, extra={**report.extra, MADE_FROM: made_from(needed)})
        save_final(student, session.base.model, report, directory, run=key.hash)
    clear_checkpoints(directory)
    if report.optimiser_steps == 0:
        # The base's own bits: merging untrained adapters could turn a -0.0 into 0.0.
        return _Trained(session.base, report, session.base_hash, changed=False)
    merge_adapters(student)
    student.model.eval()
    changed = not _same_weights(student.model, session.base.model)
    return _Trained(student, report, weights_hash(student.model), changed)


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether every parameter has the other's values, whatever the number format."""
    import torch

    others = dict(other.named_parameters())
    return all(torch.equal(p.float(), others[name].float()) for name, p in one.named_parameters())


def _questions_facts(session: Session, seed: int) -> dict[str, Any]:
    """How many training questions a run had, which, and of how many its seed drew them."""
    data = session.data
    ids = [question.id for question in data.training_of(seed)]
    drawn = {} if data.drawn is None else {"drawn_from": len(data.training)}
    return {"questions": len(ids), "question_ids_sha256": fingerprint(sorted(ids), 64), **drawn}


def _untrained_reason(session: Session, seed: int, trained: _Trained) -> str | None:
    """Why a run of a method that trains is the base student under another name; None where it is not."""
    report = trained.report
    if not report.optimiser_steps:
        return "it made no optimiser step"
    if report.offered and not report.used:
        counts = answer_counts(session.data.training_of(seed)).values()
        total = sum(count["rationales"] for count in counts)
        right = sum(map(right_answers, counts))
        unread = sum(count["no_answer"] for count in counts)
        return (
            f"trained on nothing: the method used none of the {total:,} rationales; {right:,} of them state "
            f"the gold answer, and {unread:,} no answer that can be read"
        )
    if not trained.changed:
        return f"{report.optimiser_steps} optimiser step(s) left every weight as the base's"
    return None


def _open_log(path: Path) -> TextIO:
    """The run's log, to be continued; a line that a kill cut short is ended first."""
    stream = path.open("a", encoding="utf-8")
    if stream.tell() and not path.read_bytes().endswith(b"\n"):
        stream.write("\n")
    return stream


def seed_everything(seed: int) -> None:
    """Seed every global generator, for methods and libraries that draw from one."""
    import numpy as np
    import torch

    value = derive_seed(seed, "global")
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def _evaluate(
    session: Session, trained: _Trained, settings: RunSettings, ticker: Ticker, since: float
) -> Mapping[str, TaskResult]:
    from compact_bench.evaluation.bridge import evaluate
    from compact_bench.evaluation.task_files import asked_with

    report = ticker.phase("evaluating")

    def on_progress(event: EvalProgress) -> None:
        done = event.index if event.state in ("done", "cached") else event.index - 1
        within = f" {event.done} of {event.requests}" if event.requests else ""
        why = f", plain harness: {event.reason}" if event.reason else ""
        report(done, event.total, f"{event.task} ({event.state}{within}{why})")

    benchmarks = session.benchmarks_of(settings)
    return evaluate(
        trained.student,
        asked_with(trained.report.prompt_prefix, benchmarks),
        settings.eval,
        weights_hash=trained.weights_hash,
        cache_dir=session.store.evaluations_dir,
        since=since,
        on_progress=on_progress,
    )


def _record(
    session: Session, key: RunKey, status: RunStatus, started: _Clock, *, reason: str = "", **parts: Any
) -> RunRecord:
    from compact_bench.core.hardware import choose_compute_dtype

    data = session.data
    training = dict(parts.pop("training", {}))
    training["excluded"] = [{"question_id": f.question_id, "problem": str(f)} for f in data.excluded]
    finished = time.time()
    provenance = {
        **collect_provenance(device=str(session.base.device), dtype=str(session.base.dtype)),
        "training_dtype": choose_compute_dtype(key.settings["train"]["dtype"], session.base.device),
        "data_fingerprint": data.fingerprint,
        "student_revision": key.student_revision,
        "suite_notes": plain(data.notes),
        "request": session.recorded_request,
        "started": started.wall,
        "finished": finished,
        "seconds": finished - started.wall,
        "cpu_seconds": time.process_time() - started.cpu,
    }
    return RunRecord(key=key, status=status, reason=reason, training=training, provenance=provenance, **parts)


def peak_memory() -> dict[str, int]:
    """Largest memory of this process so far, in bytes: of the host, and of the GPU where there is one."""
    import torch

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    memory = {"peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if torch.cuda.is_available():
        memory["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated()
    return memory


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).strip().splitlines() if line.strip()), "no message")
