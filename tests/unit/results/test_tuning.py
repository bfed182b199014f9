"""Learning rates chosen from made-up trials, and how the choice is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.core.settings import RunSettings
from compact_bench.results.report.sections.tuning import tuning_markdown
from compact_bench.results.tables.build import build_table
from compact_bench.results.tables.spec import load_table_spec
from compact_bench.results.tuning import TrialRun, Tuning, check_tunable, learning_rates, trial_key, with_rate
from compact_bench.runs.store.store import Store
from tests.unit.synthetic import SUITE, evaluation, key, record, validated

SPEC = load_table_spec(2)
RATES = (1e-4, 2e-4, 4e-4)
OWN = 2e-4
QUESTIONS = 200


def run_key(method: str = "uniform", variant: str = "", seed: int = 1, **evaluation: Any) -> RunKey:
    settings = RunSettings().model_dump(mode="json")
    settings["eval"] |= evaluation
    settings["train"]["learning_rate"] = OWN
    return key(method, variant, seed, settings=settings)


def trial(
    rate: float, accuracy: float, method: str = "uniform", seed: int = 1, test: float = 0.5, **changes: Any
) -> RunRecord:
    """A trial whose generated answers are right at a rate, and whose test items at another."""
    found = record(method, key=trial_key(run_key(method, seed=seed), rate), evaluations={}, probes={})
    scores = [1.0] * round(test * 20) + [0.0] * (20 - round(test * 20))
    found = dataclasses.replace(found, evaluations={"svamp": evaluation("svamp", scores)})
    return dataclasses.replace(validated(found, accuracy, questions=QUESTIONS), **changes)


def tuned(
    *records: RunRecord, methods: tuple[str, ...] = ("uniform",), seeds: tuple[int, ...] = (1,)
) -> Tuning:
    """The tuning of a store that has these records."""
    there: Mapping[str, RunRecord] = {r.key.hash: r for r in records}
    rows = [(method.upper(), [run_key(method, seed=seed) for seed in seeds]) for method in methods]
    return Tuning.of(RATES, seeds, rows, lambda key, rate: opened(there, key, rate))


def opened(there: Mapping[str, RunRecord], key: RunKey, rate: float) -> TrialRun:
    tried = trial_key(key, rate)
    return TrialRun(tried, there.get(tried.hash))


def rates_of(found: Tuning, row: int = 0) -> list[float]:
    return [t.rate for t in found.rows[row].trials]


def test_the_grid_is_the_profile_s_or_around_its_rate() -> None:
    assert learning_rates(OWN, None) == RATES
    assert learning_rates(OWN, (1e-5, 1e-3)) == (1e-5, 1e-3)


def test_a_trial_is_a_run_of_its_own_kind() -> None:
    run = run_key(items_per_task=25, validation_questions=7, answered_questions=150)
    found = trial_key(run, OWN)
    assert run.settings["train"]["learning_rate"] == OWN
    assert found.hash != run.hash
    assert found.is_trial and not run.is_trial
    assert found.label == "uniform (trial at 0.0002)"
    assert found.settings["eval"]["groups"] == ["in_distribution"]
    assert found.settings["eval"]["validation_accuracy"] is True
    assert found.settings["eval"]["answered_questions"] == 150
    same = run_key(items_per_task=25, validation_questions=9, drift_passages=3, answered_questions=150)
    assert found.hash == trial_key(same, OWN).hash, "what a trial does not measure makes no other trial"
    assert found.hash != trial_key(run_key(answered_questions=8), OWN).hash
    assert with_rate(run, OWN) == run
    assert with_rate(run, 1e-3).settings == {
        **run.settings,
        "train": {**run.settings["train"], "learning_rate": 1e-3},
    }


def test_no_table_takes_a_trial_for_a_result_and_no_name_of_a_run_finds_it(tmp_path: Any) -> None:
    result = record("uniform", key=run_key())
    every = [result, *(trial(rate, 0.5) for rate in RATES)]
    table = build_table(SPEC, every, SUITE, profile="lite")
    assert table.cells["uniform", "svamp"].seeds == 1
    store = Store(tmp_path)
    for run in every:
        store.save(run.key, run)
    assert store.find("uniform@1") == store.find("uniform") == [result]
    assert len(store.records()) == 4


def test_the_highest_accuracy_is_chosen() -> None:
    found = tuned(trial(1e-4, 0.4), trial(2e-4, 0.6), trial(4e-4, 0.5))
    assert found.chosen == {("uniform", ""): 2e-4}
    assert found.rows[0].edges == (False, False) and rates_of(found) == list(RATES)
    assert found.questions == QUESTIONS


def test_a_tie_within_one_standard_error_goes_to_the_smaller_rate() -> None:
    found = tuned(trial(1e-4, 0.3), trial(2e-4, 0.595), trial(4e-4, 0.6), trial(8e-4, 0.4))
    choice = found.rows[0].choice
    assert choice is not None and choice.highest.cost == 4e-4
    assert found.rows[0].chosen == 2e-4
    every = tuned(*(trial(rate, 0.5) for rate in (2.5e-5, 5e-5, *RATES)))
    assert every.rows[0].chosen == 2.5e-5, "all alike: the smallest that was tried"


def test_accuracies_are_means_over_the_seeds_of_the_trials() -> None:
    records = [trial(rate, 0.5, seed=seed) for rate in RATES for seed in (1, 2)]
    # One very good seed and one very bad one are worse than two good ones.
    records += [trial(2e-4, 0.65, seed=seed) for seed in (1, 2)]
    records += [trial(4e-4, 0.8, seed=1), trial(4e-4, 0.1, seed=2)]
    found = tuned(*records, seeds=(1, 2))
    assert found.rows[0].chosen == 2e-4
    assert found.rows[0].choice is not None and found.rows[0].choice.seeds == 2


def test_the_grid_is_extended_where_the_choice_lies_at_its_edge_up_to_a_limit() -> None:
    records = [trial(1e-4, 0.3), trial(2e-4, 0.5), trial(4e-4, 0.7)]
    found = tuned(*records)
    assert rates_of(found) == [*RATES, 8e-4], "one step"
    assert found.rows[0].chosen is None, "which is not run yet"
    text = "\n".join(tuning_markdown(found))
    assert "| 70.0 ± 3.2 | not run | not yet |" in text, "what is there is shown before the choice"
    again = found.with_records([trial(8e-4, 0.6)], lambda key, rate: opened({}, key, rate))
    assert rates_of(again) == [*RATES, 8e-4] and again.rows[0].chosen == 4e-4
    assert again.rows[0].edges == (False, False)
    twice = tuned(*records, trial(8e-4, 0.8), trial(16e-4, 0.9))
    assert rates_of(twice) == [*RATES, 8e-4, 16e-4], "two steps at most"
    assert twice.rows[0].chosen == 16e-4 and twice.rows[0].edges == (False, True)
    below = tuned(trial(1e-4, 0.7), trial(2e-4, 0.5), trial(4e-4, 0.3))
    assert rates_of(below) == [5e-5, *RATES]


def test_the_grid_is_extended_too_where_the_highest_lies_at_its_edge_and_ties() -> None:
    found = tuned(trial(1e-4, 0.3), trial(2e-4, 0.6), trial(4e-4, 0.605))
    assert rates_of(found) == [*RATES, 8e-4]


def test_rows_are_extended_each_for_itself() -> None:
    inside = [trial(rate, accuracy) for rate, accuracy in zip(RATES, (0.3, 0.6, 0.4), strict=True)]
    edge = [trial(rate, accuracy, "compact") for rate, accuracy in zip(RATES, (0.3, 0.5, 0.7), strict=True)]
    found = tuned(*inside, *edge, methods=("uniform", "compact"))
    assert rates_of(found, 0) == list(RATES) and rates_of(found, 1) == [*RATES, 8e-4]
    assert found.chosen == {("uniform", ""): 2e-4}
    assert tuned(methods=()).chosen == {}


def test_a_failed_trial_is_never_chosen_and_a_missing_one_leaves_the_row_open() -> None:
    failed = trial(4e-4, 1.0, status="failed", reason="NumericalError: not finite\nmore")
    found = tuned(trial(1e-4, 0.3), trial(2e-4, 0.6), failed)
    assert found.chosen == {("uniform", ""): 2e-4} and rates_of(found) == list(RATES), (
        "no step past a failure"
    )
    missing = tuned(trial(1e-4, 0.5), trial(2e-4, 0.7))
    assert missing.chosen == {} and missing.rows[0].chosen is None
    every = tuned(*(dataclasses.replace(failed, key=trial_key(run_key(), rate)) for rate in RATES))
    assert every.chosen == {("uniform", ""): OWN}
    assert every.rows[0].choice is None and every.rows[0].edges == (False, False)


@pytest.mark.parametrize("test", [(0.0, 0.5, 1.0), (1.0, 0.5, 0.0), (0.5, 0.5, 0.5)])
def test_the_test_items_never_enter_the_choice(test: tuple[float, ...]) -> None:
    accuracies = (0.4, 0.6, 0.5)
    found = tuned(*(trial(r, a, test=t) for r, a, t in zip(RATES, accuracies, test, strict=True)))
    assert found.rows[0].chosen == 2e-4 and rates_of(found) == list(RATES)
    assert found.rows[0].test_rate == {0.0: 4e-4, 1.0: 1e-4, 0.5: 1e-4}[test[0]]


def test_the_report_tells_every_trial_the_choice_and_what_test_items_would_have_chosen() -> None:
    failed = trial(4e-4, 0.0, "compact", status="failed", reason="NumericalError: not | finite at step 3")
    found = tuned(
        *(trial(r, a, test=t) for r, a, t in zip(RATES, (0.3, 0.6, 0.595), (0.1, 0.2, 0.9), strict=True)),
        *(
            trial(r, a, "compact")
            for r, a in zip((*RATES[:2], 5e-5, 2.5e-5), (0.5, 0.4, 0.6, 0.7), strict=True)
        ),
        failed,
        methods=("uniform", "compact", "compact_released"),
    )
    text = "\n".join(tuning_markdown(found))
    for wanted in (
        "tried the same 3 learning rates (0.0001, 0.0002, 0.0004) under seed 1.",
        "accuracy of generated answers to 200 validation questions",
        "at most 2 times",
        "| Row | 2.5e-05 | 5e-05 | 0.0001 | 0.0002 | 0.0004 | Chosen | By test items † |",
        "| UNIFORM |  |  | 30.0 ± 3.2 | 60.0 ± 3.5 | 59.5 ± 3.5 | 0.0002 | 0.0004 (90.0 %) |",
        "| COMPACT | 70.0 ± 3.2 | 60.0 ± 3.5 | 50.0 ± 3.5 | 40.0 ± 3.5 | failed (1) | 2.5e-05 (edge) |",
        "| COMPACT_RELEASED |  |  | not run | not run | not run | not yet | not known |",
        "(1) failed: NumericalError: not \\| finite at step 3",
        "another may do better",
        "they are not used to choose",
        "trials are missing",
    ):
        assert wanted in text, text
    assert "keep the profile's rate" not in text and "are few" not in text and "nats" not in text


def test_too_few_validation_questions_tune_nothing() -> None:
    check_tunable(25, "lite")
    check_tunable(2, "smoke")
    with pytest.raises(ConfigError, match="--tune: got 24 validation questions, where 25 are the fewest"):
        check_tunable(24, "lite")
