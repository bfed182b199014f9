"""What is to run: one planned run, and what the store has of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compact_bench.core.records import RunKey, RunRecord

State = Literal["done", "unsupported", "missing", "failed"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        key: the run.
        title: what it is, for the plan's display.
        record: what the store has of it, or None.
        retried: whether it runs again when it failed the last time.
    """

    key: RunKey
    title: str
    record: RunRecord | None
    retried: bool = True

    @property
    def state(self) -> State:
        """What is known of it."""
        return "missing" if self.record is None else self.record.status

    @property
    def needed(self) -> bool:
        """Whether it must run: it is missing, or it failed the last time and is tried again."""
        return self.state == "missing" or (self.state == "failed" and self.retried)
