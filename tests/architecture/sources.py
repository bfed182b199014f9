"""The project's Python files, parsed once, for the tests that look at the code instead of running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "compact_bench"


@dataclass(frozen=True)
class Source:
    """One file: its path inside the checkout, its dotted module name, its text and its tree."""

    path: str
    module: str
    text: str
    tree: ast.Module


@dataclass(frozen=True)
class Import:
    """One imported module: absolute dotted name, line, and whether only type checkers see it."""

    target: str
    line: int
    typing_only: bool


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """All Python files under the folders, in path order."""
    found = []
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT)
            if "__pycache__" in path.parts:
                continue
            parts = path.with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = file.read_text(encoding="utf-8")
            found.append(Source(path.as_posix(), module, text, ast.parse(text, filename=str(path))))
    return tuple(found)


def imports(source: Source) -> Iterator[Import]:
    """Every import of the file, wherever it stands, relative ones resolved."""
    yield from _walk(source, source.tree, typing_only=False)


def _walk(source: Source, node: ast.AST, *, typing_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for statement in child.body:
                yield from _walk(source, ast.Module([statement], []), typing_only=True)
            for statement in child.orelse:
                yield from _walk(source, ast.Module([statement], []), typing_only=typing_only)
        elif isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, typing_only) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(source, child)
            # `from package import name` may name a module; the longer name decides its layer.
            yield from (Import(f"{base}.{alias.name}", child.lineno, typing_only) for alias in child.names)
        else:
            yield from _walk(source, child, typing_only=typing_only)


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in ast.unparse(test)


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = source.module if source.path.endswith("__init__.py") else source.module.rpartition(".")[0]
    parts = package.split(".")
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([*parts, node.module] if node.module else parts)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a tree, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
