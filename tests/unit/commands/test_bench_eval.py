"""`bench eval`: both engines on the same items, what differs between them, the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compact_bench.commands.bench.evaluation import EvalResult, bench_eval, choose_tasks, differences
from compact_bench.commands.bench.reports.evaluation import eval_markdown, eval_notes
from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.progress import PlainDisplay
from compact_bench.students.student import Student
from tests.tiny_suite import write_tiny_suite
from tests.unit.command import run_command

Load = Callable[..., Student]

GENERATION = [
    {"id": f"q{i}", "question": f"Tom has {i} apples" + " and buys more" * (i * 5 % 7), "answer": str(i)}
    for i in range(5)
]
CHOICE = [
    {"id": f"c{i}", "question": f"Do birds fly {i} times?", "choices": ["True", "False", "Mary"], "label": 0}
    for i in range(6)
]


def measured(student: Student, **changes: Any) -> EvalResult:
    display = PlainDisplay(lambda line: None, quiet=True)
    asked = {"max_new_tokens": 5, "batch_sizes": (2, 4), "repeats": 2} | changes
    return bench_eval(student, {"svamp": GENERATION, "csqa": CHOICE}, display, **asked)


def test_both_engines_are_measured_on_the_same_items(load_tiny: Load) -> None:
    result = measured(load_tiny("llama", "chatml"))
    assert [(t.task, t.kind, t.items) for t in result.tasks] == [
        ("svamp", "generation", 5),
        ("csqa", "choice", 6),
    ]
    for task in result.tasks:
        for one in (task.harness, task.fast):
            assert set(one.trial_seconds) == {2, 4} and len(one.samples_seconds) == 2
            assert one.trial_seconds[one.batch_size] == min(one.trial_seconds.values())
            assert one.items_per_second == pytest.approx(task.items / one.seconds.median)
            assert (one.generated_tokens > 0) == (task.kind == "generation")
        ratios = [a / b for a, b in zip(task.harness.samples_seconds, task.fast.samples_seconds, strict=True)]
        assert task.speed.median == pytest.approx(sum(ratios) / 2)
        assert (task.harness.engine, task.fast.engine, task.harness.reason) == ("harness", "fast", "")
        assert task.differences.scores == 0 and task.differences.largest_nats < 1e-3
    assert EvalResult.model_validate_json(result.model_dump_json()) == result
    text = eval_markdown(result)
    assert sum(line.startswith("| svamp | ") for line in text.splitlines()) == 2
    assert any(note.startswith("csqa, 6 items: 0 choices") for note in eval_notes(result))


def test_differences_are_counted() -> None:
    first = [
        {"generation": "a", "prediction": "1", "score": 1.0},
        {"generation": "b", "prediction": "2", "score": 0.0},
        {"loglikelihoods_nats": [-1.0, -2.0], "prediction": "x", "score": 1.0},
    ]
    second = [
        {"generation": "a ", "prediction": "1", "score": 1.0},
        {"generation": "b", "prediction": "3", "score": 1.0},
        {"loglikelihoods_nats": [-1.25, -2.0], "prediction": "x", "score": 1.0},
    ]
    found = differences(first, second)
    assert (found.texts, found.predictions, found.scores, found.largest_nats) == (1, 1, 1, 0.25)


def test_tasks_are_chosen_by_kind_or_name() -> None:
    suite = {"gsm8k": GENERATION, "boolq": CHOICE, "svamp": GENERATION, "csqa": CHOICE}
    assert list(choose_tasks(suite, (), 2)) == ["csqa", "svamp"]
    assert list(choose_tasks({"gsm8k": GENERATION, "boolq": CHOICE}, (), 2)) == ["boolq", "gsm8k"]
    assert choose_tasks(suite, ("gsm8k",), 2) == {"gsm8k": GENERATION[:2]}
    with pytest.raises(UnknownNameError, match=r"Did you mean 'csqa'"):
        choose_tasks(suite, ("csqq",), 2)


@pytest.mark.parametrize("changes", [{"repeats": 0}, {"batch_sizes": ()}, {"batch_sizes": (0, 2)}])
def test_nothing_to_measure_is_refused(load_tiny: Load, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="bench eval: expected at least one task"):
        measured(load_tiny("llama", "chatml"), **changes)


def test_a_task_without_items_is_refused(load_tiny: Load) -> None:
    display = PlainDisplay(lambda line: None, quiet=True)
    with pytest.raises(ConfigError, match="got none of csqa"):
        bench_eval(load_tiny("llama", "chatml"), {"svamp": GENERATION, "csqa": []}, display)


def test_the_command(
    tmp_path: Path,
    student_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMPACT_BENCH_CACHE", str(tmp_path / "cache"))
    suite = write_tiny_suite(tmp_path / "suite", str(student_folder("llama", "chatml")))
    words = ["bench", "eval", "--suite", suite, "--items", "2", "--max-new-tokens", "3", "--offline"]
    words += ["--batch-sizes", "2", "--repeats", "1", "--device", "cpu"]
    done = run_command(capsys, *words, "--output", tmp_path / "out")
    assert done.code == 0, done.err
    result = EvalResult.model_validate_json((tmp_path / "out" / "bench_eval.json").read_text())
    assert {task.kind for task in result.tasks} == {"choice", "generation"}
    assert all(task.items == 2 for task in result.tasks) and "speed / harness" in done.out
    assert (tmp_path / "out" / "bench_eval.md").read_text().startswith("# Evaluation\n")
    for option, value, said in (
        ("--batch-sizes", "8,x", "whole numbers of at least 1"),
        ("--tasks", "svampp", "Did you mean 'svamp'"),
    ):
        wrong = run_command(capsys, *words, option, value)
        assert wrong.code == 2 and said in wrong.err
