"""What the documents name exists: files, commands, settings, and the test command that CI runs."""

from __future__ import annotations

import ast
import re

import pytest

from tests.architecture.sources import PACKAGE, ROOT
from tests.architecture.test_layers import ORDER

DOCS = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md"))
DOCUMENTS = ("README.md", "CHANGELOG.md", "RESULTS.md", *DOCS)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_inside_the_repository_lead_somewhere(name: str) -> None:
    file = ROOT / name
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", file.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (file.parent / target).exists()]
    assert not missing, missing


def test_the_file_tree_names_what_is_there() -> None:
    (tree,) = [b for b in code_blocks(README, "text") if "baselines/" in b]
    folders: list[str] = []
    missing = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], line.split()[0].rstrip("/")]
        path = ROOT / "/".join(folders)
        # An empty folder is not in a clone.
        if not path.is_file() and not any(path.glob("*")):
            missing.append("/".join(folders))
    assert len(tree.splitlines()) > 20
    assert not missing, missing


def test_the_house_names_what_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)+(?:\.py)?)/?`", text))
    missing = [name for name in named if not any((ROOT / top / name).exists() for top in ("", PACKAGE))]
    assert len(named) > 20 and not missing, missing
    rows = re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE)
    assert tuple(rows) == ORDER


def test_the_results_in_the_readme_are_those_of_the_generated_pages() -> None:
    pages = [ROOT / "RESULTS.md", *(ROOT / "docs" / "results" / "lab_lite").glob("*.md")]
    generated = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    block = README.partition("<!-- results:begin -->")[2].partition("<!-- results:end -->")[0]
    # README leaves out a table's last columns, so a row of it begins one there.
    shown = [
        line.removesuffix(" |")
        for line in block.splitlines()
        if line.startswith(("| ", "- ")) and not line.startswith("| Row")
    ]
    assert len(shown) > 30
    missing = [line for line in shown if f"\n{line}" not in generated]
    assert not missing, "\n".join(missing)


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    from compact_bench.cli import app

    commands = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    named = set(re.findall(r"(?:compact-bench|python -m compact_bench) ([a-z-]+)", README))
    table = README.partition("## Commands")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z][a-z-]*)(?: [A-Z ]+)?`", table))
    assert commands <= listed, commands - listed
    assert named | listed <= commands, (named | listed) - commands


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = [b.strip() for b in code_blocks(README, "bash") if "tox -e" in b]
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace(" -q ", " ")


def test_settings_named_in_the_documents_exist() -> None:
    from compact_bench.core.settings import SECTIONS

    known = {f"{section}.{field}" for section, model in SECTIONS.items() for field in model.model_fields}
    wrong = [
        (name, key)
        for name in DOCUMENTS
        for key in re.findall(
            r"\b(?:train|lora|eval)\.[a-z_]+(?!\()\b", (ROOT / name).read_text(encoding="utf-8")
        )
        if key not in known
    ]
    assert not wrong, wrong


def test_python_in_the_readme_parses_and_imports_what_exists() -> None:
    import importlib

    blocks = code_blocks(README, "python")
    assert blocks
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("compact_bench"):
                module = importlib.import_module(node.module or "")
                assert not [a.name for a in node.names if not hasattr(module, a.name)], node.module
