"""The bridge: same numbers as the plain harness, cached by what they depend on, resumed after a kill."""

from __future__ import annotations

import json
import multiprocessing
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from compact_bench.core.errors import ConfigError, NumericalError, StoreError
from compact_bench.core.settings import EvalSettings
from compact_bench.evaluation import bridge as bridge_module
from compact_bench.evaluation.answer_steps import has_steps
from compact_bench.evaluation.bridge import evaluate, task_dependencies, task_key
from compact_bench.evaluation.cache import read_items
from compact_bench.evaluation.task_files import write_task_folder
from compact_bench.evaluation.task_results import EvalProgress, TaskResult
from tests.tiny import make_tokenizer

if TYPE_CHECKING:
    from compact_bench.students.student import Student

SETTINGS = EvalSettings(max_new_tokens=6, batch_size=4)


def number_rows(count: int = 7) -> list[dict[str, Any]]:
    # Lengths go up and down, so that the harness, which sorts by length, must sort back.
    return [
        {"id": f"q{i}", "question": f"Tom has {i} apples" + " and buys more" * (i * 5 % 7), "answer": str(i)}
        for i in range(count)
    ]


def choice_rows(count: int = 7) -> list[dict[str, Any]]:
    options = ["True", "False, it is not so", "birds", "12 more apples", "Mary"]
    return [
        {
            "id": f"c{i}",
            "question": f"Do birds fly {i} times?" + " So?" * (i * 3 % 5),
            "choices": options[: 3 + i % 3],
            "label": i % 3,
        }
        for i in range(count)
    ]


def benchmarks() -> dict[str, list[dict[str, Any]]]:
    return {"svamp": number_rows(), "arc_easy": choice_rows(), "winogrande": choice_rows(5)}


@pytest.fixture
def student(load_tiny: Callable[..., Student]) -> Student:
    return load_tiny()


def model_of(student: Student) -> Any:
    return student.model


def generator_states() -> tuple[Any, ...]:
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()


def run(student: Student, cache: Path, tasks: Any = None, settings: EvalSettings = SETTINGS) -> Any:
    events: list[EvalProgress] = []
    results = evaluate(
        student, tasks or benchmarks(), settings, weights_hash="w", cache_dir=cache, on_progress=events.append
    )
    # Those within a task are left out.
    return results, [event for event in events if not event.requests]


@pytest.mark.parametrize("kind", ["chatml", "llama3"])
def test_numbers_and_items_equal_the_harness_run_on_the_saved_student(
    student_folder: Callable[..., Path], load_tiny: Callable[..., Student], tmp_path: Path, kind: str
) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    results, _ = run(load_tiny("llama", kind), tmp_path / "cache")
    folder = write_task_folder(tmp_path / "tasks", benchmarks(), SETTINGS)
    plain = lm_eval.simple_evaluate(
        model="hf",
        model_args=f"pretrained={student_folder('llama', kind)},dtype=float32",
        tasks=list(benchmarks()),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        batch_size=SETTINGS.batch_size,
        device="cpu",
        apply_chat_template=True,
        bootstrap_iters=0,
    )
    for task, result in results.items():
        scores = plain["results"][task]
        assert result.value == scores[f"{result.metric},none"]
        assert {name: scores[f"{name},none"] for name in result.others} == result.others
        samples = {sample["doc"]["id"]: sample for sample in plain["samples"][task]}
        items = read_items(tmp_path / "cache", "w", result.cache_key)
        for item in items:
            sample = samples[item["id"]]
            assert item["prompt"] == sample["arguments"][0][0]
            assert item["score"] == sample[result.metric]
            if "generation" in item:
                assert item["generation"] == sample["filtered_resps"][0]
            else:
                assert item["loglikelihoods_nats"] == pytest.approx(
                    [response[0] for response in sample["filtered_resps"]], abs=1e-4
                )


def test_prompts_are_those_of_training(student: Student, tmp_path: Path) -> None:
    from compact_bench.students.chat import prompt_ids

    results, _ = run(student, tmp_path, {"svamp": number_rows()})
    for row, item in zip(number_rows(), read_items(tmp_path, "w", results["svamp"].cache_key), strict=True):
        ids = student.tokenizer(item["prompt"], add_special_tokens=False)["input_ids"]
        assert ids == prompt_ids(student.tokenizer, row["question"])


def test_items_come_in_row_order_and_the_value_is_their_mean(student: Student, tmp_path: Path) -> None:
    results, _ = run(student, tmp_path)
    for task, rows in benchmarks().items():
        result = results[task]
        assert list(result.item_ids) == [row["id"] for row in rows]
        assert result.n == len(rows) == len(result.items)
        assert result.value == pytest.approx(sum(result.items) / len(rows))
        items = read_items(tmp_path, "w", result.cache_key)
        assert [item["id"] for item in items] == list(result.item_ids)
        assert [item["score"] for item in items] == list(result.items)
        for row, item in zip(rows, items, strict=True):
            if "choices" in row:
                right = item["prediction"] == row["choices"][row["label"]]
                assert item["score"] == float(right) and len(item["loglikelihoods_nats"]) == len(
                    row["choices"]
                )
        if task == "svamp":
            steps = [float(has_steps(item["generation"])) for item in items]
            assert list(result.measures["has_steps"]) == steps
        else:
            assert not result.measures
        assert TaskResult.from_plain(json.loads(json.dumps(result.plain()))) == result


