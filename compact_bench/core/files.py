"""Files of a run folder: how they are written, read back and checked.

What is stored carries the sha256 of its content: a JSON file inside itself ("sealed"), a folder in a file
that names its files. Whoever reads it checks it, says in one line what is damaged, and makes it again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from compact_bench.core.errors import DamageError, StoreError, UnusableStoreError

TEMPORARY_SUFFIX = ".tmp"
SEAL = "sha256.json"
"""In a sealed folder: name -> sha256 of its files."""

# What a place does to whatever is written there, and no fault of what is written.
_PLACE_ERRORS = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EIO)
)
_note = logging.getLogger(__name__)


def unusable(error: BaseException, path: Path | str = "") -> UnusableStoreError | None:
    """The error of a place that cannot be used, where `error` says that; None for any other error.

    Args:
        path: what was to be read or written; "" for what the error names.
    """
    number = error.errno if isinstance(error, OSError) else None
    # safetensors, written in another language, only says it in words.
    if number is None and (said := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(said.group(1))
    if number not in _PLACE_ERRORS:
        return None
    place = str(path or getattr(error, "filename", None) or "the store")
    return UnusableStoreError(_unusable_text(place, os.strerror(number)))


def _unusable_text(place: str, why: str) -> str:
    return (
        f"cannot use {place}: {why}{_owner_text(place)}. To mend: free space, or choose another place; what "
        "is done is kept, and the same command continues."
    )


def _owner_text(place: str) -> str:
    """Whose folder it is, where it is another user's; a shared store needs its users' common group."""
    folder = Path(place)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with contextlib.suppress(OSError, AttributeError):
        state = folder.stat()
        if state.st_uid != os.geteuid() and not os.access(folder, os.W_OK):
            mode = f"{state.st_mode & 0o7777:o}"
            return f" ({folder} belongs to user {state.st_uid}, mode {mode}; to share it, see docs/store.md)"
    return ""


@contextlib.contextmanager
def usable_place(path: Path | str = "") -> Iterator[None]:
    """Whatever is raised inside because a place cannot be used, as an `UnusableStoreError`.

    Raises:
        UnusableStoreError: no space, no permission, a link loop.
    """
    try:
        yield
    except Exception as error:
        if (place := unusable(error, path)) is None:
            raise
        raise place from None


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a process after a kill, sees the old content or the new one.

    Raises:
        UnusableStoreError: the file cannot be written (no space, no permission).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In the file's own folder: a rename is atomic within one file system only.
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        # Opened so, and not by `tempfile`, whose files only their owner may read: the umask decides.
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise
        # The rename itself is on disk only when the folder is.
        _sync(path.parent)
    except OSError as error:
        raise UnusableStoreError(_unusable_text(str(path), error.strerror or str(error))) from None


def _sync(path: Path) -> None:
    # Windows cannot open folders; a rename is still atomic there.
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_sealed(path: Path, value: Any) -> None:
    """Write plain data with its own sha256, its name and the time, for `read_sealed`.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot hold.
        UnusableStoreError: the file cannot be written.
    """
    made = time.time()
    # Its name, so that a copy of another file is not taken for it: names here are hashes of what is inside.
    sealed = {"sha256": _seal(made, value, path.name), "made": made, "file": path.name, "value": value}
    write_atomic(path, json.dumps(sealed, allow_nan=False, ensure_ascii=False, indent=1).encode())


def read_sealed(path: Path, since: float = 0.0) -> Any:
    """What `write_sealed` wrote, or None where there is no such file.

    Args:
        since: what was made before this time, in seconds since the epoch, counts as not there.

    Raises:
        DamageError: the file is not what was written, or was written under another name.
        UnusableStoreError: it cannot be read.
    """
    try:
        data = read_bytes(path)
        if data is None:
            return None
        sealed = json.loads(data)
        if sealed["sha256"] != _seal(sealed["made"], sealed["value"], sealed.get("file")):
            raise ValueError("its sha256 is another one")
        if sealed.get("file", path.name) != path.name:
            raise ValueError(f"it was written as {sealed['file']}")
        return sealed["value"] if sealed["made"] >= since else None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = str(error) if isinstance(error, ValueError) else "it is not what is written here"
        raise DamageError(f"{path} is damaged ({why if data else 'it is empty'})") from None


def remembered(path: Path, since: float = 0.0) -> Any:
    """`read_sealed` of what can be made again: what is damaged is said, and counts as not there."""
    try:
        return read_sealed(path, since)
    except DamageError as error:
        say_made_again(error)
        return None


def made_once(path: Path, mark: Any, make: Callable[[], Any]) -> Any:
    """Plain data that is made once in a run: what an earlier process kept in `path`, else made now and kept.

    Args:
        mark: plain data that says what it was made of; what was kept for another mark is refused.
        make: makes it, the same whenever it is called; damage is said, and then it is made again.

    Returns:
        What JSON makes of it (lists for tuples): whoever made it has what one that reads it has.

    Raises:
        StoreError: the file is another run's.
    """
    mark = json.loads(json.dumps(mark))
    if (kept := remembered(path)) is None:
        write_sealed(path, kept := json.loads(json.dumps({"mark": mark, "value": make()})))
    if kept["mark"] != mark:
        raise StoreError(
            f"{path}: expected what was kept for {mark}, got that of {kept['mark']}. To mend: delete this "
            "file, or use another store."
        )
    return kept["value"]


def say_made_again(error: DamageError) -> None:
    """Say in one line what is damaged and made again."""
    _note.warning("%s; it is made again.", error)


def _seal(made: float, value: Any, name: str | None) -> str:
    # Files that were written before names stood in them have none.
    text = json.dumps(
        [made, value, *([name] if name is not None else [])],
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def sha256_of(path: Path) -> str:
    """sha256 of a file's content.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal_folder(folder: Path, *beside: Path) -> None:
    """Name every file of a folder, and some beside it, with its sha256, in the folder; all go to the disk.

    Args:
        beside: files of the folder's own parent that belong to it; those that are not there are left out.
    """
    inside = [path for path in folder.rglob("*") if path.is_file() and path.name != SEAL]
    hashes = {path.relative_to(folder).as_posix(): path for path in inside}
    hashes |= {f"../{path.name}": path for path in beside if path.is_file()}
    for path in hashes.values():
        _sync(path)
    write_sealed(folder / SEAL, {name: sha256_of(path) for name, path in sorted(hashes.items())})


