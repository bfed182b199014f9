"""The fingerprint of a method's code: what changes it, what does not, and what it reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import RunKey, fingerprint
from compact_bench.core.settings import Strict
from compact_bench.methods import code
from compact_bench.methods.code import MethodSource, code_files, method_code
from compact_bench.methods.registry import method_sources


class Bare(Strict):
    strength: float = 1.0


class Distilled(Strict):
    """Settings of a method that reads a second model."""

    second_model: Path
    more: tuple[Path, ...] = ()
    note: str = ""


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> Iterator[None]:
    code.code_files.cache_clear()
    yield
    code.code_files.cache_clear()


def source_of(path: Path) -> MethodSource:
    return MethodSource(path.stem, "file", path=path)


def mark_of(path: Path) -> str:
    code.code_files.cache_clear()
    return method_code(source_of(path), Bare())


def test_one_character_of_the_file_changes_it_and_the_old_text_brings_it_back(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("best = max\n")
    before = mark_of(file)
    file.write_text("best = min\n")
    changed = mark_of(file)
    file.write_text("best = max\n")
    assert (changed != before, mark_of(file)) == (True, before)


def test_private_helpers_count_from_one_to_the_next_and_strangers_do_not(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import json\n\ndef fit():\n    from ._near import x\n")
    (tmp_path / "_near.py").write_text("from . import _far\n")
    (tmp_path / "_far.py").write_text("x = 1\n")
    (tmp_path / "_stranger.py").write_text("x = 1\n")
    before = mark_of(file)
    (tmp_path / "_stranger.py").write_text("x = 2\n")
    assert mark_of(file) == before
    (tmp_path / "_far.py").write_text("x = 2\n")
    assert mark_of(file) != before
    assert set(code_files(source_of(file))) == {"mine.py", "_near.py", "_far.py"}


def test_a_method_that_extends_one_of_the_checkouts_changes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from baselines.mcc_kd import ...`, in a file that may have the same name."""
    checkout, own = tmp_path / "checkout", tmp_path / "own"
    for folder in (checkout / "compact_bench", checkout / "baselines", own):
        folder.mkdir(parents=True)
    monkeypatch.setattr(code, "package_folder", lambda: checkout / "compact_bench")
    (checkout / "compact_bench" / "__init__.pyi").write_text("")
    helper, theirs = checkout / "baselines" / "_near.py", checkout / "baselines" / "mcc_kd.py"
    helper.write_text("x = 1\n")
    theirs.write_text("from ._near import x\n")
    file = own / "mcc_kd.py"
    file.write_text("from baselines.mcc_kd import x\n")
    code._compact_names.cache_clear()
    try:
        marks = [mark_of(file)]
        for changed in (theirs, helper):
            changed.write_text(changed.read_text() + "y = 2\n")
            marks.append(mark_of(file))
    finally:
        code._compact_names.cache_clear()
    assert len(set(marks)) == 3


def test_a_folder_that_a_file_imports_counts_with_its_init(tmp_path: Path) -> None:
    (tmp_path / "_parts").mkdir()
    for name in ("__init__", "one", "two"):
        (tmp_path / "_parts" / f"{name}.py").write_text("")
    file = tmp_path / "mine.py"
    file.write_text("from ._parts.one import x\n")
    assert set(code_files(source_of(file))) == {"mine.py", "_parts/__init__.py", "_parts/one.py"}


def test_where_the_file_lies_does_not_count(tmp_path: Path) -> None:
    marks = set()
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("x = 1\n")
        marks.add(mark_of(tmp_path / folder / "mine.py"))
    assert len(marks) == 1


def test_packaged_methods_have_their_helpers_and_compacts_folder_where_they_use_it() -> None:
    sources = method_sources()
    assert set(code_files(sources["mgda"])) == {"mgda.py", "_teacher_gradients.py"}
    assert {"compact/objective.py", "compact/scores/fusion.py"} <= set(code_files(sources["compact"]))
    assert {"compact_released.py", "compact/released.py"} <= set(code_files(sources["compact_released"]))


