"""The files that a Python file consists of: its own, and those that its imports reach; nothing is imported.

Followed are modules below the file's own folder or package, one to the next (imports inside functions too),
and modules on `sys.path` that neither Python nor an installed distribution has: a folder in PYTHONPATH, or
one that the code itself puts there. Not followed are names that are computed.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path

from compact_bench.core.errors import ConfigError

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD = sys.stdlib_module_names | {"compact_bench"}
_JOINING = ("join", "joinpath")
_SAME = ("str", "Path", "abspath", "realpath", "normpath", "fspath", "resolve", "absolute", "as_posix")


def reached_files(
    start: Path,
    root: Path,
    package: str = "",
    also: Mapping[str, Path] | None = None,
    helpers: dict[str, Path] | None = None,
) -> dict[str, tuple[Path, bytes]]:
    """Files that `start` reaches by imports: a name that says nothing of where they lie -> path and content.

    Args:
        root: top of its package or folder.
        package: name by which modules below `root` import one another, or "" for a plain folder.
        also: other packages to follow by name, with the folder that each lies in.
        helpers: gets the first name of every module on the path that belongs to no distribution, and its file
            or, of a package, its folder.

    Raises:
        ConfigError: a file cannot be read, or it changes `sys.path` in a way that cannot be followed.
    """
    found: dict[str, tuple[Path, bytes]] = {}
    seen: set[Path] = set()
    # Folders that code has put on the path count for the whole import, not for the file alone that does it.
    added: list[str] = []
    todo = [start]
    while todo:
        path = todo.pop()
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        data = _read(path)
        found[_name(path, root, found)] = path, data
        if package:
            # Importing a module runs its packages' `__init__.py` first.
            inits = [f / "__init__.py" for f in path.parents if f.is_relative_to(root)]
            todo += [init for init in inits if init.is_file()]
        tree = parsed(data)
        added += [folder for folder in _added_folders(tree, path) if folder not in added]
        for folder, dotted in _imported(tree, path.parent, root, package, also or {}):
            todo += module_files(folder, dotted)
        for dotted in _absolute_names(tree):
            if dotted[0] != package and dotted[0] not in (also or {}):
                beside = not package and module_files(root, dotted)
                place, files = _on_path(dotted, added if beside else [*added, *sys.path])
                todo += files
                if helpers is not None and place is not None:
                    helpers.setdefault(dotted[0], place)
    return found


def _name(path: Path, root: Path, taken: Mapping[str, object]) -> str:
    # A checkout's method may have the name of the user's own, which extends it.
    inside = path.is_relative_to(root)
    name = path.relative_to(root).as_posix() if inside else f"{path.parent.name}/{path.name}"
    while name in taken:
        name += "'"
    return name


def _imported(
    tree: ast.Module, here: Path, root: Path, package: str, also: Mapping[str, Path]
) -> Iterator[tuple[Path, list[str]]]:
    """What a module imports that may lie below `root`: the folder to look in, and the name's parts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                # What is imported may be a module of the package, or a name in it.
                yield _up(here, node.level - 1), [*parts, alias.name]
    for dotted in _absolute_names(tree):
        if dotted[0] in also:
            yield also[dotted[0]], dotted
        if not package:
            yield root, dotted
        elif dotted[0] == package:
            yield root, dotted[1:]