def test_choice_log_likelihoods_are_the_students(student: Student, tmp_path: Path) -> None:
    results, _ = run(student, tmp_path, {"arc_easy": choice_rows(3)})
    for item in read_items(tmp_path, "w", results["arc_easy"].cache_key):
        assert item["prompt"].endswith("The answer is")
        for choice, found in zip(item["choices"], item["loglikelihoods_nats"], strict=True):
            context = student.tokenizer(item["prompt"], add_special_tokens=False)["input_ids"]
            whole = student.tokenizer(f"{item['prompt']} {choice}", add_special_tokens=False)["input_ids"]
            logits = student.model(torch.tensor([whole])).logits[0].detach().double().log_softmax(-1)
            expected = sum(float(logits[t - 1, whole[t]]) for t in range(len(context), len(whole)))
            assert found == pytest.approx(expected, abs=1e-4)


def test_generation_ends_at_the_end_of_turn(student: Student, tmp_path: Path) -> None:
    stop = int(student.tokenizer.eos_token_id)
    calls: list[int] = []
    hook = student.layout.backbone(student.model).register_forward_hook(lambda *_: calls.append(1))
    assert model_of(student).generation_config.eos_token_id == stop
    head = student.layout.head(student.model)
    biased = head.register_forward_hook(
        lambda _module, _inputs, output: output.index_fill(-1, torch.tensor([stop]), 1e4)
    )
    results, _ = run(
        student, tmp_path, {"svamp": number_rows(4)}, EvalSettings(max_new_tokens=50, batch_size=4)
    )
    hook.remove()
    biased.remove()
    assert len(calls) == 1
    assert {item["generation"] for item in read_items(tmp_path, "w", results["svamp"].cache_key)} == {""}


