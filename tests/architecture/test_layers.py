"""Who may import whom: downwards in the layout only, and never from the package to the baselines."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.sources import PACKAGE, ROOT, Import, Source, imports, sources

# From top to bottom; a package imports only from those above it.
ORDER = (
    "core", "data", "students", "training", "evaluation", "methods", "runs", "results", "commands", "cli",
)  # fmt: skip
MOST_ENTRIES = 12
# These hold names for users, or start the program.
EXEMPT = {PACKAGE, f"{PACKAGE}.__main__"}


def rank_of(module: str) -> int | None:
    """Place in `ORDER` of the package a dotted name lies in, or None."""
    parts = module.split(".")
    return ORDER.index(parts[1]) if parts[0] == PACKAGE and len(parts) > 1 and parts[1] in ORDER else None


def upward_imports(source: Source) -> list[str]:
    """Imports of one file that point to a later package than its own."""
    own = rank_of(source.module)
    if own is None:
        return []
    return [
        f"{source.path}:{item.line} imports {item.target}"
        for item in imports(source)
        if not item.typing_only and (rank := rank_of(item.target)) is not None and rank > own
    ]


def test_a_package_imports_only_from_those_above_it() -> None:
    wrong = [line for source in sources(PACKAGE) for line in upward_imports(source)]
    assert not wrong, "\n".join(wrong)


def test_every_module_lies_in_one_of_the_packages() -> None:
    homeless = [s.path for s in sources(PACKAGE) if rank_of(s.module) is None and s.module not in EXEMPT]
    assert not homeless, homeless


def rooms_of(folder: str) -> dict[str, set[str]]:
    """Entries of a package, each with the other entries of it that it imports."""
    known = {source.module for source in sources(PACKAGE)}
    found: dict[str, set[str]] = {}
    for source in sources(PACKAGE):
        if not source.module.startswith(f"{folder}."):
            continue
        own = source.module.removeprefix(f"{folder}.").split(".")[0]
        edges = found.setdefault(own, set())
        for item in imports(source):
            target = item.target
            if item.typing_only or not target.startswith(f"{folder}."):
                continue
            entry = target.removeprefix(f"{folder}.").split(".")[0]
            # `from package import Name` takes a name that the package's own `__init__` offers.
            if entry != own and any(m == f"{folder}.{entry}" for m in known):
                edges.add(entry)
    return found


def circle(rooms: dict[str, set[str]]) -> list[str]:
    """Entries that cannot be put into an order, because they import one another."""
    left = dict(rooms)
    while left:
        free = [name for name, edges in left.items() if not edges & set(left)]
        if not free:
            return sorted(left)
        for name in free:
            del left[name]
    return []


PACKAGES = sorted({PACKAGE, *(s.module for s in sources(PACKAGE) if s.path.endswith("__init__.py"))})


@pytest.mark.parametrize("package", PACKAGES)
def test_the_entries_of_a_package_have_an_order_and_are_few(package: str) -> None:
    rooms = rooms_of(package)
    assert not circle(rooms), f"{package}: {circle(rooms)} import one another"
    assert len(rooms) <= MOST_ENTRIES, f"{package} has {len(rooms)} entries: make rooms"


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_a_package_says_what_lives_there(package: str) -> None:
    (source,) = [s for s in sources(PACKAGE) if s.module == package]
    assert ast.get_docstring(source.tree), source.path


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["a", "b", "c"]
    assert circle({"a": {"b"}, "b": set()}) == []


def test_the_package_never_imports_baselines_tables_or_tests() -> None:
    forbidden = ("baselines", "paper_tables", "tests", f"{PACKAGE}._baselines", f"{PACKAGE}._paper_tables")
    wrong = [
        f"{source.path}:{item.line} imports {item.target}"
        for source in sources(PACKAGE)
        for item in imports(source)
        if any(item.target == name or item.target.startswith(f"{name}.") for name in forbidden)
    ]
    assert not wrong, "\n".join(wrong)


def sibling_import(own: str, item: Import) -> bool:
    """Whether an import of `baselines/<own>.py` reaches another method's file."""
    target = item.target
    for prefix in ("baselines.", f"{PACKAGE}._baselines."):
        if target.startswith(prefix):
            first = target.removeprefix(prefix).split(".")[0]
            return not first.startswith("_") and first != own
    return False


def test_a_baseline_imports_no_sibling_but_private_helpers() -> None:
    wrong = [
        f"{source.path}:{item.line} imports {item.target}"
        for source in sources("baselines")
        for item in imports(source)
        if sibling_import(source.module.rpartition(".")[2], item)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "text", "count"),
    [
        ("compact_bench.methods.compact.scores.fusion", "from compact_bench.cli import app", 1),
        (
            "compact_bench.methods.compact.scores.fusion",
            "from compact_bench.core.errors import NumericalError",
            0,
        ),
        ("compact_bench.core.records", "def f():\n    import compact_bench.students.student", 1),
        ("compact_bench.data.validation.questions", "from compact_bench.runs import store", 1),
        ("compact_bench.data.validation.questions", "from ...runs.store import Store", 1),
        (
            "compact_bench.training.protocol",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from compact_bench.cli import app",
            0,
        ),
    ],
)
def test_the_direction_rule_sees_what_it_should(module: str, text: str, count: int) -> None:
    source = Source(module.replace(".", "/") + ".py", module, text, ast.parse(text))
    assert len(upward_imports(source)) == count


def test_the_sibling_rule_sees_what_it_should() -> None:
    assert sibling_import("uniform", Import("baselines.zero_shot.ZeroShot", 1, False))
    assert not sibling_import("uniform", Import("baselines._shared.mean", 1, False))
    assert not sibling_import("uniform", Import("compact_bench.training.loop.train", 1, False))


def test_help_needs_no_heavy_library() -> None:
    heavy = {"torch", "transformers", "lm_eval", "datasets", "pandas", "peft", "accelerate"}
    found = []
    for name in (
        "__init__",
        "__main__",
        "core/errors",
        "core/records",
        "core/settings",
        "core/paths",
    ):
        file = ROOT / PACKAGE / f"{name}.py"
        source = next(s for s in sources(PACKAGE) if s.path == file.relative_to(ROOT).as_posix())
        found += [
            f"{source.path}:{node.lineno}"
            for node in source.tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for item in imports(Source(source.path, source.module, "", ast.Module([node], [])))
            if item.target.split(".")[0] in heavy
        ]
    assert not found, found
