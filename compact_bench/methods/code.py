"""Fingerprint of what a method's result depends on beside its settings: its code, and the files they name.

Read from the files as they are, without importing the method. Covered are the method's module and the modules
of its own package or folder that it imports, from one to the next (imports inside functions too); helpers on
`sys.path` that no distribution brings (a change of that path that cannot be followed is refused); COMPACT's
folder where a name of it is used; a checkout's methods that are imported as `baselines.NAME`; the
distribution of an installed method; and every file or folder that a setting of type `pathlib.Path` names.
Not covered: modules that are imported by a computed name, files that the code opens by a name of its own, and
other distributions.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from compact_bench.core.errors import ConfigError
from compact_bench.core.paths import package_folder
from compact_bench.core.records import fingerprint
from compact_bench.core.registry import PACKAGED, Source
from compact_bench.core.settings import Strict
from compact_bench.data.files.imports import parsed, reached_files

BASELINES = "baselines"
"""Origin of the methods in the folder of that name."""


@dataclass(frozen=True)
class MethodSource(Source):
    """Where a method comes from.

    Attributes:
        path: its file, or None where an entry point loads it.
    """

    path: Path | None = None

    @property
    def packaged(self) -> bool:
        """Whether it comes with compact_bench."""
        return self.origin in (PACKAGED, BASELINES)


def method_code(source: MethodSource, config: Strict) -> str:
    """What tells a method's runs apart when its code, or a file that its settings name, is another one.

    Code is read once in a process, when the method is first imported or asked for: what a process has
    imported stays what it runs.

    Args:
        config: the method's settings, complete.

    Raises:
        ConfigError: a file that a setting names, or the method's own, cannot be read.
    """
    inputs = {name: _content(path, f"setting {name}") for name, path in named_files(config)}
    return f"{code_mark(source)}.{fingerprint(inputs)}" if inputs else code_mark(source)


def code_mark(source: MethodSource) -> str:
    """The part of `method_code` before a point: that of the code alone, for which no settings are needed."""
    return fingerprint(dict(code_files(source)))


def named_files(value: Any, place: str = "") -> Iterator[tuple[str, Path]]:
    """Place and path of every file or folder that settings name: what their types make a `pathlib.Path`."""
    if isinstance(value, Path):
        yield place, value
    elif isinstance(value, Strict):
        for name in type(value).model_fields:
            yield from named_files(getattr(value, name), f"{place}.{name}".lstrip("."))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from named_files(inner, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list | tuple | set | frozenset):
        for index, inner in enumerate(value):
            yield from named_files(inner, f"{place}[{index}]")


@cache
def code_files(source: MethodSource) -> Mapping[str, str]:
    """Name -> sha256 of each file that a method's code consists of, and its distribution with its version.

    Raises:
        ConfigError: a file cannot be read.
    """
    hashes: dict[str, str] = {}
    if source.origin == PACKAGED and source.path is not None:
        hashes |= _compact_files()
    elif source.path is not None:
        hashes |= _reached(source.path, source.path.parent, "")
    elif source.module:
        hashes["distribution"] = f"{source.origin} {source.version}"
        hashes |= _module_files(source.module)
    return hashes


@cache
def path_helpers(source: MethodSource) -> Mapping[str, Path]:
    """Modules on `sys.path` that no distribution brings, of those that a method's file reaches: name -> file,
    or folder of a package.

    Raises:
        ConfigError: as `code_files`.
    """
    helpers: dict[str, Path] = {}
    if source.path is not None and source.origin != PACKAGED:
        folders = {BASELINES: package_folder().parent}
        reached_files(source.path, source.path.parent, "", folders, helpers)
    return helpers


def _module_files(module: str) -> dict[str, str]:
    """Files that an installed module consists of; none where it is not there, which its import then says."""
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return {}
    if spec is None or spec.origin is None:
        return {}
    # The packages that enclose the module are not imported for it: finding a submodule would do that.
    file, name = Path(spec.origin), top
    root = file.parent
    for part in module.split(".")[1:]:
        name = f"{name}.{part}"
        inner = PathFinder.find_spec(name, [str(file.parent)])
        if inner is None or inner.origin is None:
            return _reached(file, root, top)
        file = Path(inner.origin)
    return _reached(file, root, top if spec.submodule_search_locations else "")


def _reached(start: Path, root: Path, package: str) -> dict[str, str]:
    """Files that `start` reaches by imports, name -> sha256, with COMPACT's where one uses it."""
    # A checkout's methods can be imported by that name; people edit them as they do their own.
    files = reached_files(start, root, package, {BASELINES: package_folder().parent})
    hashes = {name: hashlib.sha256(data).hexdigest() for name, (_, data) in files.items()}
    if any(_uses_compact(parsed(data)) for _, data in files.values()):
        hashes |= _compact_files()
    return hashes


@cache
def _compact_names() -> frozenset[str]:
    """Names of `compact_bench` that COMPACT's folder defines."""
    stub = parsed((package_folder() / "__init__.pyi").read_bytes())
    return frozenset(
        alias.asname or alias.name
        for node in stub.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("methods.compact")
        for alias in node.names
    )


def _uses_compact(tree: ast.Module) -> bool:
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            if (node.module or "").startswith("compact_bench.methods.compact"):
                return True
            if node.module == "compact_bench":
                used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            # `import compact_bench as cb; cb.PaperObjective`
            used.add(node.attr)
    return bool(used & _compact_names())


@cache
def _compact_files() -> dict[str, str]:
    folder = Path(__file__).with_name("compact")
    files = sorted(folder.rglob("*.py"))
    return {f"compact/{p.relative_to(folder).as_posix()}": _sha256(p) for p in files}


def _content(path: Path, place: str) -> str:
    """sha256 of a file, or of a folder's files with their names."""
    try:
        if not path.is_dir():
            return _sha256(path)
        files = sorted(p for p in path.rglob("*") if p.is_file())
        if not files:
            raise ConfigError(
                f"{place}: expected a file or a folder with files, got the empty folder {path}."
            )
        return fingerprint({p.relative_to(path).as_posix(): _sha256(p) for p in files}, 64)
    except OSError as error:
        raise ConfigError(
            f"{place}: expected a file or folder that can be read, got {path} ({error.strerror or error})."
        ) from None


def _sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_of_state(path, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=4096)
def _sha256_of_state(path: Path, changed_ns: int, size_bytes: int, inode: int) -> str:
    # Weights are gigabytes, and every seed's key asks for them.
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
