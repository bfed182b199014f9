"""What two runs of one command must agree in, read from the store without the product's reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TIMES = ("seconds", "peak_memory_bytes", "peak_device_memory_bytes", "encode_seconds")


def bits(store: Path) -> dict[str, Any]:
    """Weights, items and probes of every finished run, by its key's method and seed."""
    found: dict[str, Any] = {}
    for folder in sorted((store / "runs").glob("*")) if (store / "runs").is_dir() else ():
        if not (folder / "done").is_file():
            continue
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        key = record["key"]
        found[f"{key['method']}@{key['seed']} {folder.name}"] = {
            "status": record["status"],
            "weights": record["weights"],
            "probes": record["probes"],
            "evaluations": {task: _without_times(r) for task, r in record["evaluations"].items()},
            "training": _without_times(record["training"]),
        }
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(v) for name, v in value.items() if name not in TIMES}
    return [_without_times(v) for v in value] if isinstance(value, list) else value


def difference(expected: dict[str, Any], got: dict[str, Any]) -> str:
    """Where two runs' bits differ first, or ""."""
    if expected == got:
        return ""
    if expected.keys() != got.keys():
        return f"runs {sorted(got)} instead of {sorted(expected)}"
    for name, run in expected.items():
        for part, value in run.items():
            if value != got[name][part]:
                return f"{name}: {part} differ: {_first(value, got[name][part])}"[:300]
    return "they differ"


def _first(one: Any, other: Any, path: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in {**one, **other}:
            if one.get(name) != other.get(name):
                return _first(one.get(name), other.get(name), f"{path}.{name}")
    return f"{path} {one!r:.80} and {other!r:.80}"
