"""The contract suite refuses every broken method for its own reason, and a sound one for none."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compact_bench.core.errors import UnknownNameError
from compact_bench.methods.checks import CHECKS, check_method
from compact_bench.methods.checks.watching import Watch, watching
from tests.contract.broken_declarations import BROKEN_DECLARATIONS
from tests.contract.broken_fits import BROKEN_FITS
from tests.contract.ragged_methods import BROKEN_RAGGED, RaggedSound
from tests.contract.sound_method import Sound

BROKEN = {**BROKEN_DECLARATIONS, **BROKEN_FITS, **BROKEN_RAGGED}

UNCHECKED = {"import", "card", "configuration", "trains", "supports", "determinism"}
"""Checks without which others are not made."""


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_method_fails_for_its_own_reason_and_no_other(kind: type[Any]) -> None:
    check, fragment = BROKEN[kind]
    results = check_method(kind)
    assert [r.name for r in results] == list(CHECKS)
    assert {r.name: r.message for r in results if r.passed is False}.keys() == {check}
    found = next(r for r in results if r.name == check)
    assert fragment in found.message
    assert "Traceback" not in found.message
    if check not in UNCHECKED:
        assert all(r.passed for r in results if r.name != check)


def test_every_check_refuses_something() -> None:
    assert {check for check, _ in BROKEN.values()} == set(CHECKS)


def test_a_sound_method_passes_and_nothing_is_left_behind() -> None:
    random.seed(3)
    np.random.seed(4)
    torch.manual_seed(5)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index]
    state = (dict(os.environ), os.getcwd(), torch.get_num_threads(), torch.is_grad_enabled())
    told: list[str] = []
    assert all(result.passed for result in check_method(RaggedSound))
    results = check_method(Sound, on_result=lambda result: told.append(result.name))
    assert [r for r in results if not r.passed or r.message] == []
    assert told == list(CHECKS)
    after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())  # type: ignore[index]
    assert after == before
    assert (dict(os.environ), os.getcwd(), torch.get_num_threads(), torch.is_grad_enabled()) == state


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("import no_such_package_anywhere\n", "No module named"),
        ("class Method:\n    pass\n", "METHOD"),
        ("METHOD = 3\n", "expected METHOD to be a class"),
        ("raise RuntimeError('not today')\n", "not today"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_failure(tmp_path: Path, text: str, fragment: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    results = check_method(file)
    assert [r.name for r in results if r.passed is False] == ["import"]
    assert all(r.passed is None for r in results[1:])
    assert fragment in results[0].message and "mine.py" in results[0].message


def test_a_file_may_be_named_like_a_registered_method(tmp_path: Path) -> None:
    file = tmp_path / "uniform.py"
    file.write_text("METHOD = None\n")
    assert check_method(str(file))[0].passed is False


def test_no_file_and_no_such_name(tmp_path: Path) -> None:
    (first, *_) = check_method(tmp_path / "absent.py")
    assert first.passed is False and "no such file" in first.message
    with pytest.raises(UnknownNameError, match="Did you mean 'uniform'"):
        check_method("unifrom")
    with pytest.raises(UnknownNameError, match="variant of method 'compact'"):
        check_method("compact[no-such]")


def test_the_interpreters_own_cache_of_modules_is_no_file_of_the_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    with watching(Watch(folder=tmp_path / "run")) as seen:
        (tmp_path / "elsewhere" / "module.cpython-311.pyc").write_bytes(b"")
        (tmp_path / "elsewhere" / "package").mkdir()
        (tmp_path / "mine.txt").write_text("")
    assert seen.files == [str(tmp_path / "mine.txt")]
