"""The examples of docs/extending.md, run as a package of their own and as files of a checkout."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.core.registry import installed_entry_points
from compact_bench.data.files.formats import FORMATS
from compact_bench.data.suites import load_spec, suite_names
from compact_bench.methods.checks import check_method
from compact_bench.methods.registry import method_sources
from compact_bench.results.tables.spec import load_table_spec, table_names
from compact_bench.students.student import LAB_STUDENT, PACKAGED_STUDENT
from tests.unit.command import run_command

ROOT = Path(__file__).resolve().parents[3]
WORDS = ("reproduce", "--suite", "riddles", "--profile", "smoke", "--table", "riddles", "--threads", "1")
PACKAGE = "riddles_bench"


@dataclass(frozen=True)
class Example:
    """A file of the document: its name in a package, its path in a checkout, the registry's file, or ""."""

    name: str
    checkout: str
    registry: str
    text: str


def examples() -> list[Example]:
    document = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    found = re.findall(r"^<!-- file: (.*?) -->\n```\w+\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    listed = []
    for head, text in found:
        name, *rest = head.split("; ")
        places = dict(part.split(": ") for part in rest)
        listed.append(Example(name, places.get("checkout", ""), places.get("registry", ""), text))
    assert len(listed) == document.count("<!-- file:") == 16
    return listed


def entry_points() -> dict[str, dict[str, str]]:
    project = tomllib.loads(next(e.text for e in examples() if e.name == "pyproject.toml"))
    found: dict[str, dict[str, str]] = project["project"]["entry-points"]
    return found


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The document's package, installed into a folder of the test."""
    site = tmp_path / "site"
    info = site / f"{PACKAGE}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / PACKAGE).mkdir()
    (site / PACKAGE / "__init__.py").write_text("")
    for example in examples():
        (site / PACKAGE / example.name).write_text(example.text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: riddles-bench\nVersion: 1.0\n")
    groups = entry_points().items()
    lines = [f"[{g}]\n" + "".join(f"{n} = {v}\n" for n, v in points.items()) for g, points in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))
    write_broken_package(site)
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    forget()
    yield site / PACKAGE
    monkeypatch.undo()
    forget()
    for name in [name for name in sys.modules if name.split(".")[0] in (PACKAGE, "broken_bench")]:
        del sys.modules[name]


def write_broken_package(site: Path) -> None:
    """A second package: what it brings cannot be imported or read, fails, or takes a name that is taken."""
    info = site / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[compact_bench.data_files]\nbroken = broken_bench\nlost = nowhere_at_all\n"
        "[compact_bench.formats]\nmangled = broken_bench.missing:x\n"
        "[compact_bench.probes]\nunlucky = broken_bench.missing:x\ndrift = broken_bench:FAILING\n"
        "failing = broken_bench:FAILING\nodd = broken_bench:fail\n"
        "[compact_bench.figures]\nfailing = broken_bench:LUCK\n"
        "truth_over_training = broken_bench:LUCK\nmistaken = broken_bench:fail\n"
    )
    (site / "broken_bench").mkdir()
    (site / "broken_bench" / "__init__.py").write_text(
        "from compact_bench import Figure, Probe\n\n\n"
        "def fail(*given):\n    raise RuntimeError('no such luck')\n\n\n"
        "FAILING = Probe(fail)\nLUCK = Figure(fail, title='Luck', heading='Luck')\n"
    )
    (site / "broken_bench" / "table_broken.toml").write_text("number =")
    (site / "broken_bench" / "suite_svamp.toml").write_text("")


def forget() -> None:
    installed_entry_points.cache_clear()
    method_sources.cache_clear()


@pytest.fixture
def student(suite: Path, student_folder: Callable[..., Path]) -> str:
    """A tiny student; the suite fixture sets the test's own store, cache and working folder."""
    return str(student_folder())


def check_results(folder: Path) -> None:
    text = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert "runs: 4 done" in text, text
    assert "Uniform weights, SGD" in text
    page = (folder / "results" / "table_riddles.md").read_text(encoding="utf-8")
    assert "Uniform weights, SGD | 1" in page and "Entropy, nats" in page
    assert "### Entropy of the first token" in text
    assert (folder / "entropy_by_seed.png").stat().st_size > 1000
    records = [json.loads(p.read_text()) for p in (folder / "store").rglob("record.json")]
    assert {record["probes"]["entropy"]["value"] > 0.0 for record in records} == {True}
    for record in records:
        assert record["evaluations"]["riddles"]["n"] == 2
        units = record["evaluations"]["units"]
        assert (units["metric"], units["n"], set(units["others"])) == ("right_unit", 2, {"right_amount"})
    by_method = {r["key"]["method"]: r["weights"]["final"] for r in records}
    assert len(set(by_method.values())) == 4


