"""Methods of other packages, installed into a test's own folder, for tests of what users meet."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from compact_bench.core.registry import installed_entry_points
from compact_bench.methods.registry import method_sources

__all__ = ["GOOD", "TEACHERS_OWN", "UNIMPORTABLE", "UNWILLING", "installed"]

_HEAD = '''
from typing import Any, ClassVar

from compact_bench import FitReport, MethodCard, Strict, SupervisedObjective, train


class Config(Strict):
    """Settings."""

    {field}


class METHOD:
    """Equal weights once more."""

    card = MethodCard(title="Equal weights, from another package", source="none", short="{short}")
    config_type = Config
    variants = {variants}

    def __init__(self, config):
        self.config = config

    def supports(self, suite):
        return {supports}

    def fit(self, student, questions, context):
        reduction = getattr(self.config, "reduction", "mean")
        objective = SupervisedObjective(context.settings.train, None, reduction)
        return train(student, questions, objective, context)
'''


def _method(short: str, field: str, variants: str = "{}", supports: str = "None") -> str:
    return _HEAD.format(short=short, field=field, variants=variants, supports=supports)


GOOD = _method("Twice", 'reduction: str = "mean"', '{"summed": {"reduction": "sum"}}')
TEACHERS_OWN = _method("Told", "teacher: str", supports='"it needs a violin"')
UNIMPORTABLE = "raise TypeError('no such luck')\n"
UNWILLING = _method("Unwilling", "needed: int")


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, **methods: str) -> Iterator[None]:
    """Install a package NAME-package with one method for every name; a fixture's body.

    Args:
        folder: where.
        monkeypatch: puts the folder on the path.
        methods: name -> text of the module that holds it.
    """
    for name, text in methods.items():
        (folder / f"{name}_module.py").write_text(text)
        info = folder / f"{name}_package-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-package\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[compact_bench.baselines]\n{name} = {name}_module\n")
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    installed_entry_points.cache_clear()
    method_sources.cache_clear()
    yield
    monkeypatch.undo()
    installed_entry_points.cache_clear()
    method_sources.cache_clear()
