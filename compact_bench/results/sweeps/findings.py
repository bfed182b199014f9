"""Several sweeps side by side: at which settings of the world the reference lies above or below which row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import RunRecord
from compact_bench.core.written.values import number_text
from compact_bench.results.sweeps.results import SweepResults
from compact_bench.results.tables.comparisons import Comparison

OWN = "the suite's own"


@dataclass(frozen=True)
class Setting:
    """One setting of the world.

    Attributes:
        sweep: place of its sweep among those of the page; of the suite's own world, of the first that has it.
        is_own: whether it is the suite's own world, which every sweep that has it shares.
    """

    sweep: int
    value: float
    is_own: bool


@dataclass(frozen=True)
class Findings:
    """What several sweeps of one suite, profile, student and reference show together.

    Attributes:
        command: the command that makes these results.
    """

    sweeps: tuple[SweepResults, ...]
    command: str

    @property
    def settings(self) -> tuple[Setting, ...]:
        """All settings of the world, the suite's own first, which is there once."""
        found = [
            Setting(number, value, value == sweep.own_value)
            for number, sweep in enumerate(self.sweeps)
            for value in sweep.spec.axis.values
        ]
        own = [setting for setting in found if setting.is_own]
        return (*own[:1], *(setting for setting in found if not setting.is_own))

    def titles(self, *, rivals: bool) -> dict[str, str]:
        """Name -> title of the rows that the reference is compared with: its rivals, or the marks."""
        return {
            row.name: row.title
            for sweep in self.sweeps
            for row in sweep.spec.rows
            if row.name != sweep.spec.reference and row.rival is rivals and sweep.spec.reference_title
        }

    def comparison(self, setting: Setting, row: str) -> Comparison | None:
        """The reference minus a row at a setting, in the main panel; None where the sweep has no such row."""
        sweep = self.sweeps[setting.sweep]
        panel = sweep.spec.main_panel
        return sweep.comparisons.get((panel.name, row, setting.value)) if panel else None

    def label(self, setting: Setting) -> str:
        """What a setting is called: "competence 0.2"."""
        axis = self.sweeps[setting.sweep].spec.axis
        return OWN if setting.is_own else f"{axis.short_title} {number_text(setting.value)}"

    @property
    def records(self) -> list[RunRecord]:
        """All runs, each once, by name."""
        records = {record.key.hash: record for sweep in self.sweeps for record in sweep.records}
        return sorted(records.values(), key=lambda r: (r.key.name, r.key.hash))

    @property
    def missing(self) -> tuple[str, ...]:
        """What was not run, or failed, sweep by sweep."""
        return tuple(f"{s.spec.name}: {text}" for s in self.sweeps for text in s.missing)


def check_together(sweeps: Sequence[tuple[str, str, str, str]]) -> None:
    """Refuse sweeps that no page can show together.

    Args:
        sweeps: name, suite, profile and reference row of each.

    Raises:
        ConfigError: a name is given twice, or their suites, profiles or references differ.
    """
    for what, values in zip(
        ("name", "suite", "profile", "reference"), zip(*sweeps, strict=True), strict=True
    ):
        if what == "name" and len(set(values)) < len(values):
            raise ConfigError(f"sweep: expected every sweep once, got {', '.join(values)}.")
        if what != "name" and len(set(values)) > 1:
            raise ConfigError(
                f"sweep: expected sweeps of one {what}, got {', '.join(dict.fromkeys(values))}; give these "
                f"sweeps one by one{'' if what == 'reference' else f', or all of them one --{what}'}."
            )