@contextlib.contextmanager
def sealed_folder(target: Path) -> Iterator[Path]:
    """A draft to write files into; when the block ends it is sealed and takes the place of `target`."""
    draft = target.with_name(f".{target.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    yield draft
    # On disk before the rename: after a power cut a complete name must not stand on incomplete files.
    seal_folder(draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)


def check_file(path: Path, wanted: str) -> None:
    """That a file has this sha256.

    Raises:
        DamageError: it has another, or is missing.
        UnusableStoreError: it cannot be read.
    """
    try:
        with usable_place(path):
            found = sha256_of(path)
    except OSError:
        raise DamageError(f"{path} is missing") from None
    if found != wanted:
        raise DamageError(f"{path} is damaged (its sha256 is another one)")


def check_folder(folder: Path) -> Mapping[str, str]:
    """That the files of a sealed folder are what was written.

    Returns:
        Name -> sha256 of each.

    Raises:
        DamageError: one of them is another, or missing; or the folder was not sealed.
    """
    hashes = read_sealed(folder / SEAL)
    if not isinstance(hashes, dict):
        raise DamageError(f"{folder} is damaged ({SEAL} is missing)")
    for name, wanted in hashes.items():
        check_file(folder / name, wanted)
    return hashes


def write_json(path: Path, value: Any) -> None:
    """Write plain data with `write_atomic`, on one line.

    Raises:
        ValueError: a number in it is not finite, which JSON cannot hold.
    """
    write_atomic(path, json.dumps(value, allow_nan=False, ensure_ascii=False).encode())


def read_json(path: Path) -> Any:
    """What `write_json` wrote, or None where there is none."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def read_bytes(path: Path) -> bytes | None:
    """A file's content, or None when there is no such file.

    Raises:
        UnusableStoreError: there is one, and it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        # What may not be read is not missing: to make it again would fail, or replace another user's.
        if (place := unusable(error, path)) is not None:
            raise place from None
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
