"""Running again what is done: asked for in a file of the run's folder, worked on in a folder within it.

    runs/<hash>/again.json    asked for: the `done` of the record that is to be replaced
                again/        what training keeps meanwhile; moved over the old files once the record stands

The old record stays what commands read until the new one is whole. A request whose `done` is no longer the
run's is answered: nothing runs again twice, and what was interrupted goes on when it is asked for again.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from compact_bench.core.files import read_bytes, remembered, usable_place, write_sealed

REQUEST, FOLDER = "again.json", "again"
_NO_TRAINING = frozenset(
    ("key.json", "record.json", "record.previous.json", "done", REQUEST, FOLDER, "log.jsonl", "error.log")
)


def ask_again(run: Path) -> None:
    """Ask that a run which has a record is run again."""
    write_sealed(run / REQUEST, _done(run))


def asked_at(run: Path) -> float | None:
    """When it was asked for, in seconds since the epoch; None where it was not, or is answered."""
    done = _done(run)
    return (run / REQUEST).stat().st_mtime if done and remembered(run / REQUEST) == done else None


def settle(run: Path) -> None:
    """Move what the answer to a request left over the run's old files; the caller holds the run's lock."""
    if asked_at(run) is not None:
        return
    with usable_place(run):
        if (run / FOLDER).is_dir():
            for path in (run / FOLDER).iterdir():
                _remove(run / path.name)
                os.replace(path, run / path.name)
            (run / FOLDER).rmdir()
        (run / REQUEST).unlink(missing_ok=True)


def discard(run: Path) -> None:
    """Forget a request and what was made of it: the run is made anew in its own folder."""
    with usable_place(run):
        _remove(run / FOLDER)
        (run / REQUEST).unlink(missing_ok=True)


def clear_training(folder: Path) -> None:
    """Remove everything that training kept in a folder, so that it starts from its beginning."""
    with usable_place(folder):
        for path in folder.iterdir():
            if path.name not in _NO_TRAINING:
                _remove(path)


def _done(run: Path) -> str:
    return (read_bytes(run / "done") or b"").decode(errors="replace").strip()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
