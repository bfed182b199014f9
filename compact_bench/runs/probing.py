"""Measure a trained student with every registered probe; runs with the same weights share results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compact_bench.core.errors import PluginError
from compact_bench.core.files import remembered, write_sealed
from compact_bench.core.records import RESULTS_VERSION, fingerprint, plain
from compact_bench.core.settings import EvalSettings
from compact_bench.evaluation.probes.registry import PROBES, Probe, ProbeInputs
from compact_bench.evaluation.probes.validation_accuracy import answered
from compact_bench.runs.session import Session

if TYPE_CHECKING:
    from compact_bench.students.student import Student


def run_probes(
    session: Session,
    student: Student,
    settings: EvalSettings,
    report: Callable[[int, int, str], None],
    *,
    seed: int,
    weights_hash: str,
    prompt_prefix: str = "",
    steps_file: Path | None = None,
    trial: bool = False,
    since: float = 0.0,
) -> dict[str, Any]:
    """What a record keeps of its probes.

    Args:
        student: trained, with merged weights.
        report: called with (done, total, name).
        seed: the run's, which drew its training questions.
        prompt_prefix: what stands before every question that the student is asked.
        steps_file: the run's steps table, which a method may not have left; None where nothing was trained.
        trial: whether only the probes that judge trials are wanted.
        since: what was measured before this time, in seconds since the epoch, is measured again.

    Raises:
        CompactBenchError: a probe of this package fails. One of another package leaves why as its `reasons`.
    """
    data = session.data
    held_out = [replace(q, text=prompt_prefix + q.text) for q in data.validation]
    evaluations = session.store.evaluations_dir
    answers = partial(answered, weights_hash=weights_hash, cache_dir=evaluations, since=since)
    given = ProbeInputs(
        student,
        session.base,
        validation=held_out[: settings.validation_questions],
        passages=session.neutral_passages[: settings.drift_passages],
        training=data.training_of(seed),
        answers=lambda: answers(student, held_out[: settings.answered_questions], settings),
    )
    missing = {"validation": not given.validation, "passages": not given.passages}
    missing |= {"steps": steps_file is None, "truth": not data.has_truth}
    missing["answers"] = not (settings.validation_accuracy and held_out)
    results: dict[str, Any] = {}
    names = list(PROBES.sources())

    def entries(name: str, probe: Probe) -> Mapping[str, Any]:
        if (trial and not probe.in_trials) or any(missing[need] for need in probe.needs):
            return {}
        result = _measured(session, name, probe, given, weights_hash, steps_file, since)
        return {name: result} if probe.recorded is None else probe.recorded(result)

    for number, name in enumerate(names):
        report(number, len(names), name)
        try:
            # An earlier probe's entry stays what it is, whatever a later one calls its own.
            results = {**PROBES.call(name, partial(entries, name)), **results}
        except PluginError as error:
            results[name] = {"reasons": {"problem": str(error)}}
    return results


def _measured(
    session: Session,
    name: str,
    probe: Probe,
    given: ProbeInputs,
    weights_hash: str,
    steps_file: Path | None,
    since: float,
) -> Any:
    """A probe's result, computed unless an earlier run of the same weights and inputs left it."""
    given = replace(
        given,
        validation=given.validation if "validation" in probe.needs else (),
        passages=given.passages if "passages" in probe.needs else (),
        training=given.training if {"steps", "truth"} & set(probe.needs) else (),
    )
    if "steps" in probe.needs:
        # Not kept: it depends on the steps, and not on the weights they led to.
        import pandas as pd

        steps = pd.read_parquet(steps_file) if steps_file is not None and steps_file.is_file() else None
        return plain(probe.measure(replace(given, steps=steps)))
    if "answers" in probe.needs:
        # Kept with the evaluations, by all that an answer depends on.
        return plain(probe.measure(given))
    read: Any = [plain(part) for part in (given.passages, given.validation, given.training) if part]
    if len(read) < 2:
        # As results have been filed before a probe could read more than one thing.
        read = read[0] if read else None
    code = PROBES.code_mark(name)
    mark = [name, weights_hash, session.base_hash, read, RESULTS_VERSION, *([code] if code else [])]
    path = session.store.root / "probes" / f"{fingerprint(mark)}.json"
    if (value := remembered(path, since)) is None:
        value = plain(probe.measure(given))
        write_sealed(path, value)
    return value
