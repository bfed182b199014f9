"""Files of a run folder: how they are written, read back and checked."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from compact_bench.core.errors import StoreError

TEMPORARY_SUFFIX = ".tmp"


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a process after a kill, sees the old content or the new one.

    Raises:
        StoreError: the file cannot be written (no space, no permission).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the file's own folder: a rename is atomic within one file system only.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY_SUFFIX)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        # The rename itself is on disk only when the folder is.
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}. To mend: free space, or choose another store."
        ) from None


def _sync_folder(folder: Path) -> None:
    # Windows cannot open folders; the rename itself is still atomic there.
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Write plain data with `write_atomic`, on one line.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot hold.
    """
    write_atomic(path, json.dumps(value, allow_nan=False, ensure_ascii=False).encode())


def read_json(path: Path) -> Any:
    """What `write_json` wrote, or None where nothing can be read: what is remembered can be made again."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def read_bytes(path: Path) -> bytes | None:
    """A file's content, or None when there is no such file to read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def encode_json(value: Any, what: str) -> bytes:
    """Plain data as JSON with sorted keys.

    Raises:
        StoreError: it holds what JSON cannot; every such place is named.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1, sort_keys=True)
    except (TypeError, ValueError) as error:
        places = "; ".join(_bad_places(value)) or str(error)
        raise StoreError(f"{what} cannot be written as JSON: {places}") from None
    return text.encode()


def _bad_places(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _bad_places(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _bad_places(inner, f"{path}[{index}]")
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        yield f"{path} is {value}"
    elif not isinstance(value, str | int | float | bool | type(None)):
        yield f"{path} is a {type(value).__name__}"
