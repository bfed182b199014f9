"""Settings of methods that do not come from their authors or users: what a suite gives them."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.settings import describe_validation_error, setting_names
from compact_bench.core.written.names import shown
from compact_bench.data.suites import SuiteSpec
from compact_bench.methods.contract import requiring_fields
from compact_bench.methods.registry import get_method, method_names, method_sources, split_name


def settable_fields(planned: Iterable[str], overrides: Sequence[str]) -> dict[str, Any]:
    """Fields of methods' configurations that `--set` may name, each with its type.

    Those of every method that comes with compact_bench, so that one command fits several tables, and of
    another package's where it is planned. The others' code is imported only where an override names what is
    in none of these, as in a run that another command planned. One that cannot be imported has none.

    Args:
        planned: names of the methods that a command runs or shows.
        overrides: the "key=value" texts.
    """
    chosen = with_required_methods(planned, overrides)
    near: list[str] = []
    far: list[str] = []
    for name, source in method_sources().items():
        (near if name in chosen or source.packaged else far).append(name)
    fields = _fields_of(near)
    known = {full.split(".", 1)[1] for full in setting_names(tuple(fields))}
    asked = {text.partition("=")[0].strip().rpartition(".")[2] for text in overrides}
    return fields if asked <= known else _fields_of([*near, *far])


def with_required_methods(planned: Iterable[str], overrides: Sequence[str] = ()) -> set[str]:
    """Methods, and those whose runs theirs require, from one to the next: by `--set`, else by default."""
    given = {key.strip().rpartition(".")[2]: value.strip() for key, _, value in map(_split, overrides)}
    found: set[str] = set()
    todo = list(planned)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        # What cannot be imported, or names no method, is said where its runs are planned.
        with contextlib.suppress(ConfigError):
            fields = get_method(name).config_type.model_fields
            named = [
                given.get(field, fields[field].default)
                for field in requiring_fields(get_method(name).config_type)
            ]
            todo += [split_name(text)[0] for text in named if isinstance(text, str)]
    return found & {*method_names()}


def _split(override: str) -> tuple[str, str, str]:
    return override.partition("=")


def _fields_of(methods: Iterable[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in methods:
        with contextlib.suppress(ConfigError):
            for field, info in get_method(name).config_type.model_fields.items():
                # Two methods may give one name two types; a value is then read as fits both.
                fields[field] = fields[field] | info.annotation if field in fields else info.annotation
    return fields


def check_reach(overrides: Sequence[str], planned: Iterable[str]) -> None:
    """Refuse a `--set` that changes nothing, as no planned method has the setting.

    Raises:
        ConfigError: an override names a setting that only other methods have.
    """
    sections = {full.split(".", 1)[1] for full in setting_names()}
    chosen = sorted(with_required_methods(planned, overrides))
    fields = _fields_of(chosen)
    for text in overrides:
        section, _, field = text.partition("=")[0].strip().rpartition(".")
        if section not in ("", "method") or field in fields or (not section and field in sections):
            continue
        names = f"{', '.join(chosen[:8])}{' ...' if len(chosen) > 8 else ''}" or "no method"
        near = difflib.get_close_matches(field, fields, n=3, cutoff=0.5)
        hint = f", did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(
            f"--set: {shown(field)!r} is no setting of what this command runs ({names}){hint}. It would "
            "change nothing: leave it out, or run the method that has it."
        )


def check_method_settings(spec: SuiteSpec, planned: Iterable[str]) -> None:
    """Refuse settings that a suite gives a method and the method does not have or take.

    Args:
        planned: names of the methods that a command runs or shows; the settings of others are left alone.

    Raises:
        UnknownNameError: there is no such method.
        ConfigError: a setting is unknown or its value is wrong.
    """
    chosen = set(planned)
    for method, values in spec.method_settings.items():
        if method not in (sources := method_sources()):
            raise UnknownNameError(f"method in suite {spec.name}, [method_settings]", method, method_names())
        if method not in chosen and not sources[method].packaged:
            continue
        try:
            config_type = get_method(method).config_type
        except ConfigError:
            # What cannot be imported harms its own runs only, and they say why.
            continue
        try:
            config_type.model_validate(values)
        except ValidationError as error:
            # A required setting may come from a table row.
            if any(fault["type"] != "missing" for fault in error.errors()):
                place = f"suite {spec.name}, [method_settings.{method}]"
                raise ConfigError(describe_validation_error(error, place)) from None


def check_groups(spec: SuiteSpec, groups: Sequence[str] | None) -> None:
    """Refuse groups of benchmarks of which the suite has none, before anything is trained.

    Args:
        groups: the groups that are evaluated; None for all.

    Raises:
        UnknownNameError: no benchmark is of a group.
    """
    there = {benchmark.group for benchmark in spec.benchmarks}
    for group in groups or ():
        if group not in there:
            raise UnknownNameError(f"group of benchmarks of suite {spec.name}", group, there)
