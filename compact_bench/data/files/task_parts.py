"""The files that a task YAML consists of: itself, what it includes, the code of the functions it names."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compact_bench.core.errors import ConfigError
from compact_bench.data.files.imports import reached_files


class Function(str):
    """What follows a tag `!function`: a dotted name."""


def task_parts(path: Path) -> list[Path]:
    """The files that a task's result depends on, each once, in the order in which they are reached.

    The YAML is read as the harness reads it, so quoted keys, lists and comments mean what they mean there. Of
    a function's code counts its module and what that imports (`imports`); of an installed distribution
    the module alone.

    Raises:
        ConfigError: an included file or a function's module cannot be read or followed.
    """
    found: dict[Path, Path] = {}
    todo = [path]
    while todo:
        file = todo.pop(0)
        if file.resolve() in found:
            continue
        # As the harness does: beside the file itself, not beside a link to it.
        file = file.resolve()
        found[file] = file
        content = _read(file)
        included = content.get("include") or []
        todo += [file.parent / str(one) for one in (included if isinstance(included, list) else [included])]
        for name in _functions(content):
            for code in _code_of(name, file):
                found.setdefault(code.resolve(), code)
    return list(found.values())


def _read(path: Path) -> dict[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """The harness's tags, without importing anything."""

    Loader.add_constructor("!function", lambda _, node: Function(node.value))
    try:
        # Safe but for the tag above, which makes a text.
        content = Loader(path.read_bytes()).get_single_data()
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected a YAML that can be read, got: {error}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping, got {type(content).__name__}.")
    return content


def _functions(value: Any) -> Iterator[Function]:
    if isinstance(value, Function):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _functions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _functions(inner)


def _code_of(name: Function, file: Path) -> list[Path]:
    """Files of a function's code: its module beside the YAML, as the harness looks first, or on the path."""
    dotted = name.rpartition(".")[0]
    beside = file.parent / f"{dotted.replace('.', '/')}.py"
    if beside.is_file():
        return [path for path, _ in reached_files(beside, beside.parent).values()]
    spec = importlib.util.find_spec(dotted) if dotted else None
    if spec is None or spec.origin is None:
        raise ConfigError(f"{file}: expected the module of !function {name} beside it, or importable.")
    origin = Path(spec.origin)
    if {"site-packages", "dist-packages"} & {*origin.parts}:
        return [origin]
    return [path for path, _ in reached_files(origin, origin.parent).values()]
