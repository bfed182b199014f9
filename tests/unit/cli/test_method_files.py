"""A method of a file that a command names: `run mine.py`, `--methods mine.py`."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.methods import code
from compact_bench.methods.registry import as_given, get_method, method_names, split_file, use_method_files
from tests.architecture.sources import ROOT
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]
WORDS = ("--profile", "smoke", "--threads", "1", "--workers", "1")


@pytest.fixture(autouse=True)
def forget_files() -> Iterator[None]:
    yield
    use_method_files(())


@pytest.fixture
def longest(suite: Path, tmp_path: Path) -> Path:
    """README's example, saved where a user would who installed the package: nowhere near it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Add a method as one file")[2]
    found = re.search(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert found is not None
    file = tmp_path / "longest.py"
    file.write_text(found[1], encoding="utf-8")
    return file


def test_the_readmes_method_runs_from_its_file(longest: Path, suite: Path, capsys: Capture) -> None:
    done = run_command(capsys, "show", "longest.py")
    assert done.code == 0 and "method longest" in done.out, done.err
    for words in (("check", "longest.py"), ("run", "longest.py", "--suite", suite, *WORDS)):
        done = run_command(capsys, *words)
        assert done.code == 0, done.err
    (record,) = [json.loads(path.read_text()) for path in Path("store").rglob("record.json")]
    assert (record["key"]["method"], record["status"]) == ("longest", "done")
    assert record["provenance"]["request"]["method_files"] == ["longest.py"]
    listed = run_command(capsys, "list", "runs", "--store", "store").out
    assert "is not here" not in listed and "code changed" not in listed, listed
    longest.write_text(longest.read_text() + "# another one\n")
    code.code_files.cache_clear()
    assert "code changed" in run_command(capsys, "list", "runs", "--store", "store").out
    # What reads the run afterwards needs no method, so neither its file.
    longest.unlink()
    done = run_command(capsys, "export", "longest@1", "exported")
    assert done.code == 0, done.err
    assert "file longest.py is not here" in " ".join(
        run_command(capsys, "list", "runs", "--store", "store").out.split()
    )


def test_a_table_has_a_row_of_a_file_and_says_so_in_its_command(
    longest: Path, suite: Path, capsys: Capture
) -> None:
    words = ("reproduce", "--suite", suite, *WORDS, "--output", "out")
    done = run_command(capsys, *words, "--methods", "zero_shot,longest.py")
    assert done.code == 0, done.err
    text = Path("out/RESULTS.md").read_text(encoding="utf-8")
    assert "| Longest rationale | 1 |" in text
    (command,) = [line for line in text.splitlines() if line.startswith("compact-bench reproduce")]
    assert shlex.split(command)[shlex.split(command).index("--methods") + 1] == "table,longest.py"
    # The name alone is known to nothing but that command.
    done = run_command(capsys, *words, "--methods", "longest")
    assert done.code == 2 and "unknown method 'longest'" in done.err


def test_two_workers_know_the_file(longest: Path, suite: Path, capsys: Capture) -> None:
    done = run_command(
        capsys, "run", "longest.py", "--suite", suite, *WORDS[:4], "--workers", "2", "--seeds", "1-4"
    )
    assert done.code == 0, done.err
    assert len(list(Path("store").rglob("record.json"))) == 4


def test_names_and_files() -> None:
    assert split_file("uniform[x]") == ("uniform[x]", None)
    assert split_file("a/mine.py[strong]") == ("mine[strong]", Path("a/mine.py"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("uniform.py", "'uniform', which is a method of baselines. Rename the file"),
        ("compact.py", "'compact', which is a method of compact_bench. Rename the file"),
        ("my-method.py", "rename the file. Try 'my_method'"),
        ("all.py", "another meaning in the commands"),
        ("lost.py", "got no such file"),
    ],
)
def test_files_that_cannot_be_a_method(
    name: str, words: str, longest: Path, suite: Path, tmp_path: Path, capsys: Capture
) -> None:
    if name != "lost.py":
        (tmp_path / name).write_bytes(longest.read_bytes())
    for command in (("run", name), ("reproduce", "--methods", name)):
        done = run_command(capsys, *command, "--suite", suite, "--profile", "smoke")
        assert done.code == 2 and words in done.err, done.err
    assert not list(Path("store").rglob("record.json"))


def test_two_files_of_one_name_are_refused_and_a_registered_file_is_what_it_is(tmp_path: Path) -> None:
    files = [tmp_path / name / "mine.py" for name in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text("METHOD = None\n")
    with pytest.raises(ConfigError, match=r"b/mine\.py: expected a file whose stem no other method has"):
        use_method_files(files)
    before = method_names()
    use_method_files([ROOT / "baselines" / "uniform.py"])
    assert method_names() == before and as_given("uniform[x]") == "uniform[x]"


def test_a_files_helpers_are_those_beside_it(tmp_path: Path) -> None:
    """A user's `_alignment.py` must be neither ours nor taken for ours."""
    (tmp_path / "_alignment.py").write_text("TITLE = 'beside it'\n")
    (tmp_path / "mine.py").write_text(
        "from ._alignment import TITLE\nfrom compact_bench import MethodCard, NoSettings\n\n\n"
        "class Mine:\n    card, config_type, fit = MethodCard(TITLE, 'none'), NoSettings, None\n\n\n"
        "METHOD = Mine\n"
    )
    use_method_files([tmp_path / "mine.py"])
    assert get_method("mine").card.title == "beside it"
    assert get_method("edit").card.title != "beside it"


@pytest.mark.parametrize("inside", ["", "    "], ids=["at import", "when it trains"])
def test_helpers_of_one_name_on_the_path_are_refused_and_beside_the_file_are_not(
    inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "hlp", raising=False)
    for name in ("a", "b"):
        for file, words in ((f"{name}/_helper.py", f"of {name}"), (f"lib_{name}/hlp.py", f"lib of {name}")):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(f"TITLE = {words!r}\n")
        (tmp_path / name / f"m{name}.py").write_text(
            "import sys\nfrom pathlib import Path\nfrom compact_bench import MethodCard, NoSettings\n"
            "from ._helper import TITLE\n"
            f"sys.path.insert(0, str(Path(__file__).parents[1] / 'lib_{name}'))\n\n\n"
            f"def used():\n    import hlp\n\n\n{'' if inside else 'import hlp'}\n\n\n"
            "class Mine:\n    card, config_type, fit = MethodCard(TITLE, 'none'), NoSettings, None\n\n\n"
            "METHOD = Mine\n"
        )
    use_method_files([tmp_path / name / f"m{name}.py" for name in ("a", "b")])
    assert get_method("ma").card.title == "of a"
    with pytest.raises(ConfigError, match=r"lib_b/hlp\.py, got \S*lib_a/hlp\.py, of which \S*a/ma\.py"):
        get_method("mb")
    assert get_method("ma").card.title == "of a"
    for name in ("a", "b"):
        file = tmp_path / name / f"m{name}.py"
        file.write_text(file.read_text().replace("import hlp", "pass"))
    code.code_files.cache_clear()
    code.path_helpers.cache_clear()
    monkeypatch.delitem(sys.modules, "hlp", raising=False)
    use_method_files([tmp_path / name / f"m{name}.py" for name in ("a", "b")])
    assert get_method("mb").card.title == "of b"


@pytest.mark.parametrize(
    "line",
    [
        "from . import _h as found",
        "from .sub.deep import found",
        "from .pk.deep import found",
        "from . import pk as found",
        "from ._h import found",
    ],
)
def test_every_way_of_a_relative_import_works(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("compact_bench_methods")]:
        monkeypatch.delitem(sys.modules, name)
    for folder in ("sub", "pk"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "deep.py").write_text("found = 'inside'\n")
    (tmp_path / "pk" / "__init__.py").write_text("found = 'package'\n")
    (tmp_path / "_h.py").write_text("found = 'beside'\n")
    (tmp_path / "mine.py").write_text(
        f"{line}\nfrom compact_bench import MethodCard, NoSettings\n\n\nclass Mine:\n"
        "    card, config_type, fit = MethodCard(str(found), 'none'), NoSettings, None\n\n\nMETHOD = Mine\n"
    )
    use_method_files([tmp_path / "mine.py"])
    assert get_method("mine").card.title
    assert get_method("mot").card.title, "ours have the enclosing package's name"
    assert get_method("edit").card.title, "and their helpers"
