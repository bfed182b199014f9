"""Commands that look at finished runs, on one tiny store that is made once."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compact_bench.cli import main
from compact_bench.core.files import SEAL, seal_folder
from compact_bench.runs.store.store import Store
from tests.tiny_suite import write_tiny_suite
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def world(student_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a tiny suite and the finished runs of two methods."""
    folder = tmp_path_factory.mktemp("world")
    suite = write_tiny_suite(folder / "suite", str(student_folder()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMPACT_BENCH_CACHE", str(folder / "cache"))
        patch.setenv("COMPACT_BENCH_STORE", str(folder / "store"))
        patch.setenv("COMPACT_BENCH_RESULTS", str(folder))
        patch.setenv("COMPACT_BENCH_OFFLINE", "1")
        patch.delenv("COMPACT_BENCH_MIRROR", raising=False)
        patch.setenv("COLUMNS", "160")
        patch.chdir(folder)
        words = ["reproduce", "--suite", str(suite), "--profile", "smoke", "--methods", "zero_shot,compact"]
        with contextlib.suppress(SystemExit):
            main([*words, "--set", "learning_rate=0.05", "--threads", "1", "--workers", "1", "--quiet"])
        yield folder


def test_list_names_everything(world: Path, capsys: Capture) -> None:
    done = run_command(capsys, "list")
    assert done.code == 0
    for name in ("compact_released", "svamp", "strategyqa", "smollm2-135m-instruct", "tiny/smoke/compact@1"):
        assert name in done.out, name
    assert "zero_shot@1" not in run_command(capsys, "list", "methods").out


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("compact", ("arXiv 2601.13992v1", "uses gold answers", "temperature", "ours")),
        ("svamp", ("GPT-4o", "closed-book", "lite", "retention")),
        ("2", ("Best single teacher", "In-distribution")),
        ("settings", ("train.learning_rate", "lora.rank", "eval.batch_size", "method.teacher")),
        ("compact@1", ("optimiser steps", "drift_nats_per_token", "nats_after_question", "svamp")),
    ],
)
def test_show(world: Path, name: str, texts: tuple[str, ...], capsys: Capture) -> None:
    done = run_command(capsys, "show", name)
    assert done.code == 0, done.err
    for text in texts:
        assert text in done.out, text


def test_show_json_is_the_record(world: Path, capsys: Capture) -> None:
    shown = json.loads(run_command(capsys, "show", "compact@1", "--json").out)
    record = Store(world / "store").find_one("compact@1")
    assert shown["weights"] == record.weights and shown["key"]["method"] == "compact"


def test_compare_counts_and_shows_generations(world: Path, capsys: Capture) -> None:
    done = run_command(capsys, "compare", "zero_shot@1", "compact@1", "--task", "svamp,piqa")
    assert done.code == 0, done.err
    evaluations = Store(world / "store").find_one("compact@1").evaluations
    for task in ("svamp", "piqa"):
        for item in evaluations[task]["item_ids"]:
            assert f"{task} / {item}" in done.out
    assert "addsub" not in done.out
    assert "gold: Turn the handle." in done.out
    different = run_command(capsys, "compare", "zero_shot@1", "zero_shot@1", "--only-different")
    assert different.code == 0 and "svamp / " not in different.out
    wrong = run_command(capsys, "compare", "zero_shot@1", "compact@1", "--task", "svmp")
    assert wrong.code == 2 and "Did you mean 'svamp'" in wrong.err


def test_export_gives_the_evaluated_weights(world: Path, tmp_path: Path, capsys: Capture) -> None:
    from compact_bench.students.student import load_student, weights_hash

    folder = tmp_path / "exported"
    done = run_command(capsys, "export", "compact@1", folder)
    assert done.code == 0, done.err
    record = Store(world / "store").find_one("compact@1")
    student = load_student(str(folder / "student"), dtype="float32", device="cpu")
    assert weights_hash(student.model) == record.weights["final"] != record.weights["base"]
    rows = (folder / "tasks" / "svamp.jsonl").read_text().splitlines()
    assert [json.loads(row)["id"] for row in rows] == record.evaluations["svamp"]["item_ids"]
    assert "lm_eval" in done.out and str(folder / "student") in done.out
    again = run_command(capsys, "export", "compact@1", folder)
    assert again.code == 2 and "empty" in again.err


def test_export_refuses_other_weights(world: Path, tmp_path: Path, capsys: Capture) -> None:
    from safetensors.torch import load_file, save_file

    store = Store(world / "store")
    run = store.run_dir(store.find_one("compact@1").key.hash)
    file, seal = run / "final" / "adapters.safetensors", run / "final" / SEAL
    kept, kept_seal = file.read_bytes(), seal.read_bytes()
    tensors = load_file(file)
    name = next(name for name in tensors if "lora_B" in name)
    save_file({**tensors, name: tensors[name] + 1}, file)
    try:
        damaged = run_command(capsys, "export", "compact@1", tmp_path / "damaged")
        assert damaged.code == 7 and "is damaged" in damaged.err and "--rerun" in damaged.err
        # Whole files, but those of another student.
        seal_folder(run / "final", run / "steps.parquet")
        done = run_command(capsys, "export", "compact@1", tmp_path / "changed")
        assert done.code == 7 and "expected merged weights" in done.err and "--rerun" in done.err
    finally:
        file.write_bytes(kept)
        seal.write_bytes(kept_seal)


