"""A suite small enough for a smoke test: files made here, a student with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import tiny

SUITE = """
name = "toy"
version = 1
title = "Sums small enough for a smoke test"
card = "Made by the test."
student = "{student}"

[training]
file = "train.jsonl"
validation_questions = 3

[[benchmarks]]
task = "svamp"
title = "Sums"
group = "in_distribution"
metric = "exact_match"
layout = "rows"
file = "sums.jsonl"

[[benchmarks]]
task = "multiarith"
title = "Differences"
group = "out_of_distribution"
metric = "exact_match"
layout = "rows"
file = "differences.jsonl"

[[benchmarks]]
task = "arc_easy"
title = "Choices"
group = "retention"
metric = "acc_norm"
layout = "rows"
file = "choices.jsonl"
chance = 0.5

[profiles.smoke]
seeds = [1]

[profiles.smoke.settings.train]
dtype = "float32"
epochs = 1
accumulation = 2
learning_rate = 1e-2

[profiles.smoke.settings.eval]
items_per_task = 4
max_new_tokens = 6
batch_size = 4
drift_passages = 2
"""


def write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def training_rows() -> list[dict[str, object]]:
    """Nine sums, each with the rationales of two teachers; one teacher is wrong now and then."""
    rows: list[dict[str, object]] = []
    for number in range(9):
        a, b = 3 + number, 12 + 2 * number
        said = a + b + (1 if number == 4 else 0)
        rows.append(
            {
                "id": f"t{number}",
                "question": f"Tom has {a} apples and buys {b} more apples. How many apples are there?",
                "gold_answer": str(a + b),
                "rationales": {
                    "ada": f"First, Tom has {a}. Therefore the total is {a} + {b}. The answer is {a + b}.",
                    "bob": f"So we add. The answer is {said}.",
                },
            }
        )
    return rows


def write_suite(folder: Path) -> Path:
    """Write student, questions, benchmarks and the suite file that names them; gives the suite file."""
    student = folder / "student"
    tiny.make_student_folder(student, "llama", "chatml", 0)
    write_lines(folder / "train.jsonl", training_rows())
    sums = [
        {"id": f"s{n}", "question": f"Mary had {n + 20} books and got {n}.", "answer": str(2 * n + 20)}
        for n in range(5)
    ]
    differences = [
        {"id": f"d{n}", "question": f"There were {n + 30} birds and {n} left.", "answer": "30"}
        for n in range(5)
    ]
    choices = [
        {"id": f"c{n}", "question": f"What flies, case {n}?", "choices": ["birds", "books"], "label": n % 2}
        for n in range(5)
    ]
    write_lines(folder / "sums.jsonl", sums)
    write_lines(folder / "differences.jsonl", differences)
    write_lines(folder / "choices.jsonl", choices)
    suite = folder / "toy.toml"
    suite.write_text(SUITE.format(student=student), encoding="utf-8")
    return suite
