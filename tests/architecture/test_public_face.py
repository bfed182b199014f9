"""One face: what an author needs is a name of `compact_bench`, and methods take it from there."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import compact_bench
from tests.architecture.sources import PACKAGE, ROOT, sources


def homes() -> dict[str, str]:
    """Name -> the module that the stub takes it from."""
    stub = ast.parse((ROOT / PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    return {
        alias.name: f"{PACKAGE}.{node.module}"
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_every_name_of_the_face_is_there_and_in_its_home() -> None:
    assert len(homes()) > 80 and set(homes()) == set(compact_bench.__all__)
    for name, home in homes().items():
        assert getattr(compact_bench, name) is getattr(importlib.import_module(home), name)


def test_methods_import_from_the_face_and_from_private_helpers_only() -> None:
    wrong = [
        f"{source.path}:{node.lineno} imports from {node.module}"
        for source in sources("baselines")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}.")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_face_loads_nothing_until_a_name_is_used() -> None:
    heavy = ("torch", "transformers", "pydantic")
    code = f"import sys, compact_bench; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
