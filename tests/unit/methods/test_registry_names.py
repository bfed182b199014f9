"""Names that two sources claim: ours stay ours, and the rest is refused by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.core.registry import installed_entry_points
from compact_bench.methods.registry import get_method, method_names, method_sources
from tests.unit.command import run_command
from tests.unit.plugins import GOOD

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def clashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two packages that bring `uniform` and `shared`; one brings `mine` besides."""
    for package, names in {"one": ("uniform", "shared", "mine"), "two": ("shared",)}.items():
        (tmp_path / f"{package}_module.py").write_text(GOOD)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        points = "".join(f"{name} = {package}_module\n" for name in names)
        (info / "entry_points.txt").write_text(f"[compact_bench.baselines]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    installed_entry_points.cache_clear()
    method_sources.cache_clear()
    yield
    monkeypatch.undo()
    installed_entry_points.cache_clear()
    method_sources.cache_clear()


def test_a_name_of_ours_stays_ours(clashes: None) -> None:
    assert method_sources()["uniform"].origin == "baselines"
    assert get_method("uniform").card.title.startswith("Uniform")
    with pytest.raises(ConfigError, match=r"'uniform@one'.*of a method of baselines.*uninstall one"):
        get_method("uniform@one")


def test_two_packages_with_one_name_are_both_refused(clashes: None) -> None:
    assert "shared" not in method_names()
    for package, other in (("one", "two"), ("two", "one")):
        with pytest.raises(ConfigError, match=f"'shared@{package}'.*of a method of {other}"):
            get_method(f"shared@{package}")


def test_the_rest_of_such_a_package_works(clashes: None) -> None:
    assert get_method("mine").card.title
    assert {"mine", "uniform@one", "shared@one", "shared@two"} <= set(method_names())


def test_the_list_names_them(clashes: None, capsys: Capture) -> None:
    done = run_command(capsys, "list", "methods")
    assert done.code == 0
    assert "cannot be used" in done.out and "uniform@one" in done.out and "shared@two" in done.out
