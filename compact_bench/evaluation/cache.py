"""Cached evaluations: found by what they depend on, written whole or not at all.

    cache_dir/<weights hash>/<task key>/       one evaluation
        tasks/                                 the task folder it was made with
        items.jsonl                            one line an item: prompt, generation, prediction, score
        result.json                            written last; carries the checksum of items.jsonl
    cache_dir/<weights hash>/<task key>.lock   held while the evaluation is made

A folder without a whole result.json counts as none: the task is evaluated again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_bench.core.errors import StoreError
from compact_bench.evaluation.results import TaskResult


def write_text_atomically(path: Path, text: str) -> None:
    """Write a file so that readers, and a run killed meanwhile, see the old text or the new one.

    Args:
        path: the file; its folder must exist.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class CacheEntry:
    """One task of one student in the cache.

    Args:
        weights_hash: hash of the student's merged weights.
        key: hash of everything else that the result depends on.
    """

    def __init__(self, cache_dir: Path, weights_hash: str, key: str) -> None:
        self.key = key
        self.folder = Path(cache_dir) / weights_hash / key

    @property
    def lock_file(self) -> Path:
        """File to lock while the entry is made."""
        return self.folder.with_name(f"{self.key}.lock")

    @property
    def items_file(self) -> Path:
        """One JSON line per item."""
        return self.folder / "items.jsonl"

    @property
    def result_file(self) -> Path:
        """The result; there is none until everything else is on disk."""
        return self.folder / "result.json"

    def load(self) -> TaskResult | None:
        """The stored result, or None where there is none or it does not match its items."""
        try:
            data = json.loads(self.result_file.read_text(encoding="utf-8"))
            items = self.items_file.read_bytes()
            result = TaskResult.from_plain(data["result"])
            whole = data["items_sha256"] == hashlib.sha256(items).hexdigest()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return result if whole and result.cache_key == self.key else None

    def save(
        self, result: TaskResult, items: Sequence[Mapping[str, Any]], depends_on: Mapping[str, Any]
    ) -> None:
        """Store the items, then the result.

        Args:
            depends_on: what the key was made of, for people to read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n" for item in items)
        data = {
            "result": result.plain(),
            "items_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "depends_on": depends_on,
        }
        write_text_atomically(self.items_file, text)
        write_text_atomically(self.result_file, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def read_items(cache_dir: Path, weights_hash: str, cache_key: str) -> list[dict[str, Any]]:
    """The stored items of a finished evaluation: prompt, generation or log-likelihoods, prediction, score.

    Args:
        weights_hash: hash of the student's merged weights.
        cache_key: `TaskResult.cache_key`.

    Raises:
        StoreError: the evaluation is not there or damaged.
    """
    entry = CacheEntry(cache_dir, weights_hash, cache_key)
    if entry.load() is None:
        raise StoreError(
            f"expected a finished evaluation in {entry.folder}, found none or a damaged one; evaluate again"
        )
    lines = entry.items_file.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]
