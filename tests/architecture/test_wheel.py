"""The wheel carries what runs need, under one top-level name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

DATA_SUFFIXES = {
    ".jinja", ".json", ".jsonl", ".py", ".pyi", ".safetensors", ".toml", ".txt", ".typed", ".yaml", ".yml",
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Names inside a wheel built from this checkout."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed (it comes with the dev extra)")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return tuple(archive.namelist())


def shipped_files() -> dict[str, str]:
    """Path in the checkout of every file that must ship -> its path in the wheel."""
    homes = {
        "compact_bench": "compact_bench",
        "baselines": "compact_bench/_baselines",
        "paper_tables": "compact_bench/_paper_tables",
    }
    return {
        file.relative_to(ROOT).as_posix(): f"{home}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, home in homes.items()
        for file in sorted((ROOT / folder).rglob("*"))
        if file.is_file() and file.suffix in DATA_SUFFIXES and "__pycache__" not in file.parts
    }


def test_every_toml_yaml_text_and_module_is_in_the_wheel(wheel_names: tuple[str, ...]) -> None:
    missing = [path for path, inside in shipped_files().items() if inside not in wheel_names]
    assert not missing, missing


def test_the_only_top_level_name_is_the_package(wheel_names: tuple[str, ...]) -> None:
    tops = {Path(name).parts[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"compact_bench"}


def test_the_wheel_holds_no_caches_and_declares_the_command(wheel_names: tuple[str, ...]) -> None:
    assert not [name for name in wheel_names if "__pycache__" in name or name.endswith(".pyc")]
    assert [name for name in wheel_names if name.endswith(".dist-info/entry_points.txt")]
    assert [name for name in wheel_names if name.endswith(".dist-info/licenses/LICENSE")]
