"""Every registered method keeps the public contract, and what tables rely on beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest

from compact_bench.core.errors import CompactBenchError, UnknownNameError
from compact_bench.core.settings import RunSettings
from compact_bench.methods.checks import check_method
from compact_bench.methods.checks.fits import one_fit, required_fits
from compact_bench.methods.checks.subject import find_subject
from compact_bench.methods.checks.world import SEED, fresh_student, run_settings, small_world
from compact_bench.methods.contract import SuiteInfo, refusal
from compact_bench.methods.registry import get_method, make_method, method_names, template_file
from compact_bench.training.protocol import RunContext

METHODS = method_names()
TRAINED = [name for name in METHODS if get_method(name).card.min_teachers > 0]
WORLD = small_world()
TEACHER = WORLD.suite.teachers[0]


@pytest.mark.parametrize("name", METHODS)
def test_the_contract(name: str) -> None:
    wrong = [f"{r.name}: {r.message}" for r in check_method(name) if not r.passed]
    assert not wrong, "\n".join(wrong)


def test_the_template_keeps_it_too() -> None:
    wrong = [f"{r.name}: {r.message}" for r in check_method(template_file()) if not r.passed]
    assert not wrong, "\n".join(wrong)
    assert "_template" not in METHODS


def test_the_methods_that_must_be_there() -> None:
    expected = {"zero_shot", "single_teacher", "uniform", "compact", "compact_released", "oracle"}
    expected |= {"sbs_kd", "mcc_kd", "edit", "mot", "committee"}
    expected |= {"random_teacher", "all_rationales", "right_filter", "majority_filter", "shortest_rationale"}
    expected |= {"best_teacher", "curriculum", "pcgrad", "mgda", "cagrad", "upgrad"}
    expected |= {"constant_weights", "shuffled_weights"}
    expected |= {"kl_to_base", "l2_to_start", "replay", "learned_weights", "uncertainty_weights"}
    assert expected <= set(METHODS)


def visits(name: str) -> set[tuple[int, str]]:
    """Which question a method trains on in which step."""
    table = one_fit(find_subject(name, None, TEACHER), WORLD).table
    assert table is not None
    return set(zip(table["step"], table["question_id"], strict=True))


@pytest.fixture(scope="module")
def schedule() -> set[tuple[int, str]]:
    found = visits("uniform")
    assert len(found) == 2 * len(WORLD.questions)
    return found


@pytest.mark.parametrize("name", [name for name in TRAINED if not get_method(name).card.extra_steps])
def test_a_method_sees_the_questions_in_the_order_of_all(name: str, schedule: set[tuple[int, str]]) -> None:
    assert visits(name) <= schedule


@pytest.mark.parametrize("name", TRAINED)
def test_a_loss_that_is_not_finite_is_named(name: str, tmp_path: Path) -> None:
    settings = run_settings(lora=False)

    def at(rate: float) -> RunSettings:
        train = settings.train.model_copy(update={"learning_rate": rate, "epochs": 3})
        return settings.model_copy(update={"train": train})

    subject = find_subject(name, None, TEACHER)
    # Made at a sane rate: it is this method's numbers that are to become infinite.
    (beside := tmp_path / "required").mkdir()
    required = required_fits(subject, WORLD, beside, at(1e-3))
    context = RunContext(tmp_path, at(1e30), SEED, validation=WORLD.validation, required=required)
    with pytest.raises(CompactBenchError, match="finite"):
        subject.make().fit(fresh_student(lora=False), WORLD.questions, context)


def test_a_teacher_that_is_not_there() -> None:
    suite = SuiteInfo(name="tiny", teachers=("ada", "bob"))
    reason = refusal(make_method("single_teacher", {"teacher": "eve"}), suite)
    assert reason is not None
    assert "eve" in reason
    assert "ada" in reason
    with pytest.raises(UnknownNameError, match=r"Did you mean .*compact_released"):
        get_method("compact_relased")
