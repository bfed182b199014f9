"""The installed wheel, outside the checkout: from a user's files to a table, and again without training."""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from toy import write_suite

DISTRIBUTION, PACKAGE = "compact-bench", "compact_bench"
CHECKOUT = Path(os.environ.get("COMPACT_BENCH_CHECKOUT") or Path(__file__).resolve().parents[2])
DATA_SUFFIXES = {".jinja", ".json", ".jsonl", ".py", ".safetensors", ".toml", ".txt", ".typed", ".yaml"}
METHODS = {"zero_shot", "single_teacher", "uniform", "compact", "compact_released", "sbs_kd", "mcc_kd", "mot"}
METHODS |= {"right_filter", "majority_filter", "constant_weights", "shuffled_weights"}
UNSUPPORTED = {"edit", "committee"}
"""What the toy suite lacks pairs, reviews or feedback for."""
RESULTS = "compact_bench_results"


@dataclass(frozen=True)
class Reproduced:
    """What one `reproduce` left: its folder, its run records, its output and how long it took."""

    folder: Path
    records: list[dict[str, Any]]
    output: str
    seconds: float


def run_command(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m compact_bench WORDS` in a folder, with a private cache and no hub."""
    settings = {
        "COMPACT_BENCH_CACHE": str(cwd / "cache"),
        "COMPACT_BENCH_STORE": str(cwd / "store"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-I", "-m", "compact_bench", *words]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def read_records(folder: Path) -> list[dict[str, Any]]:
    """All run records of a store, as plain data."""
    files = sorted((folder / "store" / "runs").glob("*/record.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def reproduce(folder: Path) -> Reproduced:
    """Run the table of the toy suite."""
    started = time.monotonic()
    words = ("reproduce", "--table", "2", "--suite", "toy.toml", "--profile", "smoke")
    done = run_command(*words, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return Reproduced(folder, read_records(folder), done.stdout + done.stderr, time.monotonic() - started)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Reproduced:
    """The toy suite's table, reproduced once."""
    folder = tmp_path_factory.mktemp("user")
    write_suite(folder)
    return reproduce(folder)


def test_the_package_under_test_is_the_installed_one() -> None:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None
    assert (
        CHECKOUT not in Path(spec.origin).resolve().parents or ".tox" in spec.origin or ".ci" in spec.origin
    )
    assert "site-packages" in Path(spec.origin).parts


def test_the_wheel_brings_every_file_under_one_top_level_name() -> None:
    files = importlib.metadata.files(DISTRIBUTION)
    assert files
    names = {file.as_posix() for file in files}
    tops = {file.parts[0] for file in files if not file.parts[0].endswith(".dist-info")}
    assert {top for top in tops if top not in ("..", "__pycache__")} == {"compact_bench"}
    homes = {
        "compact_bench": "compact_bench",
        "baselines": "compact_bench/_baselines",
        "paper_tables": "compact_bench/_paper_tables",
    }
    expected = {
        f"{home}/{file.relative_to(CHECKOUT / source).as_posix()}"
        for source, home in homes.items()
        for file in (CHECKOUT / source).rglob("*")
        if file.suffix in DATA_SUFFIXES and "__pycache__" not in file.parts
    }
    assert expected, "the checkout's files were not found"
    missing = sorted(expected - names)
    assert not missing, missing


def test_every_method_ran_and_the_trained_ones_trained(first: Reproduced) -> None:
    assert {r["key"]["method"] for r in first.records if r["status"] == "done"} == METHODS
    assert {r["key"]["method"]: r["status"] for r in first.records if r["status"] != "done"} == dict.fromkeys(
        UNSUPPORTED, "unsupported"
    )
    made = [r for r in first.records if r["status"] == "done"]
    base = {record["weights"]["base"] for record in made}
    assert len(base) == 1
    for record in made:
        trained = record["key"]["method"] != "zero_shot"
        assert (record["training"]["optimiser_steps"] > 0) is trained, record["key"]["method"]
        assert (record["weights"]["final"] not in base) is trained, record["key"]["method"]
    # The two filters may keep the same rationales.
    finals = [r["weights"]["final"] for r in made if r["key"]["method"] != "majority_filter"]
    assert len(set(finals)) == len(finals)


def test_the_tables_hold_the_numbers_of_the_records(first: Reproduced) -> None:
    text = (first.folder / RESULTS / "RESULTS.md").read_text(encoding="utf-8")
    assert "COMPACT" in text and "Zero-shot" in text
    assert (first.folder / RESULTS / "RESULTS.tex").read_text(encoding="utf-8").count("\\\\") > 5
    with (first.folder / RESULTS / "RESULTS.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cells = {(row["row"], row["column"]): row for row in rows}
    checked = set()
    for record in (r for r in first.records if r["status"] == "done"):
        key = record["key"]
        row = f"{key['method']}[{key['variant']}]" if key["variant"] else key["method"]
        for task, result in record["evaluations"].items():
            assert len(result["items"]) == result["n"] == 4
            assert float(cells[row, task]["mean"]) == pytest.approx(sum(result["items"]) / 4), (row, task)
            checked.add((row, task))
        drift = float(cells[row, "drift_nats_per_token"]["mean"])
        assert drift == pytest.approx(record["probes"]["drift_nats_per_token"], rel=1e-4)
        assert (drift > 1e-4) is (key["method"] != "zero_shot")
    assert len(checked) == 13 * 3
    assert "unsupported" in cells["edit", "svamp"]["reason"]
    assert any(float(cells[key]["mean"]) > 0 for key in checked)


def test_the_same_command_again_trains_nothing(first: Reproduced) -> None:
    before = {f: f.stat().st_mtime_ns for f in (first.folder / "store" / "runs").glob("*/record.json")}
    table = (first.folder / RESULTS / "RESULTS.csv").read_bytes()
    again = reproduce(first.folder)
    after = {f: f.stat().st_mtime_ns for f in (first.folder / "store" / "runs").glob("*/record.json")}
    assert after == before
    assert (first.folder / RESULTS / "RESULTS.csv").read_bytes() == table
    assert again.seconds < 30


def test_a_faulty_file_gets_one_message_and_no_run(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    lines = (tmp_path / "train.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(lines[2])
    row["rationales"]["ada"] = " "
    lines[2] = json.dumps(row)
    lines[5] = lines[5][:40]
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = run_command("reproduce", "--suite", str(suite), "--profile", "smoke", cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "row 3" in done.stderr and "row 6" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert read_records(tmp_path) == []


@pytest.mark.parametrize(
    "command", ["reproduce", "run", "report", "explain", "compare", "export", "doctor", "gc"]
)
def test_help_shows_an_example(command: str, tmp_path: Path) -> None:
    done = run_command(command, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout


def test_the_console_script_is_the_module(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("compact-bench")
    by_script = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=True).stdout
    by_module = run_command("--version", cwd=tmp_path).stdout
    assert by_script == by_module == f"compact-bench {importlib.metadata.version(DISTRIBUTION)}\n"


def test_the_default_suite_needs_nothing_but_the_wheel(tmp_path: Path) -> None:
    done = run_command("run", "uniform", "--profile", "smoke", cwd=tmp_path, COMPACT_BENCH_OFFLINE="1")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = read_records(tmp_path)
    assert (record["key"]["suite"], record["key"]["student"]) == ("lab", "lab-student")
    assert record["training"]["optimiser_steps"] > 0
    assert record["provenance"]["suite_notes"]["teacher_facts"]["questions"] > 8
    assert {len(result["items"]) for result in record["evaluations"].values()} == {4}


@pytest.mark.slow
def test_the_svamp_suite_at_smoke_size(tmp_path: Path) -> None:
    mirror = os.environ.get("COMPACT_BENCH_MIRROR")
    if not mirror:
        pytest.skip("needs COMPACT_BENCH_MIRROR, a folder with the upstream files")
    words = ("reproduce", "--table", "2", "--suite", "svamp", "--profile", "smoke")
    cache = os.environ.get("COMPACT_BENCH_CACHE", str(tmp_path / "cache"))
    done = run_command(*words, "--mirror", mirror, cwd=tmp_path, COMPACT_BENCH_CACHE=cache)
    assert done.returncode == 0, done.stdout + done.stderr
    records = read_records(tmp_path)
    assert {r["key"]["method"] for r in records if r["status"] == "done"} == METHODS
    assert {r["key"]["method"] for r in records if r["status"] == "unsupported"} == UNSUPPORTED
    trained = [r for r in records if r["status"] == "done" and r["key"]["method"] != "zero_shot"]
    assert all(r["training"]["optimiser_steps"] > 0 for r in trained)
