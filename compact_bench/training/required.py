"""A finished run as the method sees it that requires it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compact_bench.core.errors import DataError, StoreError
from compact_bench.training.final_weights import STEPS_FILE

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RequiredRun:
    """A finished run that a method's configuration names: of the same seed, student, data and settings.

    Attributes:
        name: the method, or variant of one, as the configuration names it.
        directory: its folder, in which nothing may be written.
        settings: its method's complete configuration, as plain data.
        seal: sha256 of its steps table, by its record; "" where there is no record.
    """

    name: str
    directory: Path
    settings: Mapping[str, Any]
    seal: str = ""

    def steps(self) -> pd.DataFrame:
        """Its steps table: a row per optimiser step, question and rationale, with `teacher_weight`.

        Raises:
            DataError: it left none.
            StoreError: the table is not the one that the run left.
        """
        import pandas as pd

        path = self.directory / STEPS_FILE
        if not path.is_file():
            raise DataError(f"{self.name}: expected a run that left a steps table, found no {path}.")
        data = path.read_bytes()
        if self.seal and hashlib.sha256(data).hexdigest() != self.seal:
            raise StoreError(
                f"{path} is damaged (its sha256 is not the record's). Give the same command again: it makes "
                f"that run of {self.name} anew first."
            )
        return pd.read_parquet(io.BytesIO(data))
