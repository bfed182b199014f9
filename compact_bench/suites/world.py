"""Changes of single settings of a suite's generated world, as `--world` gives them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from compact_bench.errors import ConfigError
from compact_bench.lab import WorldSettings
from compact_bench.settings import describe_validation_error, parse_value
from compact_bench.suites.spec import SuiteSpec

__all__ = ["with_world"]


def with_world(spec: SuiteSpec, overrides: Sequence[str]) -> SuiteSpec:
    """A suite with some settings of its world changed.

    Args:
        spec: the suite.
        overrides: "key=value" texts such as "slip_rate=0.2"; of two with one key the later counts.

    Raises:
        ConfigError: the suite has no generated world, or an override is malformed, names nothing or has a
            wrong value; every fault is listed.
    """
    if not overrides:
        return spec
    world = spec.training.world
    if world is None:
        raise ConfigError(
            f"--world: expected a suite whose questions are generated, got {spec.name!r}, whose questions "
            f"come from training.{spec.training.source}. Leave out --world, or use --suite lab."
        )
    problems: list[str] = []
    changes: dict[str, Any] = {}
    for text in overrides:
        key, sign, raw = (part.strip() for part in text.partition("="))
        if not sign or not key or not raw:
            problems.append(f"{text!r}: expected key=value")
        elif key not in WorldSettings.model_fields:
            problems.append(_unknown(key))
        else:
            try:
                changes[key] = parse_value(raw)
            except yaml.YAMLError:
                problems.append(f"{text!r}: expected a number")
    if problems:
        raise ConfigError(f"--world: {'; '.join(problems)}.")
    try:
        changed = WorldSettings.model_validate({**world.model_dump(), **changes})
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, "--world")) from None
    return spec.model_copy(update={"training": spec.training.model_copy(update={"world": changed})})


def _unknown(key: str) -> str:
    names = list(WorldSettings.model_fields)
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.5)
    hint = f", did you mean {' or '.join(near)}?" if near else ""
    return f"{key!r} names no setting of the world{hint} Known: {', '.join(names)}"
