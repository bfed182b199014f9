"""Versioned suite definitions: packaged ones by name, a user's own by the path of its TOML file.

A suite file may start from another with `extends = "svamp"`: what it does not say is taken from there,
teachers, training questions and known faults excepted. Where the other suite's questions are generated and
the file names no source of its own, training and teachers are taken over too, and `[training.world]` changes
single settings of the world. `[groups]` says which benchmarks stand where; `[origins.NAME]` gives the
repository and commit of files written as `{origin = "NAME", path = ...}`. `[method_settings.METHOD]` gives
a method settings of its own, such as words that the suite's student knows.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.registry import Source, file_sources, load_named, usable
from compact_bench.core.settings import describe_validation_error, with_changes
from compact_bench.core.written.names import shown
from compact_bench.core.written.toml_files import read_toml_file, user_path
from compact_bench.data.suites.spec import (
    TRAINING_SOURCES,
    SuiteSpec,
)

_NOT_INHERITED = ("teachers", "training", "known_faults")
_GROUPS = ("in_distribution", "out_of_distribution", "retention")
_FILE_FIELDS = ("file", "gold", "excluding", "task_file")


def suite_names() -> tuple[str, ...]:
    """Names of the suites of this package, and of other packages' data files `suite_NAME.toml`."""
    return usable(suite_sources(), load_spec)


def suite_sources() -> dict[str, Source]:
    """The suites by name, those that cannot be used too."""
    return file_sources("suite", ".toml", {path.stem: path for path in Path(__file__).parent.glob("*.toml")})


def load_spec(name_or_path: str | Path) -> SuiteSpec:
    """Read and validate a suite.

    Args:
        name_or_path: a packaged suite's name, or the path of a TOML file (it ends in .toml). Paths of
            local files inside it are relative to its folder.

    Raises:
        UnknownNameError: no packaged suite has this name.
        ConfigError: the file cannot be read or is not as expected; every fault is listed.
    """
    where, raw, folder = _read(str(name_or_path))
    problems: list[str] = []
    data = _inherited(raw, where)
    data = _grouped(data, problems)
    origins = data.pop("origins", {})
    data = _resolved(data, origins if isinstance(origins, dict) else {}, folder, problems)
    try:
        spec = SuiteSpec.model_validate(data)
    except ValidationError as error:
        text = describe_validation_error(error, where)
        raise ConfigError("\n".join([text, *(f"  - {problem}" for problem in problems)])) from None
    if problems:
        listing = "\n".join(f"  - {problem}" for problem in problems)
        raise ConfigError(f"{where}: {len(problems)} value(s) not as expected\n{listing}")
    return spec


def _read(name: str) -> tuple[str, dict[str, Any], Path | None]:
    if name.endswith(".toml"):
        path = user_path(name)
        return shown(name), read_toml_file(path, f"suite file {shown(name)}"), path.absolute().parent
    file: Path = load_named("suite (or path ending in .toml)", name, suite_sources())
    return f"suite {name}", read_toml_file(file, f"suite {name}"), file.parent


def _inherited(raw: dict[str, Any], where: str) -> dict[str, Any]:
    base_name = raw.pop("extends", None)
    if base_name is None:
        return raw
    if not isinstance(base_name, str) or base_name not in suite_sources():
        raise UnknownNameError(f"suite in {where}, field 'extends'", str(base_name), suite_names())
    base = _inherited(_read(base_name)[1], base_name)
    kept = {key: value for key, value in base.items() if key not in _NOT_INHERITED}
    world = _inherited_world(base, raw)
    for name in _said_of_others(raw, world):
        kept.pop(name, None)
    if "title" not in kept and isinstance(raw.get("name"), str):
        kept["title"] = f"{raw['name']}, with benchmarks of suite {base_name}"
    data = {**kept, **raw}
    for table in ("origins", "profiles", "method_settings"):
        if isinstance(raw.get(table), dict):
            data[table] = {**kept.get(table, {}), **raw[table]}
    return data | world


def _said_of_others(raw: dict[str, Any], world: dict[str, Any]) -> tuple[str, ...]:
    """Words of a base that are about its own data or its own student, where a file has others."""
    of_data = () if world else ("title", "card")
    return (*of_data, *(("student_title", "student_card") if "student" in raw else ()))


