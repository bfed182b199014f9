"""The commands `new` and `check`, and the files of a new method."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.methods import registry, scaffolding
from compact_bench.methods.checks import CHECKS
from compact_bench.methods.scaffolding import new_method, write_files
from tests.architecture.sources import ROOT
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]


def test_a_package_has_an_entry_point_and_parses(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The folder of temporary files may lie within the checkout, as it does on CI.
    monkeypatch.setattr(scaffolding, "checkout_folder", lambda: tmp_path.parent)
    monkeypatch.chdir(tmp_path)
    done = run_command(capsys, "new", "short_first", "--package")
    assert done.code == 0 and done.err == ""
    root = tmp_path / "compact-bench-short-first"
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    (point,) = project["project"]["entry-points"][registry.ENTRY_POINT_GROUP].items()
    assert point == ("short_first", "compact_bench_short_first.method:METHOD")
    method = (root / "src" / "compact_bench_short_first" / "method.py").read_text(encoding="utf-8")
    assert "class ShortFirst:" in method and "METHOD = ShortFirst\n" in method
    assert '"short_first[strong]"' in method and "Template" not in method and "NAME" not in method
    for path in root.rglob("*.py"):
        ast.parse(path.read_text(encoding="utf-8"))
    assert "compact-bench check short_first" in done.out and f"pip install -e {root}" in done.out


@pytest.mark.parametrize("package", [False, True])
def test_what_is_written_is_clean_for_the_linter(tmp_path: Path, package: bool) -> None:
    pytest.importorskip("ruff")
    write_files(new_method("a_name_of_some_length_for_line_breaks", tmp_path, package=package))
    for words in (["check", "--select", "E,F,UP,B,SIM,RUF"], ["format", "--check"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *words,
            "--config",
            str(ROOT / "pyproject.toml"),
            "--no-cache",
        ]
        done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_in_a_checkout_a_file_is_a_method_by_its_place(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaffolding, "checkout_folder", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    done = run_command(capsys, "new", "short_first")
    assert done.code == 0
    assert (tmp_path / "baselines" / "short_first.py").is_file()
    test = (tmp_path / "tests" / "contract" / "test_short_first.py").read_text(encoding="utf-8")
    assert "from baselines.short_first import brevity_weights" in test
    assert 'check_method("short_first")' in test
    assert "compact-bench check short_first" in done.out and "pip install" not in done.out


def test_a_single_file_anywhere_is_checked_by_its_path(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_command(capsys, "new", "unifrom", "--output", tmp_path / "mine")
    assert done.code == 0
    assert "nearly this name already: 'uniform'" in done.err
    for command in ("check", "run"):
        assert f"compact-bench {command} {Path('mine', 'unifrom.py')}" in done.out
    test = (tmp_path / "mine" / "test_unifrom.py").read_text(encoding="utf-8")
    assert 'check_method(Path(__file__).with_name("unifrom.py"))' in test


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("my-method", "Try 'my_method'"),
        ("My Method", "Try 'my_method'"),
        ("2nd", "Try 'method_2nd'"),
        ("class", "Try 'method_class'"),
        ("_hidden", "Try 'hidden'"),
        ("compact[mine]", "Try 'compact_mine'"),
        ("x" * 41, f"Try '{'x' * 40}'"),
        ("uniform", "this name is taken"),
        ("settings", "another meaning"),
    ],
)
def test_names_that_cannot_be_one(name: str, hint: str, tmp_path: Path, capsys: Capture) -> None:
    done = run_command(capsys, "new", name, "--output", tmp_path)
    assert done.code == 2
    assert hint in done.err and repr(name) in done.err
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_and_then_nothing_is_written(tmp_path: Path) -> None:
    mine = new_method("short_first", tmp_path, package=True)
    kept = next(path for path in mine.files if path.name == "README.md")
    kept.parent.mkdir()
    kept.write_text("mine")
    with pytest.raises(ConfigError, match=r"README\.md is there already"):
        write_files(mine)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert kept.read_text() == "mine"


def test_check_shows_every_check_of_one_method(capsys: Capture) -> None:
    done = run_command(capsys, "check", "zero_shot")
    assert done.code == 0
    assert all(name in done.out for name in CHECKS)
    assert done.out.count("passed") == len(CHECKS)
    assert "1 of 1 method(s) keep the contract" in done.out


def test_check_goes_on_after_one_that_fails(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import no_such_package_anywhere\n", encoding="utf-8")
    done = run_command(capsys, "check", file, "zero_shot")
    assert done.code == 1
    assert "1 of 2 method(s) keep the contract" in done.out
    assert "no_such_package_anywhere" in done.out and "Traceback" not in done.out + done.err
    assert run_command(capsys, "check", "--quiet", "zero_shot").out == ""


def test_check_all_takes_every_registered_method(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "method_names", lambda: ("zero_shot",))
    done = run_command(capsys, "check", "--all")
    assert done.code == 0 and "1 of 1" in done.out


@pytest.mark.parametrize("words", [(), ("zero_shot", "--all")])
def test_check_wants_names_or_all(words: tuple[str, ...], capsys: Capture) -> None:
    done = run_command(capsys, "check", *words)
    assert done.code == 2 and "expected names of methods, or --all" in done.err


def test_check_suggests_names(capsys: Capture) -> None:
    done = run_command(capsys, "check", "zero_shott")
    assert done.code == 2 and "Did you mean 'zero_shot'" in done.err
