"""The command line's messages: names, seeds, settings, and faults of the package itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compact_bench import __version__
from compact_bench.cli import options
from compact_bench.core.errors import ConfigError
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("", ()), ("1,2,3", (1, 2, 3)), ("2-4, 9", (2, 3, 4, 9)), ("0", (0,))],
)
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert options.parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "1,-2",
        "3-1",
        "1-",
        "1.5",
        "-",
        ",",
        "1,,2",
        "1,",
        " ",
        "1,1",
        "1,1-2",
        "01",
        "1_0",
        "\u0661",
        "4294967296",
        "1-99999999999",
        "1-2000",
        "9" * 5000,
        "1-2-3",
        "+1",
        "0x1",
        "true",
        "[1]",
        "1\n2",
    ],
)
def test_bad_seeds(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds: expected whole numbers"):
        options.parse_seeds(text)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("run", "compakt"), "Did you mean 'compact'"),
        (("reproduce", "--suite", "swamp"), "Did you mean 'svamp'"),
        (("reproduce", "--table", "22"), "Did you mean '2'"),
        (("reproduce", "--profile", "lit"), "Did you mean 'lite'"),
        (("reproduce", "--methods", "unifrom"), "Did you mean 'uniform'"),
        (("reproduce", "--set", "learning_rat=1"), "did you mean train.learning_rate"),
        (("show", "svmap"), "Did you mean 'svamp'"),
        (("list", "method"), "Did you mean 'methods'"),
    ],
)
def test_unknown_names_get_hints(
    words: tuple[str, ...], hint: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPACT_BENCH_STORE", str(tmp_path / "store"))
    done = run_command(capsys, *words)
    assert done.code == 2
    assert done.err.startswith("Error: ") and hint in done.err
    assert "Traceback" not in done.err and done.out == ""
    assert not (tmp_path / "store").exists()


def test_wrong_options_name_themselves(capsys: Capture) -> None:
    done = run_command(capsys, "reproduce", "--sede", "1")
    assert done.code == 2 and "--sede" in done.err and "Traceback" not in done.err


def test_all_wrong_settings_are_listed(capsys: Capture) -> None:
    done = run_command(capsys, "reproduce", "--set", "epochs=0", "--set", "rank=-1")
    assert done.code == 2
    assert "train.epochs" in done.err and "lora.rank" in done.err


def test_a_fault_of_the_package_leaves_a_log(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compact_bench.commands.inspect import listing

    def broken(kind: str, store: Path) -> None:
        raise KeyError("a wire came loose")

    monkeypatch.setattr(listing, "names_table", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = run_command(capsys, "list", "methods")
    assert done.code == 70
    assert "a wire came loose" in done.err and "Traceback" not in done.err
    (log,) = tmp_path.glob("*.log")
    assert str(log) in done.err and "Traceback" in log.read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("run", "zero_shot", "--profile", "smoke", "--store", "FILE"),
        ("new", "mine", "--package", "--output", "FILE"),
        ("lab", "build", "--scale", "0.001", "--output", "FILE"),
    ],
)
def test_a_file_where_a_folder_is_needed_is_no_fault_of_the_package(
    words: tuple[str, ...], capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "taken"
    file.write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = run_command(capsys, *(str(file) if word == "FILE" else word for word in words))
    assert done.code == 7
    assert f"Error: cannot use {file}" in done.err and "To mend:" in done.err and "fault" not in done.err


def test_doctor_survives_a_package_with_broken_metadata(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorboard-9.9.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    done = run_command(capsys, "doctor", "--offline")
    assert done.code == 0 and "of unknown version" in done.out


def test_version(capsys: Capture) -> None:
    assert run_command(capsys, "--version").out == f"compact-bench {__version__}\n"


@pytest.mark.parametrize(
    "name",
    [
        "reproduce",
        "run",
        "report",
        "prefetch",
        "list",
        "show",
        "compare",
        "explain",
        "doctor",
        "export",
        "gc",
    ],
)
def test_every_command_shows_an_example(name: str, capsys: Capture) -> None:
    done = run_command(capsys, name, "--help")
    assert done.code == 0 and f"compact-bench {name}" in done.out.split("Example:")[1]


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "pandas", "lm_eval", "datasets", "scipy", "numpy", "pydantic")
    code = (
        "import sys\nfrom compact_bench.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', sorted(set({heavy!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "HEAVY []" in done.stdout and "reproduce" in done.stdout
