"""`eval.groups`: only those benchmarks are evaluated, and runs that do not name any keep their hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import EvalSettings, RunSettings, apply_overrides
from compact_bench.runs.store.store import Store
from tests.tiny_suite import write_tiny_suite
from tests.unit.command import run_command


def test_groups_stand_in_the_settings_only_where_they_are_asked_for() -> None:
    assert "groups" not in RunSettings().model_dump(mode="json")["eval"]
    chosen = apply_overrides(RunSettings(), ["eval.groups=[retention]"])
    assert chosen.model_dump(mode="json")["eval"]["groups"] == ["retention"]
    assert RunSettings.model_validate(chosen.model_dump(mode="json")) == chosen
    assert EvalSettings().groups is None


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ConfigError, match="in_distribution"):
        apply_overrides(RunSettings(), ["eval.groups=[elsewhere]"])


def test_only_the_groups_asked_for_are_evaluated(
    student_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COMPACT_BENCH_CACHE", str(tmp_path / "cache"))
    suite = write_tiny_suite(tmp_path / "suite", str(student_folder()))
    words = ("run", "zero_shot", "--suite", suite, "--profile", "smoke", "--store", tmp_path / "store")
    done = run_command(capsys, *words, "--set", "eval.groups=[in_distribution, retention]", "--workers", "1")
    assert done.code == 0, done.err
    (record,) = Store(tmp_path / "store").records()
    assert set(record.evaluations) == {"svamp", "piqa"}
