"""Cached evaluations: found by what they depend on, written whole or not at all.

    cache_dir/<weights hash>/<task key>/       one evaluation
        tasks/                                 the task folder it was made with
        items.jsonl                            one line an item: prompt, generation, prediction, score
        result.json                            written last; the weights, its checksum and that of items.jsonl
    cache_dir/<weights hash>/<task key>.lock   held while the evaluation is made

A folder without a result.json counts as none. What is damaged is said, and evaluated again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_bench.core.errors import DamageError, StoreError
from compact_bench.core.files import read_bytes, read_sealed, say_made_again, write_atomic, write_sealed
from compact_bench.evaluation.task_results import TaskResult


class CacheEntry:
    """One task of one student in the cache."""

    def __init__(self, cache_dir: Path, weights_hash: str, key: str) -> None:
        self.key = key
        self.weights = weights_hash
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

    def load(self, since: float = 0.0) -> TaskResult | None:
        """The stored result, or None where there is none or it is damaged, which is said.

        Args:
            since: what was evaluated before this time, in seconds since the epoch, counts as not there.
        """
        try:
            return self.read(since)
        except DamageError as error:
            say_made_again(error)
            # Whoever looks next finds none, and says nothing again.
            with contextlib.suppress(OSError):
                self.result_file.unlink()
            return None

    def read(self, since: float = 0.0) -> TaskResult | None:
        """`load`, for those who cannot evaluate again.

        Raises:
            DamageError: it is damaged.
        """
        data = read_sealed(self.result_file, since)
        if data is None:
            return None
        items = read_bytes(self.items_file)
        if items is None or data["items_sha256"] != hashlib.sha256(items).hexdigest():
            raise DamageError(f"{self.items_file} is {'missing' if items is None else 'damaged'}")
        result = TaskResult.from_plain(data["result"])
        if result.cache_key != self.key:
            raise DamageError(f"{self.result_file} belongs to evaluation {result.cache_key}")
        # A file that was kept before the weights stood in it is as good as ever where it lies.
        if (weights := data.get("weights", self.weights)) != self.weights:
            raise DamageError(f"{self.result_file} belongs to weights {weights}, not {self.weights}")
        return result

    def save(
        self, result: TaskResult, items: Sequence[Mapping[str, Any]], depends_on: Mapping[str, Any]
    ) -> None:
        """Store the items, then the result, with what the key was made of for people to read."""
        text = "".join(json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n" for item in items)
        data = {
            "weights": self.weights,
            "result": result.plain(),
            "items_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "depends_on": depends_on,
        }
        # In this order: a result on disk vouches for the items it was made of.
        write_atomic(self.items_file, text.encode())
        write_sealed(self.result_file, data)


def read_items(cache_dir: Path, weights_hash: str, cache_key: str) -> list[dict[str, Any]]:
    """The stored items of a finished evaluation: prompt, generation or log-likelihoods, prediction, score.

    Raises:
        StoreError: the evaluation is not there or damaged, or of before results version 3.
    """
    entry = CacheEntry(cache_dir, weights_hash, cache_key)
    try:
        found = entry.read()
    except DamageError as error:
        raise DamageError(f"{error}. To mend: run it again with --rerun.") from None
    if found is None:
        raise StoreError(f"expected a finished evaluation in {entry.folder}, found none; use run --rerun.")
    lines = entry.items_file.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]