def test_packaged_methods_all_have_another_one() -> None:
    marks = {name: method_code(source, Bare()) for name, source in method_sources().items()}
    assert len(set(marks.values())) == len(marks)


def test_an_installed_method_counts_its_package_and_version_and_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "somebodys_methods"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "mine.py").write_text("from somebodys_methods import tools\nfrom .. import more\n")
    (package / "tools.py").write_text("import json\n")
    (package / "more.py").write_text("")
    (package / "others.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = MethodSource("mine", "somebodys", module="somebodys_methods.inner.mine", version="1.0")
    assert dict(code_files(source)).keys() == {
        "distribution", "__init__.py", "inner/__init__.py", "inner/mine.py", "tools.py", "more.py",
    }  # fmt: skip
    assert "somebodys_methods" not in sys.modules
    newer = MethodSource("mine", "somebodys", module="somebodys_methods.inner.mine", version="1.1")
    assert method_code(source, Bare()) != method_code(newer, Bare())


def test_a_file_that_a_setting_names_counts_by_its_content_and_a_text_does_not(tmp_path: Path) -> None:
    file, weights = tmp_path / "mine.py", tmp_path / "second"
    file.write_text("")
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"1")

    def mark(**values: object) -> str:
        return method_code(source_of(file), Distilled.model_validate({"second_model": weights, **values}))

    before = mark()
    assert mark(note=str(file)) == before
    (weights / "model.safetensors").write_bytes(b"22")
    changed = mark()
    assert changed != before
    assert mark(more=[file]) != changed


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_named_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(ConfigError, match=rf"second_model: expected a f.*{name}"):
        method_code(source_of(tmp_path / "mine.py"), Distilled(second_model=tmp_path / name))


def test_a_key_without_code_has_the_hash_that_it_had_before_there_was_one() -> None:
    values = {
        "method": "m", "variant": "", "student": "s", "student_revision": "r", "suite": "q",
        "suite_fingerprint": "f", "profile": "lite", "seed": 1, "settings": {}, "results_version": 2,
    }  # fmt: skip
    assert RunKey(**values).hash == fingerprint(values)  # type: ignore[arg-type]
    assert RunKey(**values, code="a").hash not in {RunKey(**values).hash, RunKey(**values, code="b").hash}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line",
    [
        "sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / 'lib'))",
        "sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'lib'))",
        "here = pathlib.Path(__file__).resolve().parents[1]\nsys.path.insert(0, str(here / 'lib'))",
        "sys.path[:0] = [os.path.dirname(os.path.dirname(__file__)) + '']",
        "sys.path = [str(pathlib.Path(__file__).parents[1].joinpath('lib')), *sys.path]",
        "sys.path += [str(pathlib.Path(__file__).parents[1] / 'lib')]",
    ],
)
def test_a_helper_that_is_found_through_sys_path_counts_or_is_refused(tmp_path: Path, line: str) -> None:
    for folder in ("lib", "m1"):
        (tmp_path / folder).mkdir()
    helper, file = tmp_path / "lib" / "hlp.py", tmp_path / "m1" / "mine.py"
    helper.write_text("pick = max\n")
    file.write_text(f"import os, pathlib, sys\n{line}\nfrom hlp import pick\n")
    if "+ ''" in line:
        with pytest.raises(ConfigError, match=r"mine\.py, line 2: expected sys\.path .*from \._helper"):
            mark_of(file)
        return
    before = mark_of(file)
    assert set(code_files(source_of(file))) == {"mine.py", "lib/hlp.py"}
    helper.write_text("pick = min\n")
    assert mark_of(file) != before


def test_a_helper_in_a_folder_of_pythonpath_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper_of_mine.py").write_text("import numpy\nx = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    file = tmp_path / "mine.py"
    file.write_text("import helper_of_mine\n")
    assert set(code_files(source_of(file))) == {"mine.py", "lib/helper_of_mine.py"}
