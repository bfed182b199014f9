"""Sizes, docstrings and strings that must not be in the code."""

from __future__ import annotations

import ast
import re
import subprocess

import pytest

from tests.architecture.sources import PACKAGE, ROOT, Source, functions, sources

CODE = (PACKAGE, "baselines", "tests")
SHIPPED = (PACKAGE, "baselines")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_FILE_BYTES = 1_000_000
LARGE_FILES = {
    f"compact_bench/data/lab/student/weights_{version}/model.safetensors": 12_000_000 for version in (1, 2)
}


def long_functions(source: Source) -> list[str]:
    """Functions of one file that have more lines than allowed."""
    return [
        f"{source.path}:{f.lineno} {f.name}: {size} lines"
        for f in functions(source.tree)
        if (size := (f.end_lineno or f.lineno) - f.lineno + 1) > MAX_FUNCTION_LINES
    ]


def test_files_are_short_enough_to_read() -> None:
    wrong = [f"{s.path}: {n} lines" for s in sources(*CODE) if (n := s.text.count("\n")) > MAX_FILE_LINES]
    assert not wrong, "\n".join(wrong)


def test_functions_are_short_enough_to_read() -> None:
    wrong = [line for source in sources(*CODE) for line in long_functions(source)]
    assert not wrong, "\n".join(wrong)


def undocumented(source: Source) -> list[str]:
    """Public functions, methods and classes of one file without a docstring."""
    missing = []
    scopes: list[tuple[str, list[ast.stmt]]] = [("", source.tree.body)]
    for scope, body in scopes:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None:
                missing.append(f"{source.path}:{node.lineno} {scope}{node.name}")
            if isinstance(node, ast.ClassDef):
                scopes.append((f"{node.name}.", node.body))
    return missing


def test_what_is_public_has_a_docstring() -> None:
    modules = [s.path for s in sources(*SHIPPED) if ast.get_docstring(s.tree) is None and s.tree.body]
    members = [line for source in sources(*SHIPPED) for line in undocumented(source)]
    assert not modules + members, "\n".join(modules + members)


FORBIDDEN = {
    "remote code": re.compile(r"trust_remote_code\s*=\s*True"),
    "pickle": re.compile(r"\b(?:import\s+pickle|pickle\.loads?|cPickle|dill\.loads?)\b"),
    "unsafe load": re.compile(r"torch\.load\((?![^)]*weights_only\s*=\s*True)"),
    "machine path": re.compile(r"""["'(\s](?:/root|/home|/work|/Users|/opt|/mnt)/"""),
    "unfinished": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|raise NotImplementedError"),
    "shell": re.compile(r"shell\s*=\s*True|\bos\.system\("),
}


@pytest.mark.parametrize("what", sorted(FORBIDDEN))
def test_shipped_code_has_no(what: str) -> None:
    wrong = [
        f"{source.path}:{number} {line.strip()[:80]}"
        for source in sources(*SHIPPED)
        for number, line in enumerate(source.text.splitlines(), 1)
        if FORBIDDEN[what].search(line)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("what", "line", "found"),
    [
        ("remote code", "load(x, trust_remote_code=True)", True),
        ("remote code", "load(x, trust_remote_code=False)", False),
        ("unsafe load", "torch.load(path)", True),
        ("unsafe load", "torch.load(path, weights_only=True)", False),
        ("pickle", "pickle.load(f)", True),
        ("machine path", "open('/home/me/x')", True),
        ("machine path", "open(f'{folder}/home/x')", False),
    ],
)
def test_the_patterns_see_what_they_should(what: str, line: str, found: bool) -> None:
    assert bool(FORBIDDEN[what].search(line)) is found


def broad_handlers(source: Source) -> list[str]:
    """`except:` and `except (Base)Exception:` of one file that do not end by raising again."""
    return [
        f"{source.path}:{node.lineno}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and not isinstance(node.body[-1], ast.Raise)
    ]


def test_shipped_code_catches_only_what_it_names() -> None:
    wrong = [line for source in sources(*SHIPPED) for line in broad_handlers(source)]
    assert not wrong, "\n".join(wrong)


def test_committed_files_are_small_and_hold_no_upstream_data() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    sizes = {f.relative_to(ROOT).as_posix(): f.stat().st_size for f in files if f.is_file()}
    large = [name for name, size in sizes.items() if size > LARGE_FILES.get(name, MAX_FILE_BYTES)]
    assert not large, large


def test_the_docstring_and_handler_rules_see_what_they_should() -> None:
    text = "def f():\n    try:\n        g()\n    except Exception:\n        pass\n"
    source = Source("compact_bench/x.py", "compact_bench.x", text, ast.parse(text))
    assert undocumented(source) == ["compact_bench/x.py:1 f"]
    assert broad_handlers(source) == ["compact_bench/x.py:4"]
    assert not long_functions(source)
