"""Methods that say something wrong of themselves; everything else about them is in order."""

from __future__ import annotations

import tempfile
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict

from compact_bench import (
    MethodCard,
    Strict,
    SuiteInfo,
)
from tests.contract.sound_method import Config, Sound


class WithoutFit:
    card = Sound.card
    config_type = Config


class NoSource(Sound):
    card = MethodCard(title="No source", source=" ")


class LooseText(Sound):
    card = MethodCard(title="Loose text", source="a test", deviations="one long sentence")  # type: ignore[arg-type]


class Undocumented(Sound):
    class Config(Strict):
        """Settings, of which nothing is said."""

        power: float = 1.0

    config_type = Config


class Thawed(Sound):
    class Config(Strict):
        """Settings.

        Attributes:
            power: a number.
        """

        model_config = ConfigDict(frozen=False)
        power: float = 1.0

    config_type = Config


class Lax(Sound):
    class Config(Strict):
        """Nothing to set."""

        model_config = ConfigDict(extra="ignore")

    config_type = Config


class BadVariant(Sound):
    variants: ClassVar[dict[str, Any]] = {"strong": {"powr": 2.0}}


class NeedsAnExample(Sound):
    class Config(Strict):
        """Settings.

        Attributes:
            strength: a number.
        """

        strength: float

    config_type = Config


class Computes(Sound):
    def __init__(self, config: Config) -> None:
        self.config = config
        self.table = [config.power] * 3


class Counts(Sound):
    made: ClassVar[list[Config]] = []

    def __init__(self, config: Config) -> None:
        type(self).made = [*self.made, config]
        self.config = config


class TouchesAFile(Sound):
    def __init__(self, config: Config) -> None:
        with tempfile.TemporaryFile():
            self.config = config


class SeedsEarly(Sound):
    def __init__(self, config: Config) -> None:
        torch.manual_seed(0)
        self.config = config


class AnswersFalse(Sound):
    def supports(self, suite: SuiteInfo) -> str | None:
        return False  # type: ignore[return-value]


class SupportsRaises(Sound):
    def supports(self, suite: SuiteInfo) -> str | None:
        return None if suite.teachers[1] else "no second teacher"


class RefusesTheFewest(Sound):
    def supports(self, suite: SuiteInfo) -> str | None:
        return "it wants company" if len(suite.teachers) < 2 else None


class HiddenGold(Sound):
    def supports(self, suite: SuiteInfo) -> str | None:
        return None if suite.has_gold else "it needs gold answers"


class RequiresTheUnknown(Sound):
    card = MethodCard(title="Music", source="a test", requires=("violins",))  # type: ignore[arg-type]


class RefusesEverything(Sound):
    def supports(self, suite: SuiteInfo) -> str | None:
        return "never"


BROKEN_DECLARATIONS: dict[type[Any], tuple[str, str]] = {
    WithoutFit: ("import", "no fit"),
    NoSource: ("card", "card.source is empty"),
    LooseText: ("card", "card.deviations must be a tuple"),
    Undocumented: ("configuration", "does not say what power is"),
    Thawed: ("configuration", "not frozen"),
    Lax: ("configuration", "accepts an unknown setting"),
    BadVariant: ("configuration", "variant 'strong'"),
    NeedsAnExample: ("configuration", "example_config"),
    Computes: ("constructor", "computes the attribute table"),
    Counts: ("constructor", "class attribute made"),
    TouchesAFile: ("constructor", "touches the file"),
    SeedsEarly: ("constructor", "draws from torch"),
    AnswersFalse: ("supports", "answered False"),
    SupportsRaises: ("supports", "supports raised IndexError"),
    RefusesTheFewest: ("supports", "refuses 1 teacher(s), card.min_teachers says that this is enough"),
    RefusesEverything: ("supports", "refuses a suite that has everything: never"),
    HiddenGold: ("supports", "set uses_gold=True"),
    RequiresTheUnknown: ("card", "card.requires must be a tuple of truth, pairs"),
}
"""Method -> the one check that refuses it, and a part of its message."""