def test_the_examples_work_as_a_package(
    package: Path, student: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_command(capsys, *WORDS, "--student", student)
    assert done.code == 0, done.err
    check_results(tmp_path)
    # The broken package harms nothing but what is asked of it, and says so by name.
    probes = [json.loads(p.read_text())["probes"] for p in (tmp_path / "store").rglob("record.json")]
    for found in probes:
        problems = {name: found[name]["reasons"]["problem"] for name in ("unlucky", "failing", "odd")}
        assert "probe 'unlucky' (of broken) cannot be imported" in problems["unlucky"]
        assert "probe 'failing' (of broken) failed: RuntimeError: no such luck" in problems["failing"]
        assert "expected a Probe" in problems["odd"]
        assert "also that of a probe of compact_bench" in found["drift@broken"]["reasons"]["problem"]
        assert found["drift_nats_per_token"] >= 0.0 and found["weight_change"] >= 0.0
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "Not drawn: figure 'failing' (of broken) failed: RuntimeError: no such luck" in text
    assert "Not drawn: figure 'mistaken' (of broken): expected a Figure, got" in text
    assert "Not drawn: figure 'truth_over_training@broken' (of broken) cannot be used: its name" in text
    assert "broken" not in table_names() and "svamp@broken" not in suite_names()
    assert load_spec("svamp").name == "svamp"
    # The test passes a student of its own, so that it needs no download; the document's must exist too.
    assert load_spec("riddles").student in (LAB_STUDENT, PACKAGED_STUDENT)
    for name, words in (("broken", "table_broken.toml: expected TOML"), ("ridles", "Did you mean 'riddles'")):
        with pytest.raises(ConfigError, match=words):
            load_table_spec(name)
    with pytest.raises(ConfigError, match=r"benchmark format .mangled. \(of broken\) cannot be imported"):
        FORMATS.get("mangled")
    listed = run_command(capsys, "list", "tables")
    assert listed.code == 0 and "riddles" in listed.out
    assert "cannot be used: table_broken.toml: expected TOML" in " ".join(listed.out.split())
    listed = run_command(capsys, "list", "suites")
    assert "svamp@broken" in listed.out and "also that of a suite of" in listed.out
    shown = run_command(capsys, "show", "table_broken")
    assert shown.code == 2 and "expected TOML" in shown.err
    listed = run_command(capsys, "list", "extensions")
    assert listed.code == 0, listed.err
    rows = [re.split(r"\s*[│|]\s*", line)[1:4] for line in listed.out.splitlines()]
    for kind, name in (
        ("probe", "entropy"),
        ("benchmark format", "riddle"),
        ("answer format", "letter"),
        ("figure", "entropy_by_seed"),
        ("task", "riddles"),
    ):
        assert [kind, name, "riddles-bench"] in rows, listed.out
    assert ["task", "svamp", "compact_bench"] in rows
    assert "cannot be imported" not in listed.out, "a list imports no other package's code"
    shown = run_command(capsys, "show", "extensions")
    assert "benchmark format 'mangled' (of broken) cannot be imported" in " ".join(shown.out.split())


@pytest.mark.parametrize("method", ["cosine_sgd", "short_first"])
def test_the_examples_methods_keep_the_contract_and_resume(method: str, package: Path) -> None:
    failed = [f"{r.name}: {r.message}" for r in check_method(method) if not r.passed]
    assert not failed, "\n".join(failed)


def test_the_examples_work_as_files_of_a_checkout(student: str, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for folder in ("compact_bench", "baselines", "paper_tables"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    points = {n: v.partition(":")[2] for group in entry_points().values() for n, v in group.items()}
    for example in (e for e in examples() if e.checkout):
        assert not (checkout / example.checkout).exists()
        (checkout / example.checkout).write_text(example.text)
        if example.registry:
            name = example.name.removesuffix(".py")
            module = example.checkout.removesuffix(".py").replace("/", ".")
            registry = checkout / example.registry
            head, mark, rest = registry.read_text().partition('    "compact_bench.')
            line, brace, rest = rest.partition("    {")
            assert mark and brace, example.registry
            entry = f'"{name}": "{module}:{points[name]}", '
            registry.write_text(head + mark + line + brace + entry + rest)
    done = subprocess.run(
        [sys.executable, "-m", "compact_bench", *WORDS, "--student", student],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check_results(tmp_path)
