"""A method in a package of its own, made by `new`, built and installed in a fresh environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from toy import write_suite

NAME, BROKEN = "brevity", "broken_on_purpose"


@dataclass(frozen=True)
class Fresh:
    """A fresh environment with both packages: its Python, and the folder they were made in."""

    python: Path
    folder: Path

    def command(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """`python -m compact_bench WORDS` there."""
        return run([str(self.python), "-I", "-m", "compact_bench", *words], cwd or self.folder)


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """A process with a private cache and store, and without the hub or a package index."""
    settings = {
        "COMPACT_BENCH_CACHE": str(cwd / "cache"),
        "COMPACT_BENCH_STORE": str(cwd / "store"),
        "COLUMNS": "200",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PIP_NO_INDEX": "1",
    }
    environment = {**os.environ, **settings}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def done(command: list[str], cwd: Path) -> str:
    """Standard output of a process that must succeed."""
    found = run(command, cwd)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """Two packages made by `new`, one of them broken afterwards, as wheels in an environment of their own."""
    folder = tmp_path_factory.mktemp("plugins")
    for name in (NAME, BROKEN):
        done([sys.executable, "-I", "-m", "compact_bench", "new", name, "--package"], folder)
    broken = folder / "compact-bench-broken-on-purpose" / "src" / f"compact_bench_{BROKEN}" / "method.py"
    broken.write_text('raise RuntimeError("this package is broken")\n', encoding="utf-8")
    packages = [str(path) for path in sorted(folder.glob("compact-bench-*"))]
    assert len(packages) == 2
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    done([*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", *packages], folder)
    done([sys.executable, "-m", "venv", "--without-pip", "env"], folder)
    python = folder / "env" / "bin" / "python"
    home = done([str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], folder)
    # What is installed already is seen from there, so that nothing has to be fetched.
    line = f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n"
    (Path(home.strip()) / "dependencies.pth").write_text(line, encoding="utf-8")
    wheels = [str(path) for path in sorted((folder / "dist").glob("*.whl"))]
    done([*pip, "--python", str(python), "install", "-q", "--no-deps", *wheels], folder)
    return Fresh(python, folder)


def test_list_names_both_and_says_what_is_wrong_with_one(fresh: Fresh) -> None:
    found = fresh.command("list", "methods")
    assert found.returncode == 0, found.stderr
    lines = {line.split("│")[1].strip(): line for line in found.stdout.splitlines() if line.count("│") > 2}
    assert "compact-bench-brevity" in lines[NAME] and f"see show {NAME}" in lines[NAME]
    assert "this package is broken" not in found.stdout, "nobody asked for its code"
    assert "weighted by brevity" in fresh.command("show", NAME).stdout
    broken = fresh.command("show", BROKEN)
    assert broken.returncode == 2 and "this package is broken" in " ".join(broken.stderr.split())
    assert "Uniform" in lines["uniform"]


def test_check_passes_one_and_fails_the_other_alone(fresh: Fresh) -> None:
    found = fresh.command("check", NAME, BROKEN)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "1 of 2 method(s) keep the contract" in found.stdout
    assert "this package is broken" in " ".join(found.stdout.replace("│", " ").split())
    assert "Traceback" not in found.stdout + found.stderr


def test_its_own_tests_pass_there(fresh: Fresh) -> None:
    tests = fresh.folder / "compact-bench-brevity"
    found = done([str(fresh.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], tests)
    assert " passed" in found and "failed" not in found


def test_reproduce_plans_it_without_an_edit(fresh: Fresh) -> None:
    found = fresh.command("reproduce", "--methods", f"{NAME},uniform", "--profile", "smoke", "--dry-run")
    assert found.returncode == 0, found.stdout + found.stderr
    plan = found.stdout + found.stderr
    assert "Brevity" in plan and "Uniform weights" in plan and "2 of 2 runs" in plan


def test_it_is_in_every_form_of_the_table(fresh: Fresh, tmp_path: Path) -> None:
    write_suite(tmp_path)
    words = ("reproduce", "--table", "2", "--suite", "toy.toml", "--profile", "smoke")
    found = fresh.command(*words, "--methods", f"{NAME},zero_shot", cwd=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr
    records = [json.loads(path.read_text()) for path in (tmp_path / "store" / "runs").glob("*/record.json")]
    assert {(r["key"]["method"], r["status"]) for r in records} == {(NAME, "done"), ("zero_shot", "done")}
    for ending in ("md", "csv", "tex"):
        assert "Brevity" in (tmp_path / "compact_bench_results" / f"RESULTS.{ending}").read_text(
            encoding="utf-8"
        ), ending