def test_list_checks_every_file_that_a_record_names(world: Path, capsys: Capture) -> None:
    store = Store(world / "store")
    whole = run_command(capsys, "list", "runs", "--check")
    assert whole.code == 0 and "2 run(s) checked: every file" in whole.out, whole.err
    record = store.find_one("compact@1")
    run = store.run_dir(record.key)
    task = next(iter(record.evaluations.values()))
    evaluation = store.evaluations_dir / record.weights["final"] / task["cache_key"]
    files = [run / name for name in record.files]
    assert {"adapters.safetensors", "report.json", "steps.parquet"} <= {path.name for path in files}
    files += [run / "final" / SEAL, evaluation / "result.json", evaluation / "items.jsonl", run / "done"]
    for file in files:
        kept = file.read_bytes()
        for damaged in (kept[:-1], b"", None):
            try:
                file.unlink() if damaged is None else file.write_bytes(damaged)
                done = run_command(capsys, "list", "runs", "--check")
            finally:
                file.write_bytes(kept)
            if file.name == "done" and damaged is None:
                # Without it the run is unfinished, which the list says; no record names anything.
                assert done.code == 0 and "1 run(s) checked" in done.out and "unfinished" in done.out
                continue
            assert done.code == 7 and "1 have damaged files" in done.err and "--rerun" in done.err, file
            assert record.key.hash in done.err
            assert file.name in done.err or file.name == "done"
    assert run_command(capsys, "list", "methods", "--check").code == 2


def test_the_check_leaves_out_what_another_process_is_at(world: Path, capsys: Capture) -> None:
    store = Store(world / "store")
    record = store.find_one("compact@1")
    file = store.run_dir(record.key) / "final" / "report.json"
    kept = file.read_bytes()
    try:
        file.write_bytes(b"{}")
        with store.lock(record.key):
            done = run_command(capsys, "list", "runs", "--check")
    finally:
        file.write_bytes(kept)
    assert done.code == 0 and "not checked, another process is at it" in done.out


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_explain_prints_what_the_function_returns(world: Path, variant: str, capsys: Capture) -> None:
    from compact_bench import explain, load_student
    from tests import tiny

    words = ("explain", "--suite", world / "suite" / "tiny.toml", "--profile", "smoke", "--question", "sum-1")
    done = run_command(capsys, *words, "--variant", variant, "--top", "2", "--threads", "1")
    assert done.code == 0, done.err
    folder = next(
        line for line in (world / "suite" / "tiny.toml").read_text().splitlines() if "student" in line
    )
    student = load_student(json.loads(folder.partition("=")[2]), dtype="float32", device="cpu")
    question = next(q for q in tiny.questions(6, 2) if q.id == "sum-1")
    report = explain(student, question, variant="paper" if variant == "paper" else "released")
    for value in (*report.adaptability, *report.difficulty, *report.teacher_weights):
        assert f"{value:.4f}" in done.out
    assert f"loss {report.loss:.4f}" in done.out and "[[" in done.out


def test_explain_reads_a_users_file_alone(world: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(
        json.dumps({"Question": "How many are 2 and 3?", "CoT": ["The answer is 5."], "Answer": "5"})
    )
    student = next((world / "suite").glob("*.toml"))
    done = run_command(
        capsys, "explain", file, "--suite", student, "--profile", "smoke", "--teachers", "deep"
    )
    assert done.code == 0, done.err
    assert "deep" in done.out and "How many are 2 and 3?" in done.out
    wrong = run_command(capsys, "explain", file, "--suite", student, "--profile", "smoke", "--question", "x")
    assert wrong.code == 2 and "unknown question" in wrong.err


def test_doctor_says_what_will_not_work(world: Path, capsys: Capture) -> None:
    found = json.loads(run_command(capsys, "doctor", "--offline", "--json").out)
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert states["torch"] == "ok" and states["suite svamp"] == "warning"
    assert any(line.startswith("suite svamp") and "offline" in line for line in found["fails"])
    assert any(line.startswith("students from the hub") for line in found["fails"])
    assert "a student in a local folder" in found["works"]
    shown = run_command(capsys, "doctor", "--offline", "--mirror", world / "nowhere")
    # The table breaks a line where the path happens to end: look at its words alone.
    words = " ".join("".join(c if c.isprintable() and c not in "│" else " " for c in shown.out).split())
    assert shown.code == 0 and "any run: mirror must be mended first" in words
    found = run_command(capsys, "doctor", "--offline", "--json", "--mirror", world / "nowhere")
    (mirror,) = [check for check in json.loads(found.out)["checks"] if check["name"] == "mirror"]
    assert mirror["state"] == "missing" and mirror["found"].endswith("is no folder")


def test_gc_lists_first_and_keeps_what_runs_need(world: Path, capsys: Capture) -> None:
    store = Store(world / "store")
    folder = store.run_dir(store.find_one("compact@1").key.hash)
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "tensors").write_bytes(b"x" * 1000)
    listed = run_command(capsys, "gc", "--dry-run")
    assert "checkpoint-1" in listed.out and "would be removed" in listed.out
    assert (folder / "checkpoint-1").exists()
    assert run_command(capsys, "gc").code == 0
    assert not (folder / "checkpoint-1").exists()
    assert run_command(capsys, "compare", "zero_shot@1", "compact@1").code == 0


def test_prefetch_lists_what_cannot_be_had(world: Path, capsys: Capture) -> None:
    done = run_command(capsys, "prefetch", "--suite", "svamp", "--offline")
    assert done.code == 3 and "SVAMP.json" in done.err and "SVAMP_only_ans.json" in done.err
    tiny = run_command(capsys, "prefetch", "--suite", world / "suite" / "tiny.toml", "--profile", "smoke")
    assert tiny.code == 0 and "student" in tiny.err
