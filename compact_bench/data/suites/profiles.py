"""At what scale a suite is run, and what `--tune` tries there."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import Positive, Rate, RunSettings, Seed, Strict, merged
from compact_bench.core.written.fields import Prose


class TuneSpec(Strict):
    """What `--tune` tries for every method."""

    learning_rates: Annotated[tuple[Rate, ...], Field(min_length=1)]

    @field_validator("learning_rates")
    @classmethod
    def _once_each(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) < len(value):
            raise ValueError("expected every learning rate once")
        return tuple(sorted(value))


class ProfileSpec(Strict):
    """A scale.

    Attributes:
        questions: how many training questions a seed draws, or, where the suite does not draw them, the
            first n; None for all.
        settings: changes of `RunSettings`, by section.
        tune: what `--tune` tries; None for half, once and twice the learning rate of `settings`.
        note: what its numbers are worth.
    """

    questions: Positive | None = None
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    tune: TuneSpec | None = None
    note: Prose = ""

    @field_validator("settings")
    @classmethod
    def _known_settings(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        try:
            merged(RunSettings(), value, "settings")
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("seeds")
    @classmethod
    def _once_each(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("expected every seed once")
        return value
