"""Constant and shuffled weights: what is kept of the other run's weights, and what is not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from compact_bench.core.errors import ConfigError, StoreError
from compact_bench.core.records import Question
from compact_bench.core.settings import RunSettings
from compact_bench.methods.registry import get_method, make_method
from compact_bench.students.student import attach_lora, load_student
from compact_bench.training.final_weights import STEPS_FILE
from compact_bench.training.loop import train
from compact_bench.training.protocol import RunContext
from compact_bench.training.required import RequiredRun
from tests import tiny
from tests.invariant.support import Trained, settings, train_tiny

QUESTIONS = tiny.questions(5, 3)
Made = Callable[..., tuple[RequiredRun, Trained]]


def module(method: str) -> Any:
    """The module of a baseline, whose functions have no other name."""
    import sys

    return sys.modules[get_method(method).__module__]


@pytest.fixture
def made(student_folder: Callable[..., Path], tmp_path: Path) -> Made:
    """A run of a method on tiny questions, as what another run requires."""

    def make(
        method: str = "compact",
        questions: Sequence[Question] = QUESTIONS,
        run_settings: RunSettings | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> tuple[RequiredRun, Trained]:
        place = tmp_path / f"of-{method}"
        done = train_tiny(
            student_folder(), place, questions, run_settings or settings(dropout=0.1), method, config
        )
        config_type = get_method(method).config_type
        whole = config_type.model_validate(dict(config or {})).model_dump(mode="json")
        return RequiredRun(method, place, whole), done

    return make


def after(
    student_folder: Callable[..., Path],
    directory: Path,
    run: RequiredRun,
    method: str,
    questions: Sequence[Question] = QUESTIONS,
    run_settings: RunSettings | None = None,
) -> Trained:
    """A run of a method that requires another, which it is given."""
    chosen = run_settings or settings(dropout=0.1)
    student = load_student(str(student_folder()), dtype="float32", device="cpu")
    attach_lora(student, chosen.lora, seed=5)
    context = RunContext(directory, chosen, seed=7, required={"of": run})
    report = make_method(method).fit(student, questions, context)
    return Trained(student, report, pd.read_parquet(directory / STEPS_FILE), [], {})


def vectors(steps: pd.DataFrame) -> dict[int, dict[str, dict[str, float]]]:
    """Epoch -> question -> teacher -> weight."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for row in steps.to_dict("records"):
        by_question = found.setdefault(int(row["epoch"]), {})
        by_question.setdefault(row["question_id"], {})[row["teacher"]] = float(row["teacher_weight"])
    return found


def multiset(epoch: Mapping[str, Mapping[str, float]]) -> Counter[tuple[tuple[str, float], ...]]:
    return Counter(tuple(sorted(weights.items())) for weights in epoch.values())


