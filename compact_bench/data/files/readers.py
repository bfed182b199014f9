"""Reads rows of rationale sets: JSON, JSONL, a hub dataset, or upstream files of one teacher each."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from compact_bench.core.errors import ConfigError, DataError, Fault
from compact_bench.core.settings import Strict
from compact_bench.data.files.rows import RepeatedKeys, SourceRow

_LINE_SUFFIXES = frozenset({".jsonl", ".ndjson"})
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PAR1": "parquet",
}
"""How files begin that hold no text, and what they are."""
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_LOOKED_AT = 1000
_DIGITS = sys.float_info.max_10_exp
_FILE_MEND = (
    'expected a JSON list, or one JSON object a line, of {"question", "gold_answer", "rationales"} '
    'or {"Question", "CoT", "Answer"}.'
)


def read_rows(path: Path, name: str | None = None) -> tuple[tuple[SourceRow, ...], tuple[Fault, ...]]:
    """Rows of a JSON list or of a JSONL file, not yet validated.

    Args:
        path: the file; `.jsonl` and `.ndjson` are read line by line, others as one JSON value or, where
            they are none, line by line.
        name: how messages call it; the path by default.

    Returns:
        The rows that are JSON, and a fault for each line that is not.

    Raises:
        DataError: the file as a whole cannot be used.
    """
    name = name or str(path)
    text = _read_text(path, name)
    if path.suffix.lower() in _LINE_SUFFIXES:
        return _read_lines(text, name)
    try:
        value = _parse(text)
    except ValueError as error:
        if text.lstrip().startswith("{") and _is_json(text.lstrip().split("\n", 1)[0]):
            return _read_lines(text, name)
        raise _file_error(name, f"not JSON: {error}") from None
    if not isinstance(value, list):
        raise _file_error(name, f"expected a list of questions, got {type(value).__name__}")
    if not value:
        raise _file_error(name, "expected at least one question, got an empty list")
    return tuple(SourceRow(f"{name}, row {n}", item) for n, item in enumerate(value, 1)), ()


def _file_error(name: str, problem: str) -> DataError:
    return DataError(f"{name} cannot be read as a rationale set", [Fault(name, problem)], _FILE_MEND)


def _read_text(path: Path, name: str) -> str:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise _file_error(name, "expected a file that can be read more than once, got a pipe or a device")
        content = path.read_bytes()
    except OSError as error:
        raise _file_error(name, f"expected a file, got: {error.strerror or error}") from None
    except ValueError:
        raise _file_error(name, "expected a file, got a path that cannot exist") from None
    packed = next((kind for start, kind in _PACKED.items() if content.startswith(start)), "")
    if packed:
        raise _file_error(name, f"expected JSON as text, got a {packed} file: unpack or convert it first")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wide = " (it looks like UTF-16)" if content.startswith(_WIDE) else ""
        mend = f"expected UTF-8 text, got byte {error.start} that is not{wide}: save the file as UTF-8"
        raise _file_error(name, mend) from None
    if "\0" in text[:_LOOKED_AT]:
        raise _file_error(name, "expected UTF-8 text, got zero bytes, as UTF-16 has: save the file as UTF-8")
    if not text.strip():
        raise _file_error(name, "expected questions, got an empty file")
    return text


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = RepeatedKeys(pairs)
    repeated.repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    return repeated


def _whole_number(text: str) -> int | float:
    # Beyond any float a number is as good as infinite, and checks say so with its row and field.
    return int(text) if len(text) <= _DIGITS else math.copysign(math.inf, -1 if text.startswith("-") else 1)


def _is_json(text: str) -> bool:
    try:
        _parse(text)
    except ValueError:
        return False
    return True


def _read_lines(text: str, name: str) -> tuple[tuple[SourceRow, ...], tuple[Fault, ...]]:
    rows: list[SourceRow] = []
    faults: list[Fault] = []
    # Not splitlines: a rationale may hold a Unicode line separator, which JSON leaves as it is.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(SourceRow(f"{name}, row {number}", _parse(line)))
        except ValueError as error:
            faults.append(Fault(f"{name}, row {number}", f"not JSON: {error}"))
    if not rows:
        raise DataError(f"{name} cannot be read as a rationale set", faults, _FILE_MEND)
    return tuple(rows), tuple(faults)


class HubSet(Strict):
    """A dataset on the hub, or in a local folder that `datasets` reads.

    Attributes:
        name: hub id, or a folder.
        revision: commit the data is pinned to; required for a hub id.
        columns: our field -> the dataset's column ("question", "gold_answer", "id", "rationales" or
            "rationales.<teacher>"; or "Question", "CoT", "Answer"). Empty: the columns have our names.
    """

    name: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
    revision: str | None = None
    config: str | None = None
    split: str = "train"
    columns: dict[str, str] = Field(default_factory=dict)


def read_hub_rows(hub: HubSet) -> tuple[SourceRow, ...]:
    """Rows of a hub dataset, with columns renamed to our fields; no code of the dataset is run.

    Raises:
        ConfigError: the revision is missing, or a mapped column is not there.
        DataError: the dataset cannot be loaded.
    """
    if hub.revision is None and not Path(hub.name).expanduser().is_dir():
        raise ConfigError(
            f"hub dataset {hub.name!r}: expected a revision (the commit the data is pinned to), got none; "
            'add revision = "..." to the suite file.'
        )
    table = _load_hub(hub)
    columns = list(table.column_names)
    missing = sorted(set(hub.columns.values()) - set(columns))
    if missing:
        raise ConfigError(
            f"hub dataset {hub.name!r}: expected columns {', '.join(missing)}, got {', '.join(columns)}."
        )
    where = f"{hub.name}, {hub.split}"
    return tuple(
        SourceRow(f"{where}, row {number}", _renamed(row, hub.columns)) for number, row in enumerate(table, 1)
    )


def _load_hub(hub: HubSet) -> Any:
    import datasets

    before = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    local = Path(hub.name).expanduser()
    try:
        return datasets.load_dataset(
            str(local) if local.is_dir() else hub.name, hub.config, split=hub.split, revision=hub.revision
        )
    # Its builders raise what they like: a script (RuntimeError), a broken archive, a type.
    except Exception as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        fault = Fault(hub.name, f"expected split {hub.split!r}, got: {cause}")
        mend = "check id, revision, configuration and split, or that the hub can be reached."
        raise DataError("the hub dataset cannot be loaded", [fault], mend) from None
    finally:
        if before:
            datasets.enable_progress_bars()


def _renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    renamed: dict[str, Any] = {} if columns else dict(row)
    for ours, theirs in columns.items():
        name, _, teacher = ours.partition(".")
        if teacher:
            renamed.setdefault(name, {})[teacher] = row[theirs]
        else:
            renamed[name] = row[theirs]
    return _without_nulls(renamed)


def _without_nulls(row: Mapping[str, Any]) -> dict[str, Any]:
    """Arrow tables fill what a row lacks with nulls: a teacher that is null was not there."""
    plain = dict(row)
    for name in ("rationales", "right", "feedback"):
        if isinstance(plain.get(name), Mapping):
            plain[name] = {k: v for k, v in plain[name].items() if not _absent(v)}
    for name in ("right", "feedback"):
        if not plain.get(name):
            plain.pop(name, None)
    return plain


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
