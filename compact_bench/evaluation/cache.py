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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_bench.core.errors import StoreError
from compact_bench.core.files import read_json, write_atomic
from compact_bench.evaluation.task_results import TaskResult


class CacheEntry:
    """One task of one student in the cache."""

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
        data = read_json(self.result_file)
        try:
            items = self.items_file.read_bytes()
            result = TaskResult.from_plain(data["result"])
            whole = data["items_sha256"] == hashlib.sha256(items).hexdigest()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return result if whole and result.cache_key == self.key else None

    def save(
        self, result: TaskResult, items: Sequence[Mapping[str, Any]], depends_on: Mapping[str, Any]
    ) -> None:
        """Store the items, then the result, with what the key was made of for people to read."""
        text = "".join(json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n" for item in items)
        data = {
            "result": result.plain(),
            "items_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "depends_on": depends_on,
        }
        # In this order: a result on disk vouches for the items it was made of.
        write_atomic(self.items_file, text.encode())
        write_atomic(self.result_file, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def read_items(cache_dir: Path, weights_hash: str, cache_key: str) -> list[dict[str, Any]]:
    """The stored items of a finished evaluation: prompt, generation or log-likelihoods, prediction, score.

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
