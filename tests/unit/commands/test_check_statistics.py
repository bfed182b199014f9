"""`check-statistics` on made-up records: what it simulates, what it prints, what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from compact_bench.commands.inspect.statistics import check_statistics
from compact_bench.core.errors import ConfigError
from compact_bench.core.records import TRIAL, RunRecord
from tests.unit.command import run_command
from tests.unit.synthetic import SUITE, all_records

WORDS = {"table": "2", "suite": SUITE, "profile": "lite", "tables": 20, "difference": 0.1}


def test_the_trained_rows_are_simulated_and_the_primary_ones_are_known() -> None:
    found = check_statistics(all_records((1, 2, 3)), seeds=(3, 5), **WORDS)  # type: ignore[arg-type]
    assert found.structure.rows[0] == "compact" and "zero_shot" not in found.structure.rows
    assert found.structure.tasks == ("svamp", "addsub", "singleeq", "piqa")
    assert {found.structure.rows[place] for place in found.plan.primary} == {
        "uniform",
        "single_teacher[alpha]",
    }
    data = json.loads(found.to_json())
    assert data["tables"] == 20 and {rate["seeds"] for rate in data["rates"]} == {3, 5}
    assert all(0 <= rate["rate"] <= rate["upper_95"] <= 1 for rate in data["rates"])
    page = found.to_markdown()
    assert "False verdicts per comparison" in page and "| 3 seeds | 5 seeds |" in page
    assert "3 seeds), and judged by the code" in page and "| svamp | 40 | " in page


@pytest.mark.parametrize(
    ("records", "seeds", "why"),
    [
        ([], (5,), "at least two trained rows of table 2 .* found none"),
        (all_records((1,)), (5,), "two or more seeds"),
        ([r for r in all_records((1, 2)) if r.key.method in ("compact", "zero_shot")], (5,), "found compact"),
        (all_records((1, 2)), (1, 5), "one seed gives no verdict"),
        (all_records((1, 2)), (), "numbers of seeds of 2 or more"),
    ],
)
def test_what_cannot_be_simulated_is_refused(
    records: list[RunRecord], seeds: tuple[int, ...], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        check_statistics(records, seeds=seeds, **WORDS)  # type: ignore[arg-type]


def test_a_store_that_is_not_there_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_command(capsys, "check-statistics", "--store", str(tmp_path / "nowhere"))
    assert done.code == 2 and "found no such folder" in done.err and "Traceback" not in done.err


def test_trials_of_learning_rates_are_no_results() -> None:
    """A store of `reproduce --tune` holds trials of the same methods and seeds."""
    records = all_records((1, 2, 3))
    trials = [
        dataclasses.replace(
            r, key=dataclasses.replace(r.key, profile=r.key.profile + TRIAL), evaluations={}, training={}
        )
        for r in records
    ]
    assert all(trial.key.is_trial for trial in trials)
    found = check_statistics([*trials, *records], seeds=(3,), **WORDS)  # type: ignore[arg-type]
    assert found.to_json() == check_statistics(records, seeds=(3,), **WORDS).to_json()  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="trials of learning rates are none"):
        check_statistics(trials, seeds=(3,), **{**WORDS, "profile": "lite:trial"})  # type: ignore[arg-type]
