"""Every settings field x values that people mistype: what is taken is what was written, or it is refused."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

from compact_bench.core.errors import CompactBenchError, ConfigError
from compact_bench.core.settings import SECTIONS, RunSettings, Strict, apply_overrides, with_changes
from compact_bench.data.lab import WorldSettings
from compact_bench.methods.registry import get_method, method_names

NASTY = (
    "true", "True", "false", "null", "~", "none", "None", "yes", "no", "on", "off", "y", "1", "0", "-1", "2",
    "+3", "007", "1_000", "0x10", "0o17", "0b11", "1:30", "2024-01-01", "2024-01-01T10:00:00Z", "nan", ".nan",
    "inf", "-inf", ".inf", "1e999", "1e-999", "1e3", "2.0", "2.5", "-0.5", "0.5", ".5", "5.", "1e400",
    "9" * 30, "9" * 5000, str(2**31), str(2**63), str(2**53 + 1), ",", "[]", "[1]", "[1, 2]",
    "[a, b]", "[[1]]", "[1,",
    "{}", "{a: 1}", "", " ", "''", '""', "'5'", '"5"', '"true"', "auto", "mean", "*a", "&a 1", "!!int 3",
    "!!python/name:os.system", "1 # c", "a: b", "- a",
    "\u0661", "\uff11", "1\u200b", "1\n", "a\x1b[31m", "a\u202eb", "\ud800",
    "|", "\x00", "1,5",
)  # fmt: skip
DECIMAL = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class Field:
    """A setting as its declaration reads, and how it is set and read back."""

    name: str
    annotation: Any
    bounds: tuple[Any, ...]

    def __str__(self) -> str:
        return self.name


def fields_of(prefix: str, model: type[Strict]) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        yield Field(f"{prefix}{name}", info.annotation, tuple(info.metadata))


SETTINGS = [f for section, model in SECTIONS.items() for f in fields_of(f"{section}.", model)]
WORLD = list(fields_of("", WorldSettings))


def within(number: float, bounds: tuple[Any, ...]) -> bool:
    for bound in (b for top in bounds for b in (top, *getattr(top, "metadata", ()))):
        for name, holds in (
            ("ge", lambda limit: number >= limit),
            ("gt", lambda limit: number > limit),
            ("le", lambda limit: number <= limit),
            ("lt", lambda limit: number < limit),
        ):
            limit = getattr(bound, name, None)
            if limit is not None and not holds(limit):
                return False
    return True


REFUSED = object()


def expected(text: str, annotation: Any, bounds: tuple[Any, ...]) -> Any:
    """What a text means for a type, worked out from the type alone; `REFUSED` where it means nothing."""
    origin, parts = get_origin(annotation), get_args(annotation)
    written = text.strip()
    if origin is Annotated:
        return expected(text, parts[0], (*bounds, *parts[1:]))
    if origin in (Union, types.UnionType):
        # Nothing is nothing before it is a text.
        ordered = sorted(parts, key=lambda part: part is not type(None))
        results = [expected(text, part, bounds) for part in ordered]
        return next((r for r in results if r is not REFUSED), REFUSED)
    if annotation is type(None):
        return None if written in ("null", "Null", "NULL") else REFUSED
    if annotation is bool:
        return {"true": True, "false": False}.get(written.lower(), REFUSED)
    if annotation in (int, float):
        if not DECIMAL.fullmatch(written) or len(written) > 400:
            return REFUSED
        number = float(written)
        lost = number == 0 and re.search("[1-9]", re.split("[eE]", written)[0])
        if not math.isfinite(number) or lost:
            return REFUSED
        exact = int(written) if re.fullmatch("[+-]?[0-9]+", written) else number
        if annotation is int:
            good = exact == int(number) or isinstance(exact, int)
            good = good and number == int(number) and abs(exact) < 2**63
            return int(exact) if good and within(exact, bounds) else REFUSED
        return number if exact == number and within(number, bounds) else REFUSED
    if origin is Literal and {*map(type, parts)} == {int}:
        number = expected(text, int, bounds)
        return number if number in parts else REFUSED
    if origin is Literal:
        return unquoted(written) if unquoted(written) in parts else REFUSED
    if origin is tuple:
        inner = re.fullmatch(r"\[([^\[\]{}'\"]*)\]", written)
        if inner is None:
            return REFUSED
        items = [item.strip() for item in inner[1].split(",")] if inner[1].strip() else []
        values = tuple(expected(item, parts[0], ()) for item in items)
        every = [b for top in bounds for b in (top, *getattr(top, "metadata", ()))]
        least = max((getattr(b, "min_length", 0) or 0 for b in every), default=0)
        return REFUSED if REFUSED in values or "" in items or len(items) < least else values
    if annotation is str:
        if any(ord(sign) < 32 or sign in "\u200b\u202e\ud800" for sign in written):
            return REFUSED
        if not written or (written[0] in "[{"):
            return REFUSED
        return unquoted(written)
    raise AssertionError(f"a type that this test does not know: {annotation}")


def unquoted(written: str) -> str:
    return (
        written[1:-1] if len(written) > 1 and written[0] == written[-1] and written[0] in "'\"" else written
    )


@pytest.mark.parametrize("field", SETTINGS, ids=str)
def test_a_setting_is_what_was_written_or_is_refused(field: Field) -> None:
    section, name = field.name.split(".")
    wrong = []
    for text in NASTY:
        right = expected(text, field.annotation, field.bounds)
        try:
            got = getattr(getattr(apply_overrides(RunSettings(), [f"{field.name}={text}"]), section), name)
        except ConfigError as error:
            assert "--set" in str(error) and error.exit_code == 2
            got = REFUSED
        if not same(got, right):
            wrong.append((text[:40], got, right))
    assert not wrong


@pytest.mark.parametrize("field", WORLD, ids=str)
def test_a_world_is_what_was_written_or_is_refused(field: Field) -> None:
    wrong = []
    for text in NASTY:
        right = expected(text, field.annotation, field.bounds)
        try:
            got = getattr(with_changes(WorldSettings(), [f"{field.name}={text}"], "--world"), field.name)
        except ConfigError as error:
            # Lengths must also be in order.
            got = right if "expected shortest_steps <= longest_steps" in str(error) else REFUSED
        if not same(got, right):
            wrong.append((text[:40], got, right))
    assert not wrong


@pytest.mark.parametrize("method", method_names())
def test_a_methods_own_settings_too(method: str) -> None:
    config = get_method(method).config_type
    required = {n: "ada" for n, f in config.model_fields.items() if f.is_required()}
    wrong = []
    for field in fields_of("", config):
        for text in NASTY:
            right = expected(text, field.annotation, field.bounds)
            try:
                made = apply_overrides(
                    RunSettings(), [f"method.{field.name}={text}"], {field.name: field.annotation}
                )
                got = getattr(config.model_validate({**required, **made.method}), field.name)
            except (CompactBenchError, ValueError):
                got = REFUSED
            # A method may refuse more than its types say; it may not take what they do not.
            if got is not REFUSED and not same(got, right):
                wrong.append((field.name, text[:40], got, right))
    assert not wrong


def same(got: Any, right: Any) -> bool:
    if got is REFUSED or right is REFUSED:
        return got is right
    return type(got) is type(right) and bool(got == right)
