"""The table of controls: three rates, and one method under two sets of seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compact_bench.core.records import RunRecord
from compact_bench.results.report.words import control_sentence
from compact_bench.results.tables.build import Table, build_table
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.runs.store.store import Store
from tests.unit.command import run_command
from tests.unit.synthetic import SUITE, key, record

SEEDS = range(1, 7)
OTHER = 1_000_000
RATES = {"": 1.0, "half-rate": 0.5, "double-rate": 2.0}


def ending(*parts: str) -> str:
    return "-".join(part for part in parts if part)


def records(others: float = 0.5) -> list[RunRecord]:
    """Runs of every row: the oracle is right more often, equal weights under other seeds as often."""
    found = [record("zero_shot", seed=seed) for seed in SEEDS]
    for rate in RATES:
        for seed in SEEDS:
            found.append(record("uniform", rate, seed, rate=0.5, items=200))
            found.append(record("oracle", rate, seed, rate=0.9, items=200))
            found.append(record("uniform", ending("other-seeds", rate), seed + OTHER, rate=others, items=200))
    return found


def build(runs: list[RunRecord]) -> Table:
    return build_table(load_table_spec("controls"), runs, SUITE, profile="lite", seeds=SEEDS, has_truth=True)


def test_every_control_is_measured_over_all_seeds_and_comes_out() -> None:
    table = build(records())
    assert len(table.controls) == 9
    assert all(control.comparison.seeds == len(SEEDS) for control in table.controls)
    assert [c.came_out for c in table.controls if c.spec.expected == "above"] == [True] * 3
    negative = [c for c in table.controls if c.spec.expected == "no difference"]
    assert len(negative) == 6
    for control in negative:
        assert control_sentence(control).startswith(
            f"{control.comparison.group}: expected no difference between "
        )
        assert "as they are one method under other seeds" in control_sentence(control)


def test_equal_rows_that_differ_are_said_to() -> None:
    negative = [c for c in build(records(others=0.8)).controls if c.spec.expected == "no difference"]
    assert not any(control.came_out for control in negative)
    assert all(
        "did not come out" in control_sentence(c) and "may be the seeds'" in control_sentence(c)
        for c in negative
    )


def test_a_row_of_other_seeds_says_which_failed() -> None:
    runs = records()
    failed = RunRecord(key("uniform", "other-seeds", 3 + OTHER), "failed", "no luck")
    runs = [run for run in runs if run.key.hash != failed.key.hash] + [failed]
    table = build(runs)
    (row,) = [row for row in table.filled if row.row.name == "uniform[other-seeds]"]
    assert sorted(row.runs) == [1, 2, 4, 5, 6] and "seed 1000003 failed: no luck" in row.note


def test_rates_and_seeds_of_the_runs(suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("reproduce", "--suite", suite, "--profile", "smoke", "--threads", "1", "--workers", "1")
    done = run_command(capsys, *words, "--table", "controls", "--seeds", "1,2")
    assert done.code == 0, done.err
    found = Store(tmp_path / "store").records()
    trained = {(r.key.variant, r.key.seed): r for r in found if r.key.method == "uniform"}
    expected = {(rate, seed) for rate in RATES for seed in (1, 2)}
    expected |= {(ending("other-seeds", rate), seed + OTHER) for rate in RATES for seed in (1, 2)}
    assert set(trained) == expected
    for (variant, _), run in trained.items():
        factor = next((RATES[rate] for rate in RATES if rate and variant.endswith(rate)), 1.0)
        assert run.key.settings["train"]["learning_rate"] == 1e-3 * factor
    assert len({r.weights["final"] for r in trained.values()}) == len(trained)
    assert len(found) == len(trained) + 2, "without known truth there is no oracle"
    text = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "expected no difference between Uniform weights under other seeds and Uniform weights" in text
    shared = run_command(capsys, *words, "--methods", "uniform", "--seeds", "1,2", "--dry-run")
    assert "nothing to run" in shared.err, "table 2 has the same runs"


def test_a_row_at_a_multiple_of_the_rate_is_not_tuned(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mine.toml"
    rows: list[dict[str, str | float]] = [
        {"method": "uniform", "title": "Uniform"},
        {"method": "uniform", "title": "Twice", "variant_suffix": "twice", "learning_rate_times": 2.0},
    ]
    listed = "\n".join("[[rows]]\n" + "\n".join(f"{k} = {json.dumps(v)}" for k, v in r.items()) for r in rows)
    table.write_text(
        'number = "mine"\ntitle = "Mine"\nnumbering = "None."\nreference = "uniform"\n'
        f'{listed}\n[[groups]]\nname = "in_distribution"\ntitle = "ID"\nkind = "benchmarks"\n'
    )
    words = ("reproduce", "--suite", suite, "--profile", "smoke", "--threads", "1", "--workers", "1")
    done = run_command(capsys, *words, "--table", table, "--tune")
    assert done.code == 0, done.err
    found = Store(tmp_path / "store").records()
    assert {r.key.variant for r in found if r.key.is_trial} == {""}
    (twice,) = [r for r in found if r.key.variant == "twice"]
    assert twice.key.settings["train"]["learning_rate"] == 2e-3
    other = table.read_text().replace("learning_rate_times = 2.0", "learning_rate_times = 0.0")
    table.write_text(other)
    refused = run_command(capsys, *words, "--table", table)
    assert refused.code == 2 and "learning_rate_times" in refused.err
