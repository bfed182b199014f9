"""Near copies of test questions: what is found, what is not, and that finding takes no time to speak of."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from compact_bench.core.records import Question
from compact_bench.data.lab import WorldSettings, benchmark_rows, training_questions
from compact_bench.data.validation.near_copies import near_copies

ITEMS = [
    "Jerry had 7 action figures on a shelf in his room. Later he added 10 more. How many has he now?",
    "There are 3 birds and 6 storks on the fence. How many more storks than birds are sitting there?",
    "Mary is baking a cake. The recipe wants 8 cups of flour and she put in 2. How many does she need?",
    "A pet store had 64 puppies. In one day they sold 28 of them. How many cages did they use?",
    "Did Aristotle use a laptop?",
    "Could a llama birth twice during the war in Vietnam?",
]
ROWS: list[dict[str, Any]] = [{"id": f"i{n}", "question": text} for n, text in enumerate(ITEMS)]


def found(*texts: str, rows: list[dict[str, Any]] = ROWS) -> list[tuple[str, str]]:
    questions = [Question(f"q{n}", text, "") for n, text in enumerate(texts)]
    return [(copy.question_id, copy.item) for copy in near_copies(questions, {"t": rows})]


def one_word_changed(text: str, draw: random.Random) -> str:
    parts = text.split()
    places = [n for n, part in enumerate(parts) if part.isalpha() and part not in ("one", "twice")]
    parts[draw.choice(places)] = "zyxq"
    return " ".join(parts)


@pytest.mark.parametrize("number", range(len(ITEMS)))
def test_a_line_in_front_and_a_word_changed_are_found(number: int) -> None:
    text, draw = ITEMS[number], random.Random(number)
    copies = (
        f"Please solve: {text}",
        f"Solve this step by step and end with the answer. {text}",
        f"Problem 3. {text} Think about it.",
        one_word_changed(text, draw),
        text.upper().replace(" ", "  ").replace("3", "three"),
        text.replace("a", "a\u200b"),
    )
    assert found(*copies) == [(f"q{n}", f"t item i{number}") for n in range(len(copies))]


def test_other_numbers_are_another_question() -> None:
    assert not found(ITEMS[0].replace("7", "8"), ITEMS[1].replace("6 storks", "five storks"))


def test_words_scattered_in_a_long_text_are_no_copy() -> None:
    story = "Did they go there? " + "So it was said at the time. " * 5 + "Aristotle " + "and so on " * 9
    assert not found(f"{story} use it, or a thing like a laptop?")


def test_the_nearest_item_is_named() -> None:
    rows = [{"id": "far", "question": ITEMS[1].replace("sitting", "resting")}, *ROWS]
    assert found(f"Please solve: {ITEMS[1]}", rows=rows) == [("q0", "t item i1")]


def test_templates_of_the_lab_with_other_words_raise_no_alarm_beside_those_counted() -> None:
    """Lab questions are made from templates of few words: what is found there is told with the figures."""
    world = WorldSettings(questions=80)
    questions = training_questions(world)
    rows = {task: benchmark_rows(world, task, 60) for task in ("lab_lookup", "lab_longer", "lab_uncovered")}
    assert len(near_copies(questions, rows)) <= 2


def test_thousands_of_questions_take_seconds() -> None:
    draw = random.Random(0)
    words = [f"w{n}" for n in range(3000)] + ["how", "many", "are", "there", "and", "the"] * 300

    def text() -> str:
        return f"{' '.join(draw.choices(words, k=30))} {draw.randrange(20)} and {draw.randrange(20)}"

    rows = [{"id": str(n), "question": text()} for n in range(1500)]
    questions = [Question(str(n), text(), "") for n in range(8000)]
    started = time.process_time()
    assert not near_copies(questions, {"t": rows})
    assert time.process_time() - started < 30


def test_an_own_prompt_hides_no_copy_of_the_item_in_it() -> None:
    """A long instruction makes the item a small part of the prompt; the item's own field is compared too."""
    instruction = "You are a careful clerk of an old bank. Think, then write a number and no more. "
    own = [{"id": "o1", "question": instruction + ITEMS[0], "task_yaml": {}, "doc": {"problem": ITEMS[0]}}]
    assert found(ITEMS[0].replace("shelf", "zyxq"), rows=own) == [("q0", "t item o1")]
    assert found("Jerry had 9 action figures and that is all there is to say of him.", rows=own) == []
