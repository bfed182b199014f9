"""A student that was trained to expect a prefix is asked with it: benchmarks, validation nats, exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.core.settings import EvalSettings
from compact_bench.evaluation.bridge import task_dependencies, task_key
from compact_bench.evaluation.cache import read_items
from compact_bench.evaluation.probes.answer_nats import answer_nats
from compact_bench.evaluation.task_files import asked_with
from compact_bench.runs.store.store import Store
from compact_bench.students.student import Student, load_student
from tests.tiny_suite import write_tiny_suite
from tests.unit.command import run_command

Folders = Callable[..., Path]
ROWS = [{"id": "one", "question": "How many?", "answer": "3"}]


def test_without_a_prefix_the_rows_are_the_same_object() -> None:
    benchmarks = {"svamp": ROWS}
    assert asked_with("", benchmarks) is benchmarks
    assert asked_with("predict: ", benchmarks) == {"svamp": [{**ROWS[0], "question": "predict: How many?"}]}
    assert ROWS[0]["question"] == "How many?"


def test_another_prefix_is_another_cache_entry(load_tiny: Callable[..., Student]) -> None:
    student, settings = load_tiny("llama", "chatml"), EvalSettings()
    keys = {
        task_key(task_dependencies(student, "svamp", asked_with(prefix, {"svamp": ROWS})["svamp"], settings))
        for prefix in ("", "predict: ", "answer: ")
    }
    assert len(keys) == 3


@pytest.fixture(scope="module")
def finished(
    student_folder: Folders, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, RunRecord]]:
    """A store with a run of SbS-KD and one of uniform."""
    folder = tmp_path_factory.mktemp("prefix")
    suite = write_tiny_suite(folder / "suite", str(student_folder()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPACT_BENCH_CACHE", str(folder / "cache"))
        for method in ("sbs_kd", "uniform"):
            words = [method, "--suite", suite, "--profile", "smoke", "--store", folder / "store"]
            run_quietly("run", *words, "--workers", "1")
    return folder, {r.key.method: r for r in Store(folder / "store").records()}


def run_quietly(*words: str | Path) -> None:
    """A command that must succeed."""
    from compact_bench.cli import main

    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert not ended.value.code


def test_benchmarks_are_asked_with_the_prefix(finished: tuple[Path, dict[str, RunRecord]]) -> None:
    folder, records = finished
    for method, prefix in (("sbs_kd", "predict: "), ("uniform", "")):
        record = records[method]
        assert record.status == "done", record.reason
        assert record.training["prompt_prefix"] == prefix
        for task, result in record.evaluations.items():
            place = Store(folder / "store").evaluations_dir
            items = read_items(place, record.weights["final"], result["cache_key"])
            assert items, task
            for item in items:
                assert ("<|im_start|>user\npredict: " in item["prompt"]) == bool(prefix)


def test_exports_and_validation_nats_have_it_too(
    finished: tuple[Path, dict[str, RunRecord]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from compact_bench.runs.session import Request, session_of_record

    folder, records = finished
    monkeypatch.setenv("COMPACT_BENCH_CACHE", str(folder / "cache"))
    record, store = records["sbs_kd"], folder / "store"
    place = tmp_path / "export"
    done = run_command(capsys, "export", record.key.hash, place, "--store", store)
    assert done.code == 0, done.err
    assert "'predict: '" in done.out
    for task in record.evaluations:
        lines = (place / "tasks" / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()
        assert all(json.loads(line)["question"].startswith("predict: ") for line in lines)
    student = load_student(str(place / "student"), dtype="float32", device="cpu")
    bench = session_of_record(record, Request("", "", folder / "cache", store))
    (question,) = bench.data.validation[:1]
    asked = answer_nats(student, [replace(question, text=f"predict: {question.text}")])
    plain = answer_nats(student, [question])
    kept = record.probes["validation_nats"]["after_question"]
    assert kept == pytest.approx(asked["after_question"], rel=1e-5)
    assert abs(kept - plain["after_question"]) > 1e-3