def _inherited_world(base: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    """Training and teachers of a base whose questions are generated, with the file's own changes.

    Rationales of files are about their own questions and are never inherited; a generated world with one
    rate changed is what a user's file is for.
    """
    theirs, changed = base.get("training"), raw.get("training", {})
    if not isinstance(theirs, dict) or "world" not in theirs or not isinstance(changed, dict):
        return {}
    world = changed.get("world", {})
    if any(name in changed for name in TRAINING_SOURCES if name != "world") or not isinstance(world, dict):
        return {}
    inherited: dict[str, Any] = {"training": {**theirs, **changed, "world": {**theirs["world"], **world}}}
    if "teachers" in base and "teachers" not in raw:
        inherited["teachers"] = base["teachers"]
    return inherited


def _grouped(data: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """Put benchmarks into the groups, and into the order, that `[groups]` says; others are left out."""
    groups = data.pop("groups", None)
    if groups is None:
        return data
    benchmarks = data.get("benchmarks")
    listed = benchmarks if isinstance(benchmarks, list) else []
    by_task = {str(b.get("task")): b for b in listed if isinstance(b, dict)}
    chosen = []
    if not isinstance(groups, dict):
        problems.append(f"groups: expected a list of tasks for each of {', '.join(_GROUPS)}, got {groups!r}")
    for group, tasks in groups.items() if isinstance(groups, dict) else ():
        if group not in _GROUPS or not isinstance(tasks, list):
            problems.append(f"groups.{group}: expected a list of tasks under one of {', '.join(_GROUPS)}")
            continue
        for task in tasks:
            if isinstance(task, str) and task in by_task:
                chosen.append({**by_task[task], "group": group})
            else:
                near = difflib.get_close_matches(str(task), by_task, n=1, cutoff=0.5)
                hint = f". Did you mean {near[0]!r}?" if near else ""
                problems.append(f"groups.{group}: no benchmark has the task {task!r}{hint}")
    return {**data, "benchmarks": chosen}


def _resolved(
    value: Any, origins: Mapping[str, Any], folder: Path | None, problems: list[str], place: str = ""
) -> Any:
    """Fill in origins and local files everywhere in a suite's data."""
    if isinstance(value, list):
        return [_resolved(v, origins, folder, problems, f"{place}.{n}") for n, v in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if "origin" in value:
        return _with_origin(value, origins, problems, place)
    done = {}
    for key, item in value.items():
        inner = f"{place}.{key}" if place else key
        of_file = (key in _FILE_FIELDS or place.endswith(".files")) and isinstance(item, str)
        done[key] = (
            _local_file(item, folder, problems, inner)
            if of_file
            else _resolved(item, origins, folder, problems, inner)
        )
    return done


def _with_origin(
    value: dict[str, Any], origins: Mapping[str, Any], problems: list[str], place: str
) -> dict[str, Any]:
    rest = {key: item for key, item in value.items() if key != "origin"}
    origin = origins.get(str(value["origin"]))
    if not isinstance(origin, dict):
        known = ", ".join(origins) or "none"
        problems.append(f"{place}: no origin is called {value['origin']!r}; known: {known}")
        return rest
    return {"repo": origin.get("repo"), "commit": origin.get("commit"), **rest}


def _local_file(text: str, folder: Path | None, problems: list[str], place: str) -> dict[str, Any]:
    path = (folder or Path.cwd()) / user_path(text)
    try:
        content = path.read_bytes()
    # A zero byte in the path is a ValueError.
    except (OSError, ValueError) as error:
        cause = (error.strerror if isinstance(error, OSError) else None) or error
        problems.append(f"{place}: expected a file, got {text!r} ({cause})")
        # Stands in so that only this one fault is reported for the field; the spec is refused all the same.
        content = b""
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def with_world(spec: SuiteSpec, overrides: Sequence[str]) -> SuiteSpec:
    """A suite with some settings of its world changed ("slip_rate=0.2"; of two with one key the later
    counts).

    Raises:
        ConfigError: the suite has no generated world, or an override is malformed, names nothing, has a wrong
            value or another version of the world; every fault is listed.
    """
    if not overrides:
        return spec
    world = spec.training.world
    if world is None:
        raise ConfigError(
            f"--world: expected a suite whose questions are generated, got {spec.name!r}, whose questions "
            f"come from training.{spec.training.source}. Leave out --world, or use --suite lab."
        )
    changed = with_changes(world, overrides, "--world")
    if changed.version != world.version:
        # Its benchmarks, and its student, are of the suite's own version.
        raise ConfigError(
            f"--world: expected version {world.version}, which suite {spec.name!r} is made for, got "
            f"{changed.version}. Leave it out, and use --suite lab@1 or lab for the other world."
        )
    return spec.model_copy(update={"training": spec.training.model_copy(update={"world": changed})})
