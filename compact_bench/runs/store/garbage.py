"""What a store holds that no finished run needs: listed first, removed after."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from compact_bench.core.errors import StoreError
from compact_bench.core.files import TEMPORARY_SUFFIX

CHECKPOINTS = "checkpoint*"
"""Files and folders of a run folder that serve only to continue its training."""

TEMPORARIES = (f".*{TEMPORARY_SUFFIX}", ".final.*")
"""What a killed process leaves of a file or folder that it was writing."""


@dataclass(frozen=True)
class Leftover:
    """One file or folder that can go: why ("temporary file"), and its size with everything inside it."""

    path: Path
    why: str
    size_bytes: int


def find_leftovers(
    finished: Sequence[Path],
    root: Path | None,
    evaluations: Path,
    used: Collection[str],
    min_age_seconds: float,
) -> tuple[Leftover, ...]:
    """List what can go; nothing is changed.

    Args:
        finished: folders of finished runs that nobody holds.
        root: the store, searched for temporary files and unused evaluations; None: not searched.
        evaluations: folder of cached evaluations.
        used: evaluations that a record refers to, as "weights hash/cache key".
        min_age_seconds: younger temporary files and evaluations stay.
    """
    why = {path: "checkpoint of a finished run" for run in finished for path in run.glob(CHECKPOINTS)}
    if root is not None:
        newest = time.time() - min_age_seconds
        why |= dict.fromkeys(_unused(evaluations, used, newest), "evaluation of no run")
        old = [p for pattern in TEMPORARIES for p in root.rglob(pattern) if _changed_at(p) <= newest]
        # What lies inside something that goes anyway is not listed on its own.
        why |= {path: "temporary file" for path in old if why.keys().isdisjoint(path.parents)}
    return tuple(Leftover(path, reason, folder_size(path)) for path, reason in sorted(why.items()))


def _unused(folder: Path, used: Collection[str], newest: float) -> Iterator[Path]:
    """Entries `<weights hash>/<cache key>` that no record names, with their lock files."""
    for path in folder.glob("*/*") if folder.is_dir() else ():
        is_used = f"{path.parent.name}/{path.name.removesuffix('.lock')}" in used
        if not is_used and not path.name.startswith(".") and _changed_at(path) <= newest:
            yield path


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")


def folder_size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(p.stat().st_size for p in files if p.is_file())


def remove_leftovers(leftovers: Sequence[Leftover]) -> None:
    """Remove files and folders.

    Raises:
        StoreError: something cannot be removed; everything before it is gone.
    """
    for leftover in leftovers:
        try:
            if leftover.path.is_dir():
                shutil.rmtree(leftover.path)
            else:
                leftover.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot remove {leftover.path}: {error.strerror or error}") from None
