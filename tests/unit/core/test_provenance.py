"""Provenance says what made a number, and nothing about whose machine it was."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

import compact_bench
from compact_bench.core import provenance


def test_it_holds_code_packages_and_hardware() -> None:
    found = provenance.collect_provenance(device="cpu", dtype="float32")
    assert found["packages"]["compact_bench"] == compact_bench.__version__
    assert set(provenance.PACKAGES) < set(found["packages"])
    assert found["packages"]["torch"] != "not installed"
    assert found["python"] == platform.python_version()
    assert found["hardware"]["threads"] >= 1
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["cpu"]
    assert (found["device"], found["dtype"]) == ("cpu", "float32")
    assert json.loads(json.dumps(found)) == found


def test_it_names_no_machine_user_or_folder() -> None:
    text = json.dumps(provenance.collect_provenance())
    assert str(Path.home()) not in text
    assert str(Path(provenance.__file__).parent) not in text
    host = socket.gethostname()
    assert len(host) < 4 or host not in text
    user = getpass.getuser()
    assert len(user) < 4 or user not in text


def make_checkout(folder: Path) -> Path:
    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)

    package = folder / "compact_bench"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "provenance.py").write_text("")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return package


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_checkout_and_says_when_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = make_checkout(tmp_path)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    monkeypatch.setattr(provenance, "package_folder", lambda: package)
    assert provenance.code_version.__wrapped__() == head[:12]
    (tmp_path / "notes.txt").write_text("beside the package")
    assert provenance.code_version.__wrapped__() == head[:12]
    (package / "new.py").write_text("")
    assert provenance.code_version.__wrapped__() == f"{head[:12]} with local changes"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_somebody_elses_repository_is_not_our_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_checkout(tmp_path)
    inside = tmp_path / "env" / "compact_bench"
    inside.mkdir(parents=True)
    (inside / "__init__.py").write_text("")
    monkeypatch.setattr(provenance, "package_folder", lambda: inside)
    monkeypatch.setattr(provenance, "_installed_commit", lambda: None)
    assert provenance.code_version.__wrapped__() == f"version {compact_bench.__version__}"


def test_without_git_the_version_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*words: Any, **options: Any) -> None:
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", absent)
    monkeypatch.setattr(provenance, "_installed_commit", lambda: None)
    assert provenance.code_version.__wrapped__() == f"version {compact_bench.__version__}"


def test_flat_gives_dotted_names() -> None:
    assert provenance.flat({"b": {"y": 1, "x": None}, "a": "t"}) == {"a": "t", "b.x": "none", "b.y": "1"}