def test_compacts_own_weights_give_compacts_own_student(
    made: Made, student_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Unshuffled, the comparator is COMPACT to the bit: only the weights differ between the two.

    With dropout in adapters COMPACT's attention scores draw from it too, so that later masks are others.
    """
    quick = settings(dropout=0.0)
    run, compact = made(run_settings=quick)
    shuffled = module("shuffled_weights")
    epochs = shuffled.by_epoch(run, shuffled.recorded_visits(run, QUESTIONS), QUESTIONS, 2)
    student = load_student(str(student_folder()), dtype="float32", device="cpu")
    attach_lora(student, quick.lora, seed=5)
    context = RunContext(tmp_path / "replayed", quick, seed=7)
    train(student, QUESTIONS, shuffled.GivenWeights.like(run, context, epochs), context)
    weights = {n: p.detach() for n, p in student.model.named_parameters() if p.requires_grad}
    assert all(torch.equal(weight, weights[name]) for name, weight in compact.weights().items())


def test_constant_weights_are_the_means_over_all_visits(
    made: Made, student_folder: Callable[..., Path], tmp_path: Path
) -> None:
    run, compact = made()
    done = after(student_folder, tmp_path / "constant", run, "constant_weights")
    by_teacher = compact.steps.groupby("teacher")["teacher_weight"]
    means = {str(teacher): math.fsum(weights) / len(weights) for teacher, weights in by_teacher}
    assert len(compact.steps) == 2 * 5 * 3 and len(set(means.values())) == 3
    assert done.report.extra["constant_weights"] == means
    for row in done.steps.itertuples():
        assert row.teacher_weight == means[str(row.teacher)], "to the bit, for every question and epoch"


def test_shuffled_weights_are_another_questions_of_the_same_epoch(
    made: Made, student_folder: Callable[..., Path], tmp_path: Path
) -> None:
    run, compact = made()
    done = after(student_folder, tmp_path / "shuffled", run, "shuffled_weights")
    before, given = vectors(compact.steps), vectors(done.steps)
    assert before.keys() == given.keys() == {0, 1}
    for epoch, weights in before.items():
        assert multiset(weights) == multiset(given[epoch]), "every vector is used once"
        assert all(weights[name] != given[epoch][name] for name in weights), "nobody has its own"
    assert done.report.extra["rescaled_visits"] == 0
    order = ["step", "question_id", "teacher"]
    visits = [steps.sort_values(order)[order].to_numpy().tolist() for steps in (compact.steps, done.steps)]
    assert visits[0] == visits[1], "the same questions at the same steps"


def test_the_derangement() -> None:
    shuffled = module("shuffled_weights").shuffled
    ids = [f"q{n}" for n in range(40)]
    weights = {name: {"ada": n / 40, "bob": 1 - n / 40} for n, name in enumerate(ids)}
    seen = []
    for seed in range(20):
        given = shuffled(weights, seed)
        assert all(given[name] is not weights[name] for name in ids)
        assert {id(w) for w in given.values()} == {id(w) for w in weights.values()}
        assert given == shuffled(dict(reversed(weights.items())), seed), "whatever the order of the questions"
        seen.append(str(given))
    assert len(set(seen)) == 20
    pair = shuffled({"a": {"x": 1.0}, "b": {"x": 0.5}}, 3)
    assert pair == {"a": {"x": 0.5}, "b": {"x": 1.0}}
    with pytest.raises(ConfigError, match="got 1 of which"):
        shuffled({"a": {"x": 1.0}}, 3)


def test_the_derangement_is_the_same_in_any_process() -> None:
    """Written down: a worker, another machine or another Python draws this too."""
    weights = {name: {"ada": float(n)} for n, name in enumerate("abcdef")}
    given = module("shuffled_weights").shuffled(weights, 11)
    assert "".join("abcdef"[int(given[name]["ada"])] for name in "abcdef") == "fcdeab"


def test_uneven_questions_take_weights_of_the_same_teachers_where_they_can() -> None:
    shuffled = module("shuffled_weights").shuffled
    weights = {f"all{n}": {"ada": 0.5, "bob": 0.3, "cy": 0.2} for n in range(3)}
    weights |= {f"two{n}": {"ada": 0.9, "bob": 0.1} for n in range(2)}
    weights["alone"] = {"bob": 0.25, "cy": 0.75}
    given = shuffled(weights, 5)
    assert {name: w.keys() for name, w in given.items()} == {name: w.keys() for name, w in weights.items()}
    assert all(given[f"two{n}"] == weights["two0"] for n in range(2))
    assert given["alone"] == {"bob": pytest.approx(0.6), "cy": pytest.approx(0.4)}, "scaled to the sum of 1"
    assert sum(w == {"ada": 0.0, "bob": 0.25, "cy": 0.75} for w in given.values()) == 1
    for one in given.values():
        assert math.fsum(one.values()) == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="have a teacher in common"):
        shuffled({"a": {"ada": 1.0}, "b": {"bob": 1.0}}, 5)


def test_constant_weights_of_an_uneven_set_sum_to_one() -> None:
    constant = module("constant_weights")
    (first, second, third) = tiny.questions(3, 3)
    second = replace(second, rationales=second.rationales[:2])
    questions = [first, second, third]
    names = [r.teacher for r in first.rationales]
    visits = [
        constant.Visit(0, first.id, dict(zip(names, (0.5, 0.25, 0.25), strict=True))),
        constant.Visit(0, second.id, dict(zip(names[:2], (0.75, 0.25), strict=True))),
        constant.Visit(0, third.id, dict(zip(names, (0.25, 0.25, 0.5), strict=True))),
    ]
    means = constant.mean_weights(visits, questions)
    assert means == dict(zip(names, (0.5, 0.25, 0.375), strict=True))
    shares = constant.constant_weights(means, visits, questions)
    assert all(math.fsum(weights.values()) == pytest.approx(1.0) for weights in shares.values())
    assert shares[second.id][names[0]] == pytest.approx(2 / 3)


def test_of_a_method_that_leaves_rationales_out(
    made: Made, student_folder: Callable[..., Path], tmp_path: Path
) -> None:
    run, _ = made("mcc_kd")
    constant = after(student_folder, tmp_path / "c", run, "constant_weights")
    assert math.fsum(constant.report.extra["constant_weights"].values()) <= 1.0 + 1e-12
    done = after(student_folder, tmp_path / "s", run, "shuffled_weights")
    weights = pd.Series(done.steps["teacher_weight"])
    assert set(weights) <= {0.0, 0.5, 1.0} and (weights == 0.0).any(), "left out counts 0"


def test_what_records_no_weights_is_refused(
    made: Made, student_folder: Callable[..., Path], tmp_path: Path
) -> None:
    run, compact = made()
    table = run.directory / STEPS_FILE
    for broken, text in (
        (compact.steps.drop(columns=["teacher_weight"]), "has no teacher_weight"),
        (compact.steps.assign(teacher_weight=math.nan), "not known"),
        (compact.steps.assign(teacher_weight=0.0), "all 0"),
        (pd.concat([compact.steps, compact.steps]), "twice in a step"),
        (compact.steps.replace({"teacher": {"ada": "eve"}}), "not those of this run"),
        (compact.steps[compact.steps["epoch"] == 0], "once in each of 2 epochs"),
    ):
        broken.to_parquet(table)
        with pytest.raises(ConfigError, match=text):
            after(student_folder, tmp_path / "x", run, "shuffled_weights")
    with pytest.raises(StoreError, match="damaged"):
        after(student_folder, tmp_path / "x", replace(run, seal="0" * 64), "constant_weights")
    with pytest.raises(ConfigError, match=r"context\.required"):
        make_method("constant_weights").fit(None, QUESTIONS, RunContext(tmp_path, settings(), 7))  # type: ignore[arg-type]
