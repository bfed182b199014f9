"""Learning rates chosen from made-up trials, and how the choice is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import RunKey
from compact_bench.core.settings import RunSettings
from compact_bench.results.report.sections.tuning import tuning_markdown
from compact_bench.results.tables.build import build_table
from compact_bench.results.tables.spec import TableSpec, load_table_spec
from compact_bench.results.tuning import (
    Trial,
    Tuning,
    check_tunable,
    learning_rates,
    trial_key,
    with_rate,
)
from compact_bench.runs.store.store import Store
from tests.unit.synthetic import SUITE, key, record

SPEC = load_table_spec(2)
RATES = (1e-4, 2e-4, 4e-4)
OWN = 2e-4


def run_key(method: str = "uniform", variant: str = "", **evaluation: Any) -> RunKey:
    settings = RunSettings().model_dump(mode="json")
    settings["eval"] |= evaluation
    return key(method, variant, settings=settings)


def trial(
    rate: float, nats: tuple[float, float | None] | None, method: str = "uniform", **changes: Any
) -> Trial:
    """A trial that found these nats; None has not been run."""
    tried = trial_key(run_key(method), rate)
    if nats is None and not changes:
        return Trial(tried, None)
    values = dict(zip(("after_question", "after_rationale"), nats or (0.0, 0.0), strict=True))
    found = record(method, key=tried, probes={"validation_nats": values}, evaluations={})
    return Trial(tried, dataclasses.replace(found, **changes))


def tuned(*rows: Sequence[Trial], spec: TableSpec = SPEC) -> Tuning:
    runs = [(trials[0].key.method.upper(), OWN, trials) for trials in rows]
    return Tuning.of(spec, RATES, 1, runs)


def test_the_grid_is_the_profile_s_or_around_its_rate() -> None:
    assert learning_rates(OWN, None) == RATES
    assert learning_rates(OWN, (1e-5, 1e-3)) == (1e-5, 1e-3)


def test_a_trial_is_a_run_of_its_own_kind() -> None:
    run = run_key(items_per_task=25, validation_questions=7)
    found = trial_key(run, OWN)
    assert run.settings["train"]["learning_rate"] == OWN
    assert found.hash != run.hash, "a trial at the run's own rate lacks its benchmarks"
    assert found.is_trial and not run.is_trial
    assert found.label == "uniform (trial at 0.0002)"
    assert found.settings["eval"]["validation_questions"] == 7
    assert found.hash == trial_key(run_key(max_new_tokens=3, validation_questions=7), OWN).hash
    assert found.hash != trial_key(run_key(validation_questions=8), OWN).hash
    assert with_rate(run, OWN) == run
    assert with_rate(run, 1e-3).settings == {
        **run.settings,
        "train": {**run.settings["train"], "learning_rate": 1e-3},
    }


def test_no_table_takes_a_trial_for_a_result_and_no_name_of_a_run_finds_it(tmp_path: Any) -> None:
    result = record("uniform", key=run_key())
    trials = [found.record for rate in RATES if (found := trial(rate, (1.0, 1.0)))]
    every = [result, *(r for r in trials if r)]
    table = build_table(SPEC, every, SUITE, profile="lite")
    assert table.cells["uniform", "svamp"].seeds == 1
    store = Store(tmp_path)
    for run in every:
        store.save(run.key, run)
    assert store.find("uniform@1") == store.find("uniform") == [result]
    assert len(store.records()) == 4


def test_the_lowest_mean_of_both_values_is_chosen() -> None:
    row = [trial(1e-4, (2.0, 1.0)), trial(2e-4, (2.5, 0.2)), trial(4e-4, (1.9, 1.0))]
    found = tuned(row)
    assert found.rows[0].values == pytest.approx((1.5, 1.35, 1.45))
    assert found.chosen == {("uniform", ""): 2e-4}
    assert found.judged_by == ("after_question", "after_rationale")
    assert not found.rows[0].at_edge


def test_a_value_that_no_trial_has_is_left_out() -> None:
    found = tuned([trial(1e-4, (2.0, None)), trial(2e-4, (1.5, None)), trial(4e-4, (1.0, None))])
    assert found.judged_by == ("after_question",)
    assert found.chosen == {("uniform", ""): 4e-4}
    assert found.rows[0].at_edge


def test_ties_go_to_the_smaller_rate() -> None:
    assert tuned([trial(rate, (1.0, 1.0)) for rate in reversed(RATES)]).rows[0].chosen == 1e-4


def test_a_failed_trial_is_never_chosen_and_a_missing_one_leaves_the_row_open() -> None:
    failed = trial(1e-4, (0.0, 0.0), status="failed", reason="NumericalError: not finite\nmore")
    assert tuned([failed, trial(2e-4, (2.0, 1.0)), trial(4e-4, (3.0, 1.0))]).chosen == {("uniform", ""): 2e-4}
    missing = tuned([trial(1e-4, (1.0, 1.0)), trial(2e-4, (2.0, 1.0)), trial(4e-4, None)])
    assert missing.chosen == {} and missing.rows[0].chosen is None
    every = tuned([dataclasses.replace(failed, key=trial_key(run_key(), rate)) for rate in RATES])
    assert every.chosen == {("uniform", ""): OWN}
    assert not every.rows[0].judged and not every.rows[0].at_edge


def test_rows_choose_for_themselves() -> None:
    one = [trial(rate, (rate, 1.0)) for rate in RATES]
    other = [trial(rate, (-rate, 1.0), "compact") for rate in RATES]
    assert tuned(one, other).chosen == {("uniform", ""): 1e-4, ("compact", ""): 4e-4}
    assert tuned().chosen == {}


def test_the_report_tells_every_trial_and_the_choice() -> None:
    failed = trial(
        4e-4, (0.0, 0.0), "compact", status="failed", reason="NumericalError: not | finite at step 3"
    )
    found = tuned(
        [trial(1e-4, (2.0, 1.0)), trial(2e-4, (2.5, 0.2)), trial(4e-4, (1.9, 1.0))],
        [trial(1e-4, (2.0, 1.0), "compact"), trial(2e-4, (2.5, 1.0), "compact"), failed],
        [trial(rate, None, "compact_released") for rate in RATES],
    )
    text = "\n".join(tuning_markdown(found))
    for wanted in (
        "had 3 trials: one at each learning rate of the same grid (0.0001, 0.0002, 0.0004), under seed 1",
        "evaluates no benchmark",
        "the mean of after_question and after_rationale",
        "| Row | 0.0001 | 0.0002 | 0.0004 | Chosen |",
        "| UNIFORM | 1.5000 | 1.3500 | 1.4500 | 0.0002 |",
        "| COMPACT | 1.5000 | 1.7500 | failed (1) | 0.0001 (edge) |",
        "| COMPACT_RELEASED | not run | not run | not run | not yet |",
        "(1) failed: NumericalError: not \\| finite at step 3",
        "a wider grid may do better",
        "trials are missing",
    ):
        assert wanted in text
    assert "keep the profile's rate" not in text


@pytest.mark.parametrize("selection", [(), ("probes.drift_nats_per_token",), ("evaluations.svamp.value",)])
def test_a_table_must_say_what_a_trial_is_judged_by(selection: tuple[str, ...]) -> None:
    check_tunable(SPEC)
    with pytest.raises(ConfigError, match="to name values under probes"):
        check_tunable(SPEC.model_copy(update={"selection": selection}))
