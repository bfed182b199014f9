"""docs/reference.md has what really lies in a record and in a steps table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from compact_bench.evaluation.probes import confounds, steps_table, truth
from compact_bench.methods.checks.fits import Fit, one_fit
from compact_bench.methods.checks.subject import find_subject
from compact_bench.methods.checks.world import small_world
from compact_bench.methods.registry import get_method, method_names
from compact_bench.runs.store.store import Store
from tests.unit.command import run_command
from tests.unit.documents.pages import rows, section
from tests.unit.runs.test_truth_runs import say_what_is_right

TRAINED = [name for name in method_names() if get_method(name).card.min_teachers]
SELDOM = {"peak_device_memory_bytes", "diverged", "drawn_from"}
"""In records of a machine with a GPU, of failed runs, and of seeds that draw their questions, only."""


def listed(name: str) -> dict[str, list[str]]:
    """What the page lists under a heading: name -> its cells."""
    return rows(section("reference", name))


def fit_of(method: str) -> Fit:
    """A short training, on a set that is as ragged as the method allows."""
    world = small_world()
    allowed = get_method(method).card.allows
    return one_fit(
        find_subject(method, None, world.suite.teachers[0]), world.ragged(allowed) if allowed else world
    )


def test_columns_and_extras_are_those_of_all_methods() -> None:
    columns: dict[str, set[str]] = {}
    extras: set[str] = set()
    for method in TRAINED:
        fit = fit_of(method)
        assert fit.table is not None
        for column in fit.table.columns:
            columns.setdefault(column, set()).add(method)
        extras |= set(fit.report.extra)
        if "step" in fit.report.extra:
            said = section("reference", "### `training.extra`")
            inner = {*fit.report.extra["step"], *fit.report.extra["number_formats"]}
            assert not {name for name in inner if f"`{name}`" not in said}
    table = listed("## steps.parquet")
    assert set(table) == set(columns)
    for column, (_, whose, _) in table.items():
        if methods := set(re.findall(r"`(\w+)`", whose)):
            assert columns[column] == methods, column
        elif column != "sample":
            assert whose == "all" and columns[column] == set(TRAINED), column
    # Where rows were cut there is one more, and a run notes what it was made from.
    assert set(listed("### `training.extra`")) == extras | {"truncated", "required"}


def paths(part: Mapping[str, Any]) -> set[str]:
    """Names of a part of a record, and below a name those of what it maps."""
    return {
        path
        for name, value in part.items()
        for path in ([f"{name}.{inner}" for inner in value] if isinstance(value, dict) else [name])
    }


def test_a_record_holds_what_the_page_lists(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say_what_is_right(suite)
    done = run_command(
        capsys, "run", "compact", "--suite", suite, "--profile", "smoke", "--threads", "1", "--workers", "1"
    )
    assert done.code == 0, done.err
    (record,) = Store(tmp_path / "store").records()
    training = set(listed("### `training`"))
    assert set(record.training) <= training and training - set(record.training) <= SELDOM
    # Only runs that something is chosen among answer validation questions.
    assert set(listed("### `probes`")) - {"validation_accuracy"} == paths(record.probes)
    assert set(listed("### `provenance`")) == set(record.provenance)
    said = section("reference", "### `provenance`")
    inner = {*record.provenance["hardware"], *record.provenance["request"]}
    assert not {name for name in inner if f"`{name}`" not in said}
    notes = dict(record.provenance["suite_notes"])
    assert set(listed("### `provenance.suite_notes`")) == {*notes, "ragged", "drawn_questions"}
    said = section("reference", "### `provenance.suite_notes`")
    assert not {name for name in (*notes["own_data"], *notes["near_copies"]) if f"`{name}`" not in said}


def test_what_lies_below_the_truth_scores_is_named() -> None:
    said = section("reference", "### `probes`")
    kinds = (truth.FamilyTruth, truth.WindowTruth, truth.TeacherTruth, truth.AnswerOnly, truth.TruthItems)
    names = {n for kind in (*kinds, truth.TruthScores, confounds.Confounds) for n in kind.__annotations__}
    named = set(re.findall(r"`(?:truth\.)?(\w+)`", said))
    missing = (names | set(steps_table.SCORES)) - named
    assert not missing, missing
