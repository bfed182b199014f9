"""What the code imports is declared, what is declared is needed, and every pin satisfies its declaration."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.sources import PACKAGE, ROOT, imports, sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED_UNSEEN = {
    "gguf": "transformers reads the packaged student's file with it",
    "jinja2": "transformers renders chat templates with it",
    "pyarrow": "pandas writes the steps table with it",
}
OPTIONAL = {"liger_kernel", "math_verify", "trackio", "wandb", "tensorboard"}


def declared() -> dict[str, Requirement]:
    """The project's dependencies without extras, by canonical name."""
    return {canonicalize_name(r.name): r for r in map(Requirement, PROJECT["dependencies"])}


def imported() -> set[str]:
    """Top-level names of other distributions that the shipped code imports."""
    tops = {item.target.split(".")[0] for source in sources(PACKAGE, "baselines") for item in imports(source)}
    return tops - set(sys.stdlib_module_names) - {PACKAGE, "baselines", "__future__"}


def test_what_the_code_imports_is_declared() -> None:
    owners = packages_distributions()
    names = set(declared())
    missing = [
        top
        for top in sorted(imported() - OPTIONAL - {"utils"})
        if not names & {canonicalize_name(name) for name in owners.get(top, [top])}
    ]
    assert not missing, missing


def test_what_is_declared_is_needed() -> None:
    owners = packages_distributions()
    used = {canonicalize_name(name) for top in imported() for name in owners.get(top, ())}
    assert not set(declared()) - used - set(NEEDED_UNSEEN)


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    for requirement in declared().values():
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators == {">=", "<"}, requirement


def test_pins_satisfy_what_the_project_requires() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, _, version in pairs}
    extras = [text for group in PROJECT["optional-dependencies"].values() for text in group]
    for text in [*PROJECT["dependencies"], *extras]:
        requirement = Requirement(text)
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(pin, prereleases=True), f"{text} does not admit {pin}"
    assert all("+" not in version for version in pins.values()), "a build tag fits one machine only"


def test_solvers_are_imported_when_they_are_needed() -> None:
    """Listing methods imports all of their files, and must not wait for libraries that a few of them use."""
    late = {"cvxpy", "scipy", "torchjd"}
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources("baselines")
        for node in source.tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if name.split(".")[0] in late
    ]
    assert not wrong, wrong
