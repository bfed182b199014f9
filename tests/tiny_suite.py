"""Whole suites in one folder each: one of questions of the tiny kind, one of the lab's world."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_bench.core.records import Question
from tests import tiny

__all__ = [
    "RELEASED_FORM",
    "make_tiny_lab_student",
    "write_rationales",
    "write_tiny_lab",
    "write_tiny_suite",
]

RELEASED_FORM = "released"

_SUITE = """
name = "tiny"
version = 1
title = "Sums with rationales of made-up teachers"
card = "Made for tests; its numbers mean nothing."
student = {student}

[training]
file = "training.jsonl"
validation_questions = {validation}

{teachers}

[[benchmarks]]
task = "svamp"
title = "SVAMP"
group = "in_distribution"
metric = "exact_match"
layout = "rows"
file = "svamp.jsonl"

[[benchmarks]]
task = "addsub"
title = "AddSub"
group = "out_of_distribution"
metric = "exact_match"
layout = "rows"
file = "addsub.jsonl"

[[benchmarks]]
task = "piqa"
title = "PIQA"
group = "retention"
metric = "acc"
layout = "rows"
file = "piqa.jsonl"
chance = 0.5

[profiles.smoke]
questions = {questions}
seeds = [1]
note = "a test"
[profiles.smoke.settings.train]
dtype = "float32"
epochs = 1
accumulation = 2
learning_rate = 1e-3
[profiles.smoke.settings.lora]
rank = 4
dropout = 0.0
[profiles.smoke.settings.eval]
items_per_task = 2
max_new_tokens = 4
batch_size = 2
drift_passages = 1
validation_questions = 1
"""

_LAB = """
extends = "lab@1"
name = "tinylab"
title = "A small lab"
student = {student}
student_title = ""

[training]
validation_questions = 4
[training.world]
questions = {questions}

[[benchmarks]]
task = "lab_ring"
title = "Ring"
group = "in_distribution"
metric = "exact_match"
items = 4

[[benchmarks]]
task = "lab_longer"
title = "Longer"
group = "out_of_distribution"
metric = "exact_match"
items = 4

[[benchmarks]]
task = "lab_reverse"
title = "Backwards"
group = "retention"
metric = "exact_match"
items = 4

[[benchmarks]]
task = "lab_opposites"
title = "Opposites"
group = "retention"
metric = "acc_norm"
chance = 0.25
items = 4

[profiles.smoke]
seeds = [1]
note = "a test"
[profiles.smoke.settings.lora]
enabled = false
[profiles.smoke.settings.train]
dtype = "float32"
epochs = 1
questions_per_step = 4
accumulation = 1
learning_rate = 1e-3
[profiles.smoke.settings.eval]
max_new_tokens = 6
batch_size = 4
drift_passages = 1
validation_questions = 2
"""


def make_tiny_lab_student(folder: Path) -> Path:
    """A random model that knows the lab's words, as a folder that `load_student` reads.

    Args:
        folder: where; made if missing.
    """
    from compact_bench.data.lab.student.tokenizer import lab_tokenizer

    tokenizer = lab_tokenizer()
    model: Any = tiny.make_model("llama", len(tokenizer))
    for config in (model.config, model.generation_config):
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_tiny_lab(folder: Path, student: str = "lab-student@1", *, questions: int = 12) -> Path:
    """Write a suite whose questions the lab's world generates: 4 items a task, 4 questions for validation.

    Args:
        folder: where; made if missing.
        student: the suite's default student.
        questions: training and validation questions together.

    Returns:
        Path of the suite's TOML file. Its profile is "smoke".
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tinylab.toml"
    path.write_text(_LAB.format(student=json.dumps(student), questions=questions), encoding="utf-8")
    return path


def write_tiny_suite(
    folder: Path, student: str = "student", *, questions: int = 4, teachers: int = 2, validation: int = 2
) -> Path:
    """Write a suite that every command can run in seconds with a tiny student.

    Args:
        folder: where; made if missing.
        student: the suite's default student, a folder as a rule.
        questions: training questions.
        teachers: rationales each, 1 to 4.
        validation: validation questions, taken from as many further questions.

    Returns:
        Path of the suite's TOML file. Its profile is "smoke"; its tasks are svamp, addsub and piqa.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_rationales(folder / "training.jsonl", tiny.questions(questions + validation, teachers))
    items = {
        "svamp": [_sum(n, "Ann", "pears") for n in range(3)],
        "addsub": [_sum(n, "Joe", "coins") for n in range(3)],
        "piqa": [
            {
                "id": f"piqa-{n}",
                "question": f"How do you open {thing}?",
                "choices": ["Turn the handle.", "Eat it with a spoon."],
                "label": 0,
            }
            for n, thing in enumerate(("a door", "a window", "a box"))
        ],
    }
    for task, rows in items.items():
        _write_lines(folder / f"{task}.jsonl", rows)
    listed = "\n\n".join(f'[[teachers]]\nname = "{name}"' for name in tiny.TEACHERS[:teachers])
    text = _SUITE.format(
        student=json.dumps(student), teachers=listed, questions=questions, validation=validation
    )
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def write_rationales(path: Path, questions: Sequence[Question], form: str = "ours") -> Path:
    """Write questions as a rationale file that a user could bring.

    Args:
        path: `.jsonl` for a row a line, else one JSON list.
        questions: with the same teachers each.
        form: "ours", or `RELEASED_FORM` for {"Question", "CoT", "Answer"}.
    """
    if form == RELEASED_FORM:
        rows: list[dict[str, Any]] = [
            {"Question": q.text, "CoT": [r.text for r in q.rationales], "Answer": q.gold_answer}
            for q in questions
        ]
    else:
        rows = [
            {
                "id": q.id,
                "question": q.text,
                "gold_answer": q.gold_answer,
                "rationales": {r.teacher: r.text for r in q.rationales},
            }
            for q in questions
        ]
    if path.suffix == ".jsonl":
        _write_lines(path, rows)
    else:
        path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def _sum(n: int, who: str, what: str) -> dict[str, Any]:
    a, b = 11 + 4 * n, 5 + 2 * n
    question = f"{who} finds {a} {what} and then {b} more {what}. How many {what} is that?"
    return {"id": f"{what}-{n}", "question": question, "answer": str(a + b)}


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
