"""The shared ground of an area: a tiny student, a tiny suite and a table of one row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEACHERS = ("ada", "bob")
ONE_ROW = """
number = "9"
title = "One row"
numbering = ""
reference = "uniform"
unlisted_rows = "requested"
[[rows]]
method = "uniform"
title = "Uniform weights"
[[groups]]
name = "in_distribution"
title = "In distribution"
kind = "benchmarks"
mean = true
compared = true
"""
SUITE = "{world}/suite/suite.toml"
PLACE = ("--store", "{case}/store", "--output", "{case}/out", "--offline", "--workers", "1", "--threads", "1")
PLAN = ("reproduce", "--profile", "smoke", "--table", "{world}/one.toml", *PLACE, "--dry-run")
"""A command that reads and checks everything and trains nothing."""
RUN = PLAN[:-1]
THINGS = ["apples", "pens", "cups", "hats", "keys", "maps", "nuts", "eggs", "toys", "bags", "jars", "bells"]


def rows(count: int = 8, teachers: tuple[str, ...] = TEACHERS) -> list[dict[str, Any]]:
    """Sound rows of our form, none near to another or to a test item."""
    made = []
    for n in range(count):
        a, b, thing = 3 + 7 * n, 2 + 3 * n, THINGS[n % len(THINGS)]
        total = a + b
        texts = [
            f"So we add {a} and {b} {thing}. The answer is {total}.",
            f"First, he has {a}. Second, {b} more {thing}. The answer is {total + (n % 3 == 0)}.",
            f"Therefore, {a} + {b} = {total}.\nThe answer is {total}.0",
            f"Let x be {a}. Then x + {b} is {total}.",
        ]
        made.append(
            {
                "id": f"own-{n}",
                "question": f"Tom has {a} {thing} and buys {b} more. How many {thing} does Tom have now?",
                "gold_answer": str(total),
                "rationales": dict(zip(teachers, texts, strict=False)),
            }
        )
    return made


def released(count: int = 8) -> list[dict[str, Any]]:
    """The same rows in the released code's form."""
    return [
        {"Question": row["question"], "CoT": list(row["rationales"].values()), "Answer": row["gold_answer"]}
        for row in rows(count)
    ]


def jsonl(values: list[Any]) -> bytes:
    """Rows as JSON Lines."""
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


def make_world(folder: Path) -> None:
    """Write student, suite and table into an empty folder.

    The suite is `tests.tiny_suite`'s, without its limit on the number of training questions.
    """
    from tests import tiny, tiny_suite

    folder.mkdir(parents=True, exist_ok=True)
    student = tiny.make_student_folder(folder / "student")
    path = tiny_suite.write_tiny_suite(folder / "suite", str(student), questions=8)
    text = path.read_text(encoding="utf-8").replace("\nquestions = 8\n", "\n")
    (folder / "suite" / "suite.toml").write_text(text, encoding="utf-8")
    (folder / "one.toml").write_text(ONE_ROW, encoding="utf-8")


def hold_student(folder: Path) -> Any:
    """Load the world's student once; while it is held, sessions of this process share it."""
    from compact_bench.runs import session
    from compact_bench.students.student import load_student

    student = load_student(str(folder / "student"))
    session._BASES[(str(folder / "student"), student.revision, "auto")] = student
    return student
