"""Task files: the scoring rule, the rows, the folder and the command line for `lm_eval`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from compact_bench.core.answers import extract_answer, numeric_match
from compact_bench.core.errors import ConfigError, DataError, UnknownNameError
from compact_bench.core.settings import EvalSettings
from compact_bench.evaluation.task_files import (
    is_generation,
    lm_eval_command,
    task_sources,
    task_texts,
    write_task_folder,
)
from compact_bench.evaluation.tasks.utils import score_generation, score_one_word

LAB = ("ring", "order", "lookup", "count", "longer", "uncovered", "copy", "reverse")
GENERATION = {"svamp", "multiarith", "addsub", "singleeq", "gsm8k", "validation_answers"}
GIVEN_STEPS = {f"lab_{name}" for name in ("chains", "swap", "floor", "give")}
GENERATION |= {
    f"lab_{name}" for name in (*LAB, "shells", "lift", "coins", "bug", "word", "word_covered")
} | GIVEN_STEPS
LAB_CHOICE = {f"lab_{name}" for name in ("opposites", "categories", "short", "short_covered", "facts")}
CHOICE = {"strategyqa", "csqa", "arc_easy", "piqa", "boolq", "winogrande", *LAB_CHOICE}


def number_row(row_id: str = "q1", answer: str = "8") -> dict[str, Any]:
    return {"id": row_id, "question": "What is 5 + 3?", "answer": answer}


def choice_row(row_id: str = "c1", label: int = 0) -> dict[str, Any]:
    return {"id": row_id, "question": "Do birds fly?", "choices": ["yes", "no"], "label": label}


@pytest.mark.parametrize(
    ("generation", "gold", "right", "states"),
    [
        ("5 + 3 = 8. The answer is 8.", "8", True, True),
        ("5 + 3 = 9. The answer is 9. Wait. The answer is 8", "8", True, True),
        ("The answer is 8. The answer is 9.", "8", False, True),
        ("So we get 5, then 3, and that is 8", "8.0", True, False),
        ("It is 8 at first, later 9", "8", False, False),
        ("the answer is $1,200.50 in all", "1200.5", True, True),
        ("The answer is 3/4.", "0.75", True, True),
        ("The answer is 0.6667", "0.6666666666666666", True, True),
        ("The answer is 0.67", "0.6666666666666666", False, True),
        ("The answer is -4", "4", False, True),
        ("The answer is unknown", "4", False, True),
        ("no number here", "4", False, False),
        ("Here it is. The answer is red cup lamp.", "red cup lamp", True, True),
        ("The answer is Red cup  lamp", "red cup lamp", False, True),
        ("The answer is RED CUP LAMP .", "red cup lamp", True, True),
        ("The answer is red cup", "red cup lamp", False, True),
        ("red cup lamp", "red cup lamp", False, False),
        ("The answer is 8", "lamp", False, True),
        ("", "4", False, False),
    ],
)
def test_generations_are_read_by_the_stated_rule(
    generation: str, gold: str, right: bool, states: bool
) -> None:
    scores = score_generation({"answer": gold}, [generation])
    assert scores == {"exact_match": float(right), "states_answer": float(states)}


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        ("4.", 1),
        (" 4 ", 1),
        ("seven", 1),
        ("The answer is 4.", 0),
        ("She drops 2 so 4.", 0),
        ("", 0),
        (".", 0),
    ],
)
def test_one_word_is_a_form_and_no_answer(reply: str, kept: int) -> None:
    scores = score_one_word({"answer": "4"}, [reply])
    assert scores == {"exact_match": kept, "states_answer": kept}


@given(
    st.lists(
        st.sampled_from(["The answer is", " 8", "-8", "8.0", ".", "!", "\n", "$1,2", " 12 apples", "x"])
    ),
    st.sampled_from(["8", "8.0", "-8", "12", "0.6666666666666666", "1200"]),
)
def test_words_as_answers_change_no_score_of_a_number(parts: list[str], gold: str) -> None:
    generation = "".join(parts)
    scores = score_generation({"answer": gold}, [generation])
    assert scores["exact_match"] == float(numeric_match(extract_answer(generation), gold))


def test_the_packaged_tasks_are_the_suites_and_each_has_its_kind() -> None:
    assert set(task_sources()) == GENERATION | CHOICE
    assert {name for name in task_sources() if is_generation(name)} == GENERATION


@pytest.mark.parametrize("task", sorted(GENERATION | CHOICE))
def test_a_task_sources_itself_and_its_own_rows(task: str) -> None:
    text = task_texts(task, EvalSettings())[f"{task}.yaml"]
    data = yaml.safe_load(text.replace("!function ", ""))
    assert data["task"] == task
    assert data["dataset_kwargs"] == {"rows_file": f"{task}.jsonl"}
    answered = dict.fromkeys(("strategyqa", "csqa", "arc_easy", "boolq", *LAB_CHOICE), "The answer is")
    prefixes = answered | dict.fromkeys(GIVEN_STEPS, "We see that")
    assert data.get("gen_prefix") == prefixes.get(task)


def test_the_longest_generation_stands_in_generation_tasks_only() -> None:
    short, long = EvalSettings(max_new_tokens=17), EvalSettings(max_new_tokens=99)
    assert "max_gen_toks: 17\n" in task_texts("svamp", short)["_generation.yaml"]
    assert "max_gen_toks: 99\n" in task_texts("svamp", long)["_generation.yaml"]
    assert task_texts("piqa", short) == task_texts("piqa", long)


def test_a_folder_holds_definitions_and_the_first_rows(tmp_path: Path) -> None:
    rows = [number_row(f"q{i}") | {"equation": "left out"} for i in range(4)]
    choices = [choice_row("c\u20281")]
    settings = EvalSettings(items_per_task=2)
    folder = write_task_folder(tmp_path / "tasks", {"gsm8k": rows, "boolq": choices}, settings)
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "gsm8k.yaml", "gsm8k.jsonl", "_generation.yaml",
        "boolq.yaml", "boolq.jsonl", "_choice.yaml", "utils.py",
    }  # fmt: skip
    lines = (folder / "gsm8k.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [number_row("q0"), number_row("q1")]
    boolq = (folder / "boolq.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in boolq if line] == choices


def test_wrong_rows_are_all_listed_and_nothing_is_written(tmp_path: Path) -> None:
    wrong = {
        "svamp": [
            number_row(answer="eight of 9"),
            number_row("q2"),
            number_row("q2"),
            {"id": "q3", "answer": "1"},
        ],
        "piqa": [choice_row(label=2), choice_row("c2") | {"choices": ["yes", " "]}],
        "csqa": [],
    }
    with pytest.raises(DataError) as caught:
        write_task_folder(tmp_path / "tasks", wrong, EvalSettings())
    assert [(f.where, f.question_id) for f in caught.value.faults] == [
        ("task svamp, row 1", "q1"),
        ("task svamp, row 3", "q2"),
        ("task svamp, row 4", "q3"),
        ("task piqa, row 1", "c1"),
        ("task piqa, row 2", "c2"),
        ("task csqa", None),
    ]
    assert not (tmp_path / "tasks").exists()


def test_an_unknown_task_is_refused_with_a_near_name(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'gsm8k'"):
        write_task_folder(tmp_path, {"gsm8": [number_row()]}, EvalSettings())


def test_the_command_line_has_absolute_paths_and_one_command_a_task(tmp_path: Path) -> None:
    settings = EvalSettings(batch_size=7)
    one = shlex.split(lm_eval_command(tmp_path / "s", tmp_path / "t", ["svamp"], settings, "bfloat16"))
    assert one[:2] == ["lm_eval", "run"]
    options = dict(zip(one[2::2], one[3::2], strict=False))
    assert options["--model_args"] == f"pretrained={tmp_path.resolve() / 's'},dtype=bfloat16"
    assert options["--tasks"] == "svamp"
    assert "--limit" not in one and "--use_cache" not in one
    both = lm_eval_command(tmp_path / "s", tmp_path / "t", ["svamp", "piqa"], settings)
    assert both.startswith("for task in svamp piqa; do lm_eval run ") and '--tasks "$task"' in both


def test_the_command_line_switches_thinking_off_where_the_template_can(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("{% if enable_thinking %}<think>{% endif %}")
    assert ",enable_thinking=False" in lm_eval_command(tmp_path, tmp_path, ["svamp"], EvalSettings())


def test_the_command_line_refuses_a_path_the_harness_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="comma"):
        lm_eval_command(tmp_path / "a,b", tmp_path, ["svamp"], EvalSettings())