def _absolute_names(tree: ast.Module) -> Iterator[list[str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                yield [*node.module.split("."), alias.name]


def _up(folder: Path, levels: int) -> Path:
    for _ in range(levels):
        folder = folder.parent
    return folder


def module_files(folder: Path, parts: list[str]) -> list[Path]:
    """Files of a dotted name below a folder, as far as there are any: packages on the way, the module."""
    found = [folder / "__init__.py"] if not parts else []
    for part in parts:
        if (folder / f"{part}.py").is_file():
            found.append(folder / f"{part}.py")
            break
        folder = folder / part
        found.append(folder / "__init__.py")
    return [path for path in found if path.is_file()]


def _on_path(dotted: list[str], folders: list[str]) -> tuple[Path | None, list[Path]]:
    """Place and files of a module on the path that belongs to no distribution; none where it does, or is not
    there.
    """
    if dotted[0] in _STANDARD:
        return None, []
    try:
        spec = PathFinder.find_spec(dotted[0], folders)
    except (ImportError, ValueError):
        return None, []
    places = list(spec.submodule_search_locations or []) if spec else []
    place = spec.origin if spec and spec.origin and spec.has_location else next(iter(places), None)
    if place is None or _INSTALLED & {*Path(place).parts}:
        return None, []
    file = Path(place)
    top = file.parent if file.name == "__init__.py" else file
    return top, module_files(top.parent, dotted)


def _added_folders(tree: ast.Module, path: Path) -> Iterator[str]:
    """Folders that a file puts on `sys.path`.

    Raises:
        ConfigError: one that is not made of `__file__` and texts alone.
    """
    values: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = node.value
    for node in ast.walk(tree):
        for wanted in _path_changes(node):
            folder = None if wanted is None else _folder(wanted, path, values)
            if folder is None:
                line = getattr(node, "lineno", "?")
                raise ConfigError(
                    f"{path}, line {line}: expected sys.path to get folders made of __file__ and texts, "
                    f"got {ast.unparse(node)!r}: a change of what it imports from there would go unseen. "
                    "Put the helper beside the file (`from ._helper import ...`), or write such a folder."
                )
            yield os.path.abspath(folder)


def _path_changes(node: ast.AST) -> list[ast.expr | None]:
    """What a statement puts on `sys.path`; None for what cannot be told."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        what, how = ast.unparse(node.func.value), node.func.attr
        if what == "sys.path" and how in ("insert", "append", "extend"):
            last = node.args[-1] if node.args else None
            many = how == "extend"
            return list(last.elts) if many and isinstance(last, ast.List | ast.Tuple) else [
                None if many else last
            ]  # fmt: skip
        if what == "site" and how == "addsitedir":
            return [node.args[0] if node.args else None]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    if isinstance(node, ast.Assign | ast.AugAssign) and any(
        target is not None and ast.unparse(target).startswith("sys.path") and _is_path(target)
        for target in targets
    ):
        given = node.value
        elements = _elements(given)
        return [None] if elements is None else elements
    return []


def _is_path(target: ast.expr) -> bool:
    text = ast.unparse(target)
    return text == "sys.path" or text.startswith("sys.path[")


def _elements(node: ast.expr) -> list[ast.expr | None] | None:
    """The new folders of `[folder, *sys.path]` or `sys.path + [folder]`; None where it is neither."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _elements(node.left), _elements(node.right)
        return None if left is None or right is None else left + right
    if ast.unparse(node) in ("sys.path", "*sys.path", "sys.path[:]", "list(sys.path)"):
        return []
    if isinstance(node, ast.List | ast.Tuple):
        own = [e for e in node.elts if ast.unparse(e) != "*sys.path"]
        return None if any(isinstance(e, ast.Starred) for e in own) else list(own)
    return None


def _folder(node: ast.expr, path: Path, values: Mapping[str, ast.expr], depth: int = 20) -> Path | None:
    """The folder that an expression names, or None where that cannot be told from the text."""
    if not depth:
        return None

    def inner(one: ast.expr) -> Path | None:
        return _folder(one, path, values, depth - 1)

    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return Path(node.value)
    if isinstance(node, ast.Name):
        if node.id == "__file__":
            return path.resolve()
        return inner(values[node.id]) if node.id in values else None
    if isinstance(node, ast.Attribute) and node.attr == "parent":
        whole = inner(node.value)
        return whole and whole.parent
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute):
        whole, number = inner(node.value.value), node.slice
        known = node.value.attr == "parents" and isinstance(number, ast.Constant)
        place = number.value if known and isinstance(number, ast.Constant) else None
        if whole is None or not isinstance(place, int) or place >= len(whole.parents):
            return None
        return whole.parents[place]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left, right = inner(node.left), inner(node.right)
        return left / right if left and right else None
    return _called(node, inner) if isinstance(node, ast.Call) else None


def _called(node: ast.Call, inner: Callable[[ast.expr], Path | None]) -> Path | None:
    """`_folder` of a call: of functions that join or tidy paths."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    # `os.path.join(a, b)` has all its parts as arguments, `a.joinpath(b)` the first before the point.
    parts = list(node.args) if node.args and name != "joinpath" else []
    if owner is not None and not parts:
        parts = [owner, *node.args]
    folders = [folder for part in parts if (folder := inner(part)) is not None]
    if not folders or len(folders) < len(parts):
        return None
    if name == "dirname":
        return folders[0].parent
    if name in _JOINING:
        return Path(*folders)
    return folders[0] if name in _SAME and len(folders) == 1 else None


def parsed(data: bytes) -> ast.Module:
    """The syntax tree of a file, empty where it has none."""
    try:
        return ast.parse(data)
    except (SyntaxError, ValueError):
        # Its import says so; that there is such a file is all that counts here.
        return ast.Module(body=[], type_ignores=[])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(f"{path}: expected a file of code that can be read, got: {why}.") from None
