"""Child processes, logs and libraries: nothing of the working folder is run, nothing is trusted unasked."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compact_bench.cli import main
from compact_bench.core.processes import Child, child_environment
from tests.architecture.sources import ROOT, sources


def test_a_child_imports_nothing_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    for name in ("json", "signal", "compact_bench", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    # An empty entry means the working folder.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(ROOT), ""]))
    child = Child("compact_bench.runs.workers.child", threads=1)
    assert child.stop()
    assert not mark.exists()


def test_a_child_finds_the_package_where_the_parent_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import compact_bench

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import compact_bench; print(compact_bench.__file__)"],
        env=child_environment(1),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == compact_bench.__file__


def test_entries_of_the_path_do_not_move_with_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["plugins", ""]))
    entries = child_environment(0).get("PYTHONPATH", "").split(os.pathsep)
    assert all(Path(entry).is_absolute() for entry in entries)


def test_every_module_that_is_run_in_a_child_is_run_safely() -> None:
    for source in sources("compact_bench"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.List) and any(ast.unparse(e) == "sys.executable" for e in node.elts):
                words = [ast.unparse(e) for e in node.elts]
                assert "'-P'" in words or "'-I'" in words, f"{source.path}:{node.lineno}"


def test_the_report_of_an_error_has_a_name_that_nobody_foresees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from compact_bench.commands.inspect import listing

    def broken(kind: str, store: Path) -> None:
        raise KeyError("\x1b[31mloose")

    victim = tmp_path / "victim"
    monkeypatch.setattr(listing, "names_table", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stamp = time.strftime("%Y%m%d_%H%M%S")
    (tmp_path / f"compact_bench_error_{stamp}_{os.getpid()}.log").symlink_to(victim)
    with pytest.raises(SystemExit):
        main(["list", "methods"])
    assert not victim.exists()
    assert "\x1b" not in capsys.readouterr().err
    (log,) = (path for path in tmp_path.glob("*.log") if not path.is_symlink())
    assert stat.S_IMODE(log.stat().st_mode) == 0o600 and "Traceback" in log.read_text()


@pytest.mark.parametrize("argument", ["--set=a\x1b[31m=1", "\udcff", "a\u202eb", "x\x00"])
def test_arguments_that_hide_something_are_refused(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", argument])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("Error: expected printable arguments") and err.isascii() and "\x1b" not in err


# `trust_remote_code` is said wherever a library takes it: some ask on the terminal where nothing is said.
TRUSTING = {
    "AutoTokenizer.from_pretrained",
    "AutoModelForCausalLM.from_pretrained",
    "AutoModelForCausalLM.from_config",
    "AutoConfig.from_pretrained",
}
FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def faults(path: str, tree: ast.AST) -> list[str]:
    """Uses of code or pickles of others in one file."""
    found = []
    for node in ast.walk(tree):
        place = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [n.name for n in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{place} imports {n}" for n in names if n.split(".")[0] in FORBIDDEN]
        if not isinstance(node, ast.Call):
            continue
        called, words = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
        if any(called.endswith(name) for name in TRUSTING) and words.get("trust_remote_code") != "False":
            found.append(f"{place}: {called} without trust_remote_code=False")
        if words.get("trust_remote_code", "False") != "False":
            found.append(f"{place}: {called} trusts remote code")
        if called == "torch.load" and words.get("weights_only") != "True":
            found.append(f"{place}: torch.load without weights_only=True")
        if called.endswith("np.load") and words.get("allow_pickle", "False") != "False":
            found.append(f"{place}: np.load allows pickles")
        if called in ("eval", "exec", "yaml.load") and "Loader" not in words:
            found.append(f"{place}: {called}")
    return found


def test_nobody_elses_code_is_trusted() -> None:
    wrong = [
        f for top in ("compact_bench", "baselines") for s in sources(top) for f in faults(s.path, s.tree)
    ]
    # Loading students is held by the tests of `students`.
    assert not [fault for fault in wrong]


@pytest.mark.parametrize(
    "text",
    [
        "AutoTokenizer.from_pretrained(x)",
        "AutoTokenizer.from_pretrained(x, trust_remote_code=True)",
        "load_dataset(x, trust_remote_code=yes)",
        "torch.load(x)",
        "import pickle",
        "yaml.load(x)",
    ],
)
def test_the_scan_sees_what_it_should(text: str) -> None:
    assert faults("x.py", ast.parse(text))


def test_libraries_send_nothing() -> None:
    code = (
        "import os, compact_bench\nfrom compact_bench.cli.options import prepare_libraries\n"
        "prepare_libraries(offline=True)\n"
        "print(*(os.environ.get(n) for n in ('HF_HUB_DISABLE_TELEMETRY', 'DO_NOT_TRACK', 'HF_HUB_OFFLINE', "
        "'HF_DATASETS_OFFLINE', 'TRANSFORMERS_OFFLINE', 'HF_DATASETS_TRUST_REMOTE_CODE')))"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_", "DO_NOT"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**clean, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.split() == ["1", "1", "1", "1", "1", "0"]
