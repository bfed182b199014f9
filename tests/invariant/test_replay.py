"""Replay of turns that the student wrote: what they are, how they are mixed in, and what they leave alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from compact_bench.core.errors import DataError, StoreError
from compact_bench.methods.registry import get_method
from compact_bench.students.student import load_student
from compact_bench.training.objectives import SupervisedObjective
from tests import tiny
from tests.invariant.support import same_tables, same_training, settings, train_tiny

Folders = Callable[..., Path]
SMALL = {"turns": 5, "question_tokens": 6, "answer_tokens": 8}
FILE = "own_turns.json"


def module(name: str) -> Any:
    get_method("replay")
    return __import__(f"compact_bench_methods.{name}", fromlist=["replay"])


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("chatml", "<|im_start|>user\n"),
        ("llama3", "<|begin|><|start_header_id|>user<|end_header_id|>\n\n"),
        ("gemma", "<bos><start_of_turn>user\n"),
    ],
)
def test_a_turn_begins_with_the_templates_header(student_folder: Folders, kind: str, header: str) -> None:
    student = load_student(str(student_folder("llama", kind)), dtype="float32", device="cpu")
    assert student.tokenizer.decode(module("_own_turns").user_header_ids(student)) == header


def write(student: Any, path: Path, seed: int = 3, **changes: Any) -> Any:
    kind = module("_own_turns")
    values = {"number": 5, "temperature": 1.0, "question_tokens": 6, "answer_tokens": 8, **changes}
    return kind.own_turns(student, kind.TurnSettings(**values), seed, path, 2560)


def test_turns_depend_on_their_seed_only_and_are_kept(student_folder: Folders, tmp_path: Path) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = write(student, tmp_path / "a.json")
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(12)
    assert write(student, tmp_path / "b.json") == first
    assert write(student, tmp_path / "c.json", seed=4).fingerprint != first.fingerprint
    assert len(first.encoded) == 5
    assert all(len(turn.branches) == 1 for turn in first.encoded)
    assert all(turn.branches[0].rationale_tokens > 0 for turn in first.encoded)
    # A later life of the run has the turns of the first, whatever its student is by then.
    with torch.no_grad():
        next(student.model.parameters()).add_(1.0)
    assert write(student, tmp_path / "a.json") == first
    texts = json.loads((tmp_path / "a.json").read_text())["value"]["value"]
    assert all(question and answer for question, answer in texts)


def test_turns_of_another_run_are_refused(student_folder: Folders, tmp_path: Path) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    write(student, tmp_path / "a.json")
    with pytest.raises(StoreError, match="expected what was kept for"):
        write(student, tmp_path / "a.json", temperature=0.5)


def test_a_student_that_says_nothing_is_named(
    student_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    monkeypatch.setattr(
        module("_own_turns"), "_sample", lambda student, prompts, *rest: ["" for _ in prompts]
    )
    with pytest.raises(DataError, match=r"write 5 turns .* only 0 gave"):
        write(student, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def objective(student: Any, path: Path, ratio: float) -> Any:
    turns = write(student, path)
    inner = SupervisedObjective(settings().train)
    return module("replay").ReplayObjective(inner, ratio, 1, turns.fingerprint, turns.encoded)


def test_the_loss_is_the_naive_mean(student_folder: Folders, tmp_path: Path) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    mixed = objective(student, tmp_path / "a.json", 2.0)
    mixed.begin_step(4, 9)
    batch = [mixed.encode(student, q) for q in tiny.questions(3, teachers=2)]
    found = mixed.loss(student, batch)

    def alone(question: Any) -> float:
        return float(mixed.inner.loss(student, [question]).loss.detach())

    turns = [turn for q in batch for turn in mixed.drawn(q.question_id)]
    assert len(turns) == 6
    expected = (sum(map(alone, batch)) + sum(map(alone, turns))) / 9
    assert float(found.loss.detach()) == pytest.approx(expected, rel=1e-5)
    assert found.metrics["replay_loss"] == pytest.approx(sum(map(alone, turns)) / 6, rel=1e-5)
    assert [row["question_id"] for row in found.rows] == [q.question_id for q in batch for _ in range(2)]
    assert found.seen is not None
    assert sum(len(q.branches) for q in found.seen) == 12


def test_the_ratio_is_met_on_average(student_folder: Folders, tmp_path: Path) -> None:
    student = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    mixed = objective(student, tmp_path / "a.json", 1.25)
    counts, seen = [], set()
    for step in range(40):
        mixed.begin_step(step, 40)
        for name in range(20):
            turns = mixed.drawn(f"q{name}")
            counts.append(len(turns))
            seen |= {turn.question_id for turn in turns}
    assert set(counts) == {1, 2}
    assert sum(counts) / len(counts) == pytest.approx(1.25, abs=0.05)
    assert len(seen) == 5


def test_ratio_zero_is_uniform(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(5, teachers=3)
    run = settings(dropout=0.1)
    found = train_tiny(folder, tmp_path / "one", questions, run, "replay", {**SMALL, "ratio": 0.0})
    uniform = train_tiny(folder, tmp_path / "two", questions, run, "uniform")
    same_tables(found, uniform)
    assert all(torch.equal(w, uniform.weights()[n]) for n, w in found.weights().items())
    assert not (tmp_path / "one" / FILE).exists()


def test_accumulation_and_the_order_of_teachers(student_folder: Folders, tmp_path: Path) -> None:
    folder, questions = student_folder("llama", "chatml"), tiny.questions(5, teachers=2)
    turned = tuple(replace(q, rationales=q.rationales[::-1]) for q in questions)
    first, *others = (
        train_tiny(
            folder,
            tmp_path / str(n),
            which,
            settings(epochs=1, questions_per_step=size, accumulation=4 // size, **changes),
            "replay",
            {**SMALL, "ratio": 0.75},
        )
        for n, (which, size, changes) in enumerate(
            ((questions, 1, {}), (questions, 4, {}), (turned, 2, {"layout": "padded"}))
        )
    )
    uniform_branches = len(first.steps)
    assert first.report.branches > uniform_branches
    for other in others:
        same_training(first, other)
        same_tables(first, other)
        assert other.report.total_tokens == first.report.total_tokens
