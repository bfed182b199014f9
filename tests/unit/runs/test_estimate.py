"""How long runs will take: rates by size, what finished runs teach, what costs nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compact_bench.core.records import TRIAL, RunKey, RunRecord
from compact_bench.runs.estimate import MEASURED, Estimator, Workload, assumed_rates

EVAL = {"items_per_task": None}
KEY = RunKey(
    "uniform", "", "s", "r", "lab", "f", "lite", 1, {"train": {"epochs": 2}, "eval": EVAL, "method": {}}, 1
)
LOAD = Workload(100, 4, [("in_distribution", 50), ("retention", 150)], 1_500_000)


def done(key: RunKey, training: float, evaluation: float, whole: float, **more: Any) -> RunRecord:
    return RunRecord(
        key=key,
        status="done",
        training={
            "optimiser_steps": 9, "questions": 100, "epochs": 2, "branches": 800, "seconds": training, **more
        },
        evaluations={"ring": {"seconds": evaluation, "n": 200}},
        provenance={"seconds": whole},
    )  # fmt: skip


def test_rates_lie_on_the_line_through_the_measured_sizes() -> None:
    small, large = sorted(MEASURED)
    assert assumed_rates(small) == MEASURED[small] == assumed_rates(10)
    assert assumed_rates(large) == assumed_rates(None) == MEASURED[large]
    assert assumed_rates(2 * large).seconds_per_branch > 1.9 * MEASURED[large].seconds_per_branch


def test_without_runs_a_small_student_is_thought_quick() -> None:
    small = Estimator([], LOAD)
    large = Estimator([], replace(LOAD, parameters=None))
    key = KEY.hash
    assert small.expected([KEY])[key] < large.expected([KEY])[key] / 20
    rates = assumed_rates(LOAD.parameters)
    branches, items = 100 * 2 * 4, 200
    assert small.expected([KEY])[key] == pytest.approx(
        branches * rates.seconds_per_branch + items * rates.seconds_per_item + rates.overhead_seconds
    )
    assert "assuming" in small.basis


def test_a_finished_run_corrects_the_others() -> None:
    estimator = Estimator([], LOAD)
    estimator.learn(done(KEY, training=80.0, evaluation=20.0, whole=105.0))
    same, other = replace(KEY, seed=2), replace(KEY, method="compact")
    teacher = replace(KEY, method="single_teacher", settings={**KEY.settings, "method": {"teacher": "a"}})
    longer = replace(KEY, settings={**KEY.settings, "train": {"epochs": 4}})
    found = estimator.expected([same, other, teacher, longer])
    assert found[same.hash] == found[other.hash] == pytest.approx(105.0)
    assert found[teacher.hash] == pytest.approx(20.0 + 20.0 + 5.0), "a fourth of the branches"
    assert found[longer.hash] == pytest.approx(185.0)
    assert "1 finished run" in estimator.basis


def test_fewer_items_or_groups_take_less_and_a_trial_is_a_run_of_its_groups() -> None:
    estimator = Estimator([done(KEY, training=80.0, evaluation=20.0, whole=105.0)], LOAD)
    few = replace(KEY, settings={**KEY.settings, "eval": {"items_per_task": 10}})
    one_group = replace(KEY, settings={**KEY.settings, "eval": {**EVAL, "groups": ["in_distribution"]}})
    trial = replace(one_group, profile=KEY.profile + TRIAL)
    found = estimator.expected([few, one_group, trial])
    assert found[few.hash] == pytest.approx(80 + 20 * 20 / 200 + 5)
    assert found[one_group.hash] == pytest.approx(80 + 20 * 50 / 200 + 5)
    assert found[trial.hash] == found[one_group.hash]


def test_seeds_of_a_method_without_training_cost_nothing_after_the_first() -> None:
    keys = [replace(KEY, method="zero_shot", seed=seed) for seed in (1, 2)]
    found = Estimator([], LOAD).expected(keys)
    assert found[keys[0].hash] > 0.0 == found[keys[1].hash]
    first = replace(done(keys[0], 0.0, 20.0, 21.0), training={"optimiser_steps": 0, "seconds": 0.0})
    assert Estimator([first], LOAD).expected(keys) == {keys[0].hash: 0.0, keys[1].hash: 0.0}


def test_other_students_and_failed_runs_teach_nothing() -> None:
    other = done(replace(KEY, student="large"), 900.0, 900.0, 2000.0)
    failed = replace(done(KEY, 900.0, 900.0, 2000.0), status="failed")
    assert Estimator([other, failed], LOAD).expected([KEY]) == Estimator([], LOAD).expected([KEY])
