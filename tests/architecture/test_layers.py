"""Who may import whom: downwards in the layout only, and never from the package to the baselines."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.sources import PACKAGE, ROOT, Import, Source, imports, sources

# One group a line; a module imports from groups above its own and from its own group.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("version",),
    ("errors",),
    ("records", "settings", "answers", "paths", "hardware", "layout", "chat", "quiet"),
    ("lab",),
    (
        "data.texts",
        "data.said_beyond",
        "data.lengths",
        "data.schema",
        "data.sources",
        "data.packaged_student",
        "data.rationales",
        "data.splits",
        "data.benchmarks",
    ),
    ("students",),
    ("packing_plan", "packing"),
    ("branches", "forward"),
    ("scores",),
    ("losses", "head"),
    ("lean", "kernels"),
    ("trainer",),
    ("supervised", "choosing", "objectives", "released_consistency", "released"),
    ("averaging", "checkpoints", "trackers", "loop", "parts", "final_weights"),
    ("registry", "checks", "scaffolding"),
    ("compact",),
    ("explaining",),
    ("evaluation",),
    ("probes",),
    ("suites",),
    ("data.generated", "data.teacher_facts", "data.vocabulary"),
    ("data.data_fingerprint",),
    ("data.suite_data",),
    ("provenance",),
    ("store_files", "garbage", "store"),
    ("suite_facts", "method_settings"),
    ("stats", "figures"),
    (
        "comparisons",
        "controls",
        "table_spec",
        "table_rows",
        "table_cells",
        "table_changes",
        "table_notes",
        "tables",
        "tuning",
    ),
    ("claims",),
    ("sweep_spec", "sweep_results"),
    ("report",),
    ("progress", "listing_methods", "listing", "estimate"),
    ("workbench",),
    ("planning", "further_rows", "prefetching", "runner"),
    ("attempts", "job_queue"),
    ("worker", "worker_process"),
    ("launch",),
    ("executing",),
    ("reproduce", "sweeping"),
    ("compare", "exporting", "doctor"),
    ("bench",),
    ("cli",),
    ("__main__",),
)
RANK = {f"{PACKAGE}.{name}": rank for rank, layer in enumerate(LAYERS) for name in layer}
# These only hold names for users; they import lazily or only say what the package is.
EXEMPT = {PACKAGE, f"{PACKAGE}.data"}


def rank_of(module: str) -> int | None:
    """Rank of the longest known prefix of a dotted name, or None."""
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        rank = RANK.get(".".join(parts[:length]))
        if rank is not None:
            return rank
    return None


def upward_imports(source: Source) -> list[str]:
    """Imports of one file that point to a later layer than its own."""
    own = rank_of(source.module)
    if own is None:
        return []
    wrong = []
    for item in imports(source):
        rank = rank_of(item.target)
        if rank is not None and rank > own and not item.typing_only:
            wrong.append(f"{source.path}:{item.line} imports {item.target}")
    return wrong


def test_a_module_imports_only_from_its_own_layer_or_above() -> None:
    wrong = [line for source in sources(PACKAGE) for line in upward_imports(source)]
    assert not wrong, "\n".join(wrong)


def test_every_module_of_the_package_has_a_layer() -> None:
    homeless = [s.path for s in sources(PACKAGE) if rank_of(s.module) is None and s.module not in EXEMPT]
    assert not homeless, f"add to LAYERS: {homeless}"


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
        ("compact_bench.scores.fusion", "from compact_bench.cli import app", 1),
        ("compact_bench.scores.fusion", "from compact_bench.errors import NumericalError", 0),
        ("compact_bench.records", "def f():\n    import compact_bench.students", 1),
        ("compact_bench.data.schema", "from compact_bench import store", 1),
        ("compact_bench.data.schema", "from ..store import Store", 1),
        (
            "compact_bench.trainer",
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
    assert not sibling_import("uniform", Import("compact_bench.loop.train", 1, False))


def test_help_needs_no_heavy_library() -> None:
    heavy = {"torch", "transformers", "lm_eval", "datasets", "pandas", "peft", "accelerate"}
    found = []
    for name in ("__init__", "__main__", "errors", "records", "settings", "paths", "version"):
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
