"""Other packages' code is run by commands that use it, once; names are checked before training."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.core.registry import Source, with_claims
from compact_bench.methods.registry import get_method
from tests.unit.command import Done, run_command
from tests.unit.plugins import GOOD, installed

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[Path]:
    """Two packages whose modules write their names into a file when they are run; one of them fails then."""
    file = tmp_path / "imported"
    mark = "with open({file!r}, 'a') as stream:\n    stream.write('{name} ')\n"
    (tmp_path / "site").mkdir()
    methods = {
        "quiet_one": mark.format(file=str(file), name="quiet_one") + GOOD,
        "loud_one": mark.format(file=str(file), name="loud_one") + "raise TypeError('no such luck')\n",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in methods:
            patch.delitem(sys.modules, f"{name}_module", raising=False)
        for _ in installed(tmp_path / "site", patch, **methods):
            yield file


def imported(file: Path) -> list[str]:
    return file.read_text().split() if file.is_file() else []


def command(capsys: Capture, suite: Path, word: str, *more: str) -> Done:
    return run_command(capsys, word, *more, "--suite", suite, "--profile", "smoke")


def test_nothing_is_imported_unasked(marks: Path, suite: Path, tmp_path: Path, capsys: Capture) -> None:
    for kind in ("methods", "extensions", "tables", "suites", "runs"):
        listed = run_command(capsys, "list", kind)
        assert listed.code == 0
    assert "quiet_one" in run_command(capsys, "list", "methods").out
    for words in (
        ("reproduce", "--table", "2", "--dry-run", "--set", "temperature=0.5", "--set", "epochs=1"),
        ("report", "--table", "2", "--output", str(tmp_path / "out")),
    ):
        done = command(capsys, suite, *words)
        assert done.code == 0, done.err
    assert imported(marks) == []


def test_what_is_asked_for_is_imported_once_and_alone(marks: Path, capsys: Capture) -> None:
    for _ in range(2):
        assert run_command(capsys, "show", "quiet_one").code == 0
        assert run_command(capsys, "show", "loud_one").code == 2
        with pytest.raises(ConfigError, match="no such luck"):
            get_method("loud_one")
    assert imported(marks) == ["quiet_one", "loud_one"]


def test_a_plugins_own_setting_is_known_where_it_is_planned(
    marks: Path, suite: Path, capsys: Capture
) -> None:
    done = command(
        capsys, suite, "reproduce", "--dry-run", "--methods", "quiet_one", "--set", "reduction=sum"
    )
    assert done.code == 0, done.err
    assert imported(marks) == ["quiet_one"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "uniform", "--set", "temperature=0.5"), "is no setting of what this command runs (uniform)"),
        (("run", "uniform", "--set", "eval.groups=[retention, retention]"), "every group once"),
        (("reproduce", "--set", "warmup_steps=true"), "expected a number, got true or false"),
        (("reproduce", "--seeds", "1,1"), "given twice"),
        (("reproduce", "--methods", "uniform,,compact"), "where one is empty"),
        (("reproduce", "--teachers", ","), "where one is empty"),
        (("reproduce", "--world", "slip_rate=true"), "--world"),
        (("sweep", "error_rate", "--values", "0,nan"), "--values"),
        (("sweep", "error_rate", "--values", "0,1_0"), "--values"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_done(
    words: tuple[str, ...], said: str, suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    done = run_command(
        capsys, *words, *(() if words[0] == "sweep" else ("--suite", suite, "--profile", "smoke"))
    )
    assert done.code == 2, done.err
    assert said in " ".join(done.err.split()) and "Traceback" not in done.err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('task = "svamp"', 'task = "svmap"', "Did you mean 'svamp'"),
        ('metric = "exact_match"', 'metric = "acc"', "exact_match"),
        ('metric = "acc"', 'metric = "exact_match"', "acc_norm"),
        ("drift_passages", "groups = ['retention']\ndrift_pasages", "drift_pasages"),
    ],
)
def test_tasks_and_metrics_are_checked_first(
    old: str, new: str, said: str, suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    text = suite.read_text(encoding="utf-8")
    assert old in text
    changed = suite.with_name("changed.toml")
    changed.write_text(text.replace(old, new, 1), encoding="utf-8")
    done = run_command(capsys, "run", "zero_shot", "--suite", changed, "--profile", "smoke")
    assert done.code == 2 and said in done.err, done.err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('profiles = ["full"]', 'profiles = ["ful"]', "Did you mean 'full'"),
        ('teacher = "{variant}" } }', 'teachr = "{variant}" } }', "Did you mean 'teacher'"),
        ("settings = { method", "settings = { train = { epoch = 2 }, method", "epoch"),
        ('name = "in_distribution"', 'name = "in_distributon"', "Did you mean 'in_distribution'"),
        ('reference = "compact"', 'reference = "compat"', "Did you mean 'compact'"),
        ('source = "training.tokens"', 'source = "trainng.tokens"', "Did you mean 'training'"),
        ('method = "compact_released"', 'method = "compact_releasd"', "no row is called compact_released"),
    ],
)
def test_a_misspelt_table_is_refused(
    old: str, new: str, said: str, suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    text = (Path(__file__).parents[3] / "paper_tables" / "table_2.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "table.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    done = command(capsys, suite, "reproduce", "--dry-run", "--table", str(tmp_path / "table.toml"))
    assert done.code == 2 and said in done.err, done.err


def test_a_plugin_with_a_name_that_is_a_way_out_is_refused() -> None:
    for name in ("../../x", "a\nb", "\x1b[31m", "a b"):
        (source,) = with_claims("figure", {}, [Source(name, "mean-package")]).values()
        assert "expected a name of letters" in source.problem and "\x1b" not in source.name + source.problem