def test_a_second_evaluation_is_read_from_the_cache(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, events = run(student, tmp_path)
    assert [(e.task, e.index, e.state) for e in events] == [
        ("svamp", 1, "running"), ("svamp", 1, "done"), ("arc_easy", 2, "running"),
        ("arc_easy", 2, "done"), ("winogrande", 3, "running"), ("winogrande", 3, "done"),
    ]  # fmt: skip
    monkeypatch.setattr(bridge_module, "_evaluate_task", None)
    second, events = run(student, tmp_path)
    assert second == first
    assert [e.state for e in events] == ["cached"] * 3 and all(e.total == 3 for e in events)


def killed_in_the_second_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between the items and the result of the second task."""
    from compact_bench.evaluation import cache

    original, seen = cache.write_sealed, []

    def dying(path: Path, value: Any) -> None:
        seen.append(path)
        if len(seen) == 2:
            raise KeyboardInterrupt
        original(path, value)

    monkeypatch.setattr(cache, "write_sealed", dying)


def test_a_killed_evaluation_goes_on_with_the_task_it_was_in(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(student, tmp_path / "whole")
    with monkeypatch.context() as patch:
        killed_in_the_second_task(patch)
        with pytest.raises(KeyboardInterrupt):
            run(student, tmp_path / "cut")
    resumed, events = run(student, tmp_path / "cut")
    assert [e.state for e in events] == ["cached", "running", "done", "running", "done"]
    for task, result in whole.items():
        assert resumed[task].items == result.items and resumed[task].cache_key == result.cache_key


@pytest.mark.parametrize("damage", ["cut result", "cut items", "no items", "not json"])
def test_a_damaged_entry_is_made_again(student: Student, tmp_path: Path, damage: str) -> None:
    tasks = {"svamp": number_rows(3)}
    first, _ = run(student, tmp_path, tasks)
    folder = tmp_path / "w" / first["svamp"].cache_key
    result, items = folder / "result.json", folder / "items.jsonl"
    if damage == "no items":
        items.unlink()
    else:
        victim = items if damage == "cut items" else result
        victim.write_bytes(b"[1]" if damage == "not json" else victim.read_bytes()[:-40])
    with pytest.raises(StoreError, match=r"(damaged|missing).*--rerun"):
        read_items(tmp_path, "w", first["svamp"].cache_key)
    second, events = run(student, tmp_path, tasks)
    assert [e.state for e in events if not e.requests] == ["running", "done"]
    assert second["svamp"].items == first["svamp"].items


def key(student: Student, task: str = "svamp", rows: Any = None, settings: EvalSettings = SETTINGS) -> str:
    default = number_rows() if task == "svamp" else choice_rows()
    return task_key(task_dependencies(student, task, default if rows is None else rows, settings))


def test_the_key_changes_with_what_the_result_depends_on(student: Student) -> None:
    rows = number_rows()
    keys = {
        "as it is": key(student),
        "another task": key(student, "gsm8k", rows),
        "fewer items": key(student, rows=rows[:-1]),
        "another order": key(student, rows=rows[::-1]),
        "another gold answer": key(student, rows=[{**rows[0], "answer": "99"}, *rows[1:]]),
        "another engine": key(student, settings=SETTINGS.model_copy(update={"engine": "harness"})),
        "another batch size": key(student, settings=SETTINGS.model_copy(update={"batch_size": 5})),
        "longer generations": key(student, settings=SETTINGS.model_copy(update={"max_new_tokens": 9})),
    }
    student.tokenizer.chat_template += " "
    keys["another template"] = key(student)
    student.tokenizer = make_tokenizer("llama3")
    keys["another tokenizer"] = key(student)
    student.model.double()
    keys["another type"] = key(student)
    model_of(student).generation_config.repetition_penalty = 1.5
    keys["other decoding defaults"] = key(student)
    assert len(set(keys.values())) == len(keys), keys


def test_the_key_does_not_change_with_names_or_what_does_not_count(
    student: Student, load_tiny: Callable[..., Student]
) -> None:
    other = load_tiny()
    other.tokenizer(["a", "longer one"], padding="longest", truncation=True, max_length=3)
    other.name = "renamed"
    model_of(other).config._name_or_path = "elsewhere"
    assert key(other) == key(student)
    unrelated = SETTINGS.model_copy(update={"drift_passages": 3, "items_per_task": 100})
    assert key(student, settings=unrelated) == key(student)
    longer = SETTINGS.model_copy(update={"max_new_tokens": 9})
    assert key(student, "piqa", settings=longer) == key(student, "piqa")


def test_other_weights_are_evaluated_anew(student: Student, tmp_path: Path) -> None:
    tasks = {"piqa": choice_rows(3)}
    run(student, tmp_path, tasks)
    events: list[EvalProgress] = []
    evaluate(student, tasks, SETTINGS, weights_hash="v", cache_dir=tmp_path, on_progress=events.append)
    assert [e.state for e in events if not e.requests] == ["running", "done"]
    within = [(e.state, e.done, e.requests) for e in events if e.requests]
    assert within[-1] == ("running", 12, 12), "3 + 4 + 5 options"


def test_the_item_limit_keeps_the_first_rows(student: Student, tmp_path: Path) -> None:
    limited = SETTINGS.model_copy(update={"items_per_task": 2})
    results, _ = run(student, tmp_path, {"piqa": choice_rows()}, limited)
    assert results["piqa"].item_ids == ("c0", "c1")


def test_the_student_and_the_generators_are_left_as_they_were(
    student: Student, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    student.model.train()
    student.layout.head(student.model).eval()
    weight = student.layout.head(student.model).weight
    weight.grad = torch.ones_like(weight)
    student.tokenizer.pad_token = None
    student.tokenizer.padding_side = "right"
    modes = [module.training for module in student.model.modules()]
    before = {name: value.clone() for name, value in student.model.state_dict().items()}
    states = generator_states()
    run(student, tmp_path)
    assert generator_states() == states
    assert [module.training for module in student.model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in student.model.state_dict().items())
    assert weight.requires_grad and torch.equal(weight.grad, torch.ones_like(weight))
    assert student.tokenizer.pad_token is None and student.tokenizer.padding_side == "right"
    assert capfd.readouterr() == ("", "")


def test_prompts_that_would_be_cut_are_refused(load_tiny: Callable[..., Student], tmp_path: Path) -> None:
    student = load_tiny(max_position_embeddings=64)
    rows = [*number_rows(2), {"id": "long", "question": "apples " * 60, "answer": "1"}]
    with pytest.raises(ConfigError, match=r"1 item\(s\): long"):
        run(student, tmp_path, {"svamp": rows})
    long_choice = [{"id": "far", "question": "Why?", "choices": ["apples " * 70, "no"], "label": 0}]
    with pytest.raises(ConfigError, match="far"):
        run(student, tmp_path, {"piqa": long_choice})


def test_diverged_weights_are_an_error_and_leave_no_result(student: Student, tmp_path: Path) -> None:
    with torch.no_grad():
        student.layout.head(student.model).weight.fill_(float("nan"))
    with pytest.raises(NumericalError, match="diverged"):
        run(student, tmp_path, {"piqa": choice_rows(2)})
    assert not list(tmp_path.rglob("result.json"))


def evaluate_elsewhere(folder: str, cache: str, queue: Any) -> None:
    from compact_bench.students.student import load_student

    torch.set_num_threads(1)
    results, events = run(load_student(folder, dtype="float32", device="cpu"), Path(cache))
    queue.put(({task: result.items for task, result in results.items()}, [e.state for e in events]))


@pytest.mark.slow
def test_two_processes_share_the_work(student_folder: Callable[..., Path], tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    arguments = (str(student_folder()), str(tmp_path / "cache"), queue)
    workers = [context.Process(target=evaluate_elsewhere, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    (first, states_a), (second, states_b) = queue.get(timeout=120), queue.get(timeout=120)
    for worker in workers:
        worker.join()
    assert first == second
    assert [*states_a, *states_b].count("done") == len(benchmarks())


def test_temporary_files_are_not_left(student: Student, tmp_path: Path) -> None:
    run(student, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
