"""docs/tables.md and docs/suites.md have every field of table and suite files, with its default."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from compact_bench.core.settings import Strict
from compact_bench.data.files.readers import HubSet
from compact_bench.data.lab.world.settings import WorldSettings
from compact_bench.data.suites import load_spec, profiles
from compact_bench.data.suites import spec as suites
from compact_bench.results.tables import planned_pairs
from compact_bench.results.tables import spec as tables
from tests.architecture.test_documents import code_blocks
from tests.unit.documents.pages import rows, section

TABLES: dict[str, type[Strict]] = {
    "The file": tables.TableSpec,
    "`[[rows]]`": tables.RowSpec,
    "`[[groups]]`": tables.GroupSpec,
    "`[[groups.columns]]`": tables.MeasureSpec,
    "`[primary]`": planned_pairs.PrimarySpec,
    "`[[comparisons]]`": planned_pairs.ComparisonSpec,
    "`[[controls]]`": planned_pairs.ControlSpec,
    "`[[paper]]`": tables.PaperSpec,
}
SUITES: dict[str, type[Strict]] = {
    "The file": suites.SuiteSpec,
    "`[training]`": suites.TrainingSpec,
    "`[training.hub]`": HubSet,
    "A file": suites.FileSpec,
    "`[[teachers]]`": suites.TeacherSpec,
    "`[[benchmarks]]`": suites.BenchmarkSpec,
    "`[[known_faults]]`": suites.KnownFault,
    "`[profiles.NAME]`": profiles.ProfileSpec,
    "`[profiles.NAME.tune]`": profiles.TuneSpec,
}
READ_BEFORE = {
    ("suites", "The file"): {"extends", "groups", "origins"},
    ("suites", "`[[teachers]]`"): {"file"},
}
"""What a file may say beside its model's fields, which it is turned into."""
SECTIONS = [("tables", *pair) for pair in TABLES.items()] + [("suites", *pair) for pair in SUITES.items()]


def default_of(field: FieldInfo) -> str:
    """A default as the page writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else f"`{json.dumps(value)}`"


def choices(annotation: Any) -> set[str]:
    """The words that a field takes, where it takes no others."""
    if get_origin(annotation) is Literal:
        return {value for value in get_args(annotation) if isinstance(value, str)}
    return {word for part in get_args(annotation) for word in choices(part)}


@pytest.mark.parametrize(("page", "heading", "model"), SECTIONS)
def test_a_field_stands_there_with_its_default(page: str, heading: str, model: type[Strict]) -> None:
    listed = rows(section(page, f"### {heading}"))
    more = READ_BEFORE.get((page, heading), set())
    assert set(listed) == set(model.model_fields) | more
    for name, field in model.model_fields.items():
        kind, default, meaning = listed[name]
        assert default == default_of(field), name
        assert {word for word in choices(field.annotation) if f'"{word}"' not in kind} == set(), name
        assert len(meaning) > 3, name


@pytest.mark.parametrize(
    ("module", "documented"),
    [(tables, TABLES), (planned_pairs, TABLES), (suites, SUITES), (profiles, SUITES)],
)
def test_every_part_of_a_file_has_a_section(module: ModuleType, documented: dict[str, type[Strict]]) -> None:
    made = {v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Strict)}
    assert {part for part in made if part.__module__ == module.__name__} <= set(documented.values())


def test_the_settings_of_the_world_are_listed() -> None:
    assert set(rows(section("suites", "### `lab`"))) == set(WorldSettings.model_fields)


def test_the_example_of_groups_is_a_suite(tmp_path: Path) -> None:
    (text,) = code_blocks(section("suites", "### `[groups]`"), "toml")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    found = [(b.group, b.task) for b in load_spec(tmp_path / "mine.toml").benchmarks]
    assert found == [
        ("in_distribution", "lab_shells"),
        ("out_of_distribution", "lab_chains"),
        ("retention", "lab_copy"),
    ]
