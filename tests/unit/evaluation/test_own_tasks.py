"""Tasks of a user's own YAML: loaded, checked before training, evaluated as the harness itself does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from compact_bench.core.errors import CompactBenchError, ConfigError, OverlapError
from compact_bench.core.settings import EvalSettings
from compact_bench.data.files.task_yaml import OWN, task_code, task_rows
from compact_bench.data.suites import load_spec
from compact_bench.evaluation.bridge import evaluate, task_dependencies, task_key
from compact_bench.evaluation.cache import read_items
from compact_bench.evaluation.task_files import asked_with, write_task_folder
from compact_bench.runs.store.store import Store
from compact_bench.students.student import Student
from tests.unit.command import run_command

Capture = pytest.CaptureFixture[str]
Load = Callable[..., Student]
SETTINGS = EvalSettings(max_new_tokens=6, batch_size=2)

WRITTEN = """
task: my_sums
dataset_path: json
dataset_kwargs:
  data_files: {test: sums.jsonl, train: shots.jsonl}
test_split: test
fewshot_split: train
num_fewshot: 1
output_type: generate_until
doc_to_text: "Sum up: {{problem}}"
doc_to_target: "{{result}}"
process_results: !function scoring.close
generation_kwargs:
  until: ["\\n"]
metric_list:
  - metric: closeness
    aggregation: mean
    higher_is_better: true
  - metric: length
    aggregation: mean
    higher_is_better: true
"""
SCORING = """
def close(doc, results):
    off = abs(sum(character.isdigit() for character in results[0]) - len(str(doc["result"])))
    return {"closeness": 1.0 / (1.0 + off), "length": float(len(results[0]))}
"""
MEAN = "- metric: closeness\n    aggregation: mean"
CHOSEN = """
task: my_choices
dataset_path: json
dataset_kwargs: {data_files: choices.jsonl}
test_split: train
output_type: multiple_choice
doc_to_text: "{{problem}}\\nWhich one?"
doc_to_choice: "{{options}}"
doc_to_target: right
"""


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder with two tasks and their data, as a user would have."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "sums.yaml").write_text(WRITTEN)
    (folder / "choices.yaml").write_text(CHOSEN)
    (folder / "scoring.py").write_text(SCORING)
    lines(folder / "sums.jsonl", [{"problem": f"{n} and {n + 3}", "result": 2 * n + 3} for n in (4, 9, 40)])
    lines(folder / "shots.jsonl", [{"problem": f"{n} and {n}", "result": 2 * n} for n in (1, 2, 3)])
    options = ["a stone", "a towel", "the moon"]
    rows = [{"id": f"c{n}", "problem": f"Riddle {n}?", "options": options, "right": n % 3} for n in range(4)]
    lines(folder / "choices.jsonl", list(rows))
    return folder


def own_suite(suite: Path, tasks: Path, benchmarks: str = "") -> Path:
    """The tiny suite with the two tasks instead of its benchmarks."""
    text = re.sub(r"\[\[benchmarks\]\].*?(?=\n\[profiles)", "BENCHMARKS", suite.read_text(), flags=re.DOTALL)
    found = benchmarks or "".join(
        f'[[benchmarks]]\ntask = "{name}"\ntask_file = "{tasks / file}"\ntitle = "{name}"\n'
        f'group = "{group}"\nmetric = "{metric}"\n'
        for name, file, group, metric in (
            ("my_sums", "sums.yaml", "in_distribution", "closeness"),
            ("my_choices", "choices.yaml", "out_of_distribution", "acc"),
        )
    )
    suite.write_text(text.replace("BENCHMARKS", found))
    return suite


def test_rows_ask_as_the_task_asks(tasks: Path) -> None:
    rows = task_rows(tasks / "sums.yaml", "closeness")
    assert [row["question"] for row in rows] == [f"Sum up: {n} and {n + 3}" for n in (4, 9, 40)]
    assert [row["answer"] for row in rows] == ["11", "21", "83"]
    assert rows[0][OWN]["metric"] == "closeness,none" and len({row["id"] for row in rows}) == 3
    choices = task_rows(tasks / "choices.yaml", "acc_norm")
    assert [(row["id"], row["label"]) for row in choices] == [("c0", 0), ("c1", 1), ("c2", 2), ("c3", 0)]


@pytest.mark.parametrize("file", ["sums.yaml", "choices.yaml"])
def test_the_fast_engine_is_the_plain_harness_item_for_item(file: str, tasks: Path, load_tiny: Load) -> None:
    metric = "closeness" if file == "sums.yaml" else "acc"
    rows, student = task_rows(tasks / file, metric), load_tiny()
    found = {}
    for engine in ("fast", "harness"):
        settings = SETTINGS.model_copy(update={"engine": engine})
        (result,) = evaluate(
            student, {"mine": rows}, settings, weights_hash=engine, cache_dir=tasks / "cache"
        ).values()
        assert (result.task, result.metric, result.engine, result.n) == ("mine", metric, engine, len(rows))
        assert result.value == pytest.approx(sum(result.items) / len(rows))
        found[engine] = read_items(tasks / "cache", engine, result.cache_key)
    for fast, plain in zip(found["fast"], found["harness"], strict=True):
        for name in ("id", "prompt", "generation", "prediction", "gold", "score"):
            assert fast.get(name) == plain.get(name), name
        assert fast.get("loglikelihoods_nats", []) == pytest.approx(
            plain.get("loglikelihoods_nats", []), rel=1e-5
        )
    if file == "sums.yaml":
        prompt = found["fast"][0]["prompt"]
        assert prompt.count("Sum up: ") == 2, "one worked example before the question, as turns of a chat"
        assert result.others["length"] >= 0.0


def test_the_harness_itself_gives_the_same_number(tasks: Path, load_tiny: Load) -> None:
    """`lm_eval run`, which is `simple_evaluate`, on the user's file with nothing of ours in between."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    student = load_tiny()
    (tasks / "plain.yaml").write_text(
        WRITTEN.replace("sums.jsonl", str(tasks / "sums.jsonl"))
        .replace("shots.jsonl", str(tasks / "shots.jsonl"))
        .replace('until: ["\\n"]', 'until: ["\\n"]\n  max_gen_toks: 6\n  do_sample: false')
    )
    lm = HFLM(pretrained=student.model, tokenizer=student.tokenizer, batch_size=2)
    theirs = lm_eval.simple_evaluate(
        lm,
        tasks=[str(tasks / "plain.yaml")],
        task_manager=TaskManager(include_defaults=False),
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        bootstrap_iters=0,
    )
    rows = task_rows(tasks / "sums.yaml", "closeness")
    (ours,) = evaluate(student, {"m": rows}, SETTINGS, weights_hash="w", cache_dir=tasks / "cache").values()
    assert ours.value == pytest.approx(theirs["results"]["my_sums"]["closeness,none"], abs=1e-12)
    assert ours.others["length"] == pytest.approx(theirs["results"]["my_sums"]["length,none"])


def test_the_key_covers_the_files_functions_and_examples_and_no_folder(
    tasks: Path, tmp_path: Path, load_tiny: Load
) -> None:
    student = load_tiny()

    def key(folder: Path) -> str:
        rows = task_rows(folder / "sums.yaml", "closeness")
        return task_key(task_dependencies(student, "my_sums", rows, SETTINGS))

    before = key(tasks)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in tasks.glob("*.*"):
        (moved / file.name).write_bytes(file.read_bytes())
    assert key(moved) == before
    changes = {
        "scoring.py": SCORING.replace("1.0 + off", "2.0 + off"),
        "sums.yaml": WRITTEN.replace("Sum up", "Add"),
        "shots.jsonl": '{"problem": "7 and 7", "result": 14}\n',
    }
    for name, text in changes.items():
        old = (moved / name).read_text()
        (moved / name).write_text(text)
        assert key(moved) != before, name
        (moved / name).write_text(old)
    assert set(task_code(tasks / "sums.yaml")) == {"0 scoring.py", "1 sums.yaml", "examples"}


def test_a_prefix_stands_before_every_question(tasks: Path, load_tiny: Load) -> None:
    rows = asked_with("predict: ", {"m": task_rows(tasks / "sums.yaml", "closeness")})["m"]
    assert rows[0]["question"].startswith("predict: Sum up")
    (result,) = evaluate(
        load_tiny(), {"m": rows}, SETTINGS, weights_hash="w", cache_dir=tasks / "cache"
    ).values()
    item = read_items(tasks / "cache", "w", result.cache_key)[0]
    assert item["prompt"].count("predict: Sum up: ") == 2


def test_a_suite_with_tasks_of_its_own_from_training_to_the_table(
    suite: Path, tasks: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ("--suite", own_suite(suite, tasks), "--profile", "smoke", "--threads", "1")
    done = run_command(capsys, "reproduce", *words, "--methods", "zero_shot,uniform")
    assert done.code == 0, done.err
    told = "accuracy is what their files score, in [0, 1] per item: my_sums is the mean of closeness"
    assert told in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    for record in Store(tmp_path / "store").records():
        assert set(record.evaluations) == {"my_sums", "my_choices"}
        assert record.evaluations["my_sums"]["metric"] == "closeness"
        assert record.evaluations["my_sums"]["n"] == 2, "the profile's limit of items counts here too"
    again = run_command(capsys, "reproduce", *words, "--methods", "zero_shot,uniform")
    assert "nothing to run" in again.err
    done = run_command(capsys, "export", "uniform@1", "exported")
    assert done.code == 0, done.err
    assert "lm_eval takes it as it is: my_choices, my_sums." in done.out and "--tasks" not in done.out
    # A changed function makes other runs: what was scored otherwise is another number.
    (tasks / "scoring.py").write_text(SCORING.replace("1.0 + off", "2.0 + off"))
    changed = run_command(capsys, "reproduce", *words, "--methods", "zero_shot,uniform", "--dry-run")
    assert "2 of 2 runs to do" in changed.err


@pytest.mark.parametrize(
    ("old", "new", "metric", "words"),
    [
        ("", "", "exact_match", "got 'exact_match'; it has the metrics closeness"),
        ("", "", "closeness,strict", "and the filters none"),
        ("test_split: test", "", "closeness", "expected a test_split"),
        ("test_split: test", "test_split: tset", "closeness", "the harness cannot load it: KeyError"),
        ("scoring.close", "scoring.far", "closeness", "has no function 'far'"),
        ("scoring.close", "lost.close", "closeness", "the harness cannot load it"),
        ("sums.jsonl", "lost.jsonl", "closeness", "expected local files, got 'lost.jsonl'"),
        ("sums.jsonl", "empty.jsonl", "closeness", "sums.yaml: "),
        ("dataset_path: json", "dataset_path: someone/data", "closeness", "a commit of 40 hex digits"),
        ("generate_until", "loglikelihood_rolling", "closeness", "output_type generate_until or"),
        ('until: ["\\n"]', "do_sample: true", "closeness", "greedy decoding"),
        ("num_fewshot: 1", "num_fewshot: many", "closeness", "num_fewshot, a whole number from 0"),
        ("num_fewshot: 1", "num_fewshot: 4", "closeness", "expected 4 examples (num_fewshot), got 3"),
        ('until: ["\\n"]', "max_gen_toks: -5", "closeness", "max_gen_toks, a whole number from 1"),
        ("task: my_sums", "task: [", "closeness", "the harness cannot load it: ParserError"),
        ("task: my_sums", "group: my_sums", "closeness", "expected one task with a name"),
        (MEAN, MEAN.replace("mean", "median"), "closeness", "expected the aggregation mean"),
        ("", "", "length", "of every item, got"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_trained(
    old: str, new: str, metric: str, words: str, tasks: Path, suite: Path, capsys: Capture
) -> None:
    (tasks / "empty.jsonl").write_text("")
    if metric == "length":
        (tasks / "scoring.py").write_text(SCORING.replace("float(len(results[0]))", "7.0"))
    (tasks / "sums.yaml").write_text(WRITTEN.replace(old, new) if old else WRITTEN)
    path = own_suite(suite, tasks)
    path.write_text(path.read_text().replace('metric = "closeness"', f'metric = "{metric}"'))
    done = run_command(capsys, "run", "uniform", "--suite", path, "--profile", "smoke", "--threads", "1")
    assert done.code == ConfigError.exit_code, done.err
    assert words in done.err and "Traceback" not in done.err, done.err
    assert not list(Path("store").rglob("record.json"))


@pytest.mark.parametrize(("file", "task"), [("sums.jsonl", "my_sums"), ("choices.jsonl", "my_choices")])
def test_a_prompt_longer_than_the_students_context_is_refused_before_training(
    file: str, task: str, tasks: Path, suite: Path, capsys: Capture
) -> None:
    rows = [json.loads(line) for line in (tasks / file).read_text().splitlines()]
    rows[1]["problem"] = "9 apples and " * 3000
    lines(tasks / file, rows)
    path = own_suite(suite, tasks)
    done = run_command(capsys, "run", "uniform", "--suite", path, "--profile", "smoke", "--threads", "1")
    assert done.code == ConfigError.exit_code, done.err
    told = rf"task {task} \(.*context of \d+ tokens, got .*: \w+, number 2 \(\d{{4,}} tokens\)"
    assert re.search(told, done.err), done.err
    assert "Traceback" not in done.err and not list(Path("store").rglob("record.json"))
    # The item limit of the profile leaves two items; what lies behind it is not asked.
    lines(tasks / file, [rows[0], rows[2], rows[1]])
    done = run_command(capsys, "run", "zero_shot", "--suite", path, "--profile", "smoke", "--threads", "1")
    assert done.code == 0, done.err


def test_a_function_that_fails_is_named(tasks: Path, load_tiny: Load) -> None:
    (tasks / "scoring.py").write_text(
        "def close(doc, results):\n    return {'closeness': 1 / len(results[0])}\n"
    )
    with pytest.raises(ConfigError, match=r"sums\.yaml: its items cannot be read: ZeroDivisionError"):
        task_rows(tasks / "sums.yaml", "closeness")


def test_a_training_question_in_an_items_fields_is_an_overlap(
    suite: Path, tasks: Path, capsys: Capture
) -> None:
    """The prompt differs from the question, as the task words it; the item is the same all the same."""
    first = json.loads((suite.parent / "training.jsonl").read_text().splitlines()[0])
    lines(
        tasks / "sums.jsonl",
        [{"problem": first["question"], "result": 3}, {"problem": "4 and 5", "result": 9}],
    )
    done = run_command(
        capsys, "run", "uniform", "--suite", own_suite(suite, tasks), "--profile", "smoke", "--threads", "1"
    )
    assert done.code == OverlapError.exit_code and "my_sums item" in done.err


def test_several_data_sets_of_one_packaged_task(
    suite: Path, tasks: Path, tmp_path: Path, capsys: Capture
) -> None:
    rows = [
        {"id": f"n{n}", "question": f"Max has {n} cups and {n} more. How many?", "answer": str(2 * n)}
        for n in (3, 5)
    ]
    lines(suite.parent / "cups.jsonl", list(rows))
    more = (
        '\n[[benchmarks]]\ntask = "cups"\nuses = "svamp"\ntitle = "Cups"\ngroup = "in_distribution"\n'
        'metric = "exact_match"\nlayout = "rows"\nfile = "cups.jsonl"\n\n[profiles.smoke]\n'
    )
    suite.write_text(suite.read_text().replace("\n[profiles.smoke]\n", more, 1))
    assert [b.task for b in load_spec(suite).benchmarks][-1] == "cups"
    done = run_command(capsys, "run", "uniform", "--suite", suite, "--profile", "smoke", "--threads", "1")
    assert done.code == 0, done.err
    (record,) = Store(tmp_path / "store").records()
    assert record.evaluations["cups"]["n"] == 2 and record.evaluations["cups"]["item_ids"] == ["n3", "n5"]
    done = run_command(capsys, "export", "uniform@1", "exported")
    assert done.code == 0, done.err
    text = Path("exported/tasks/cups.yaml").read_text()
    assert "task: cups\n" in text and "rows_file: cups.jsonl" in text
    assert "task: svamp\n" in Path("exported/tasks/svamp.yaml").read_text()


@pytest.mark.parametrize(
    ("benchmark", "words"),
    [
        (
            'task = "svampp"\nlayout = "rows"\nfile = "svamp.jsonl"\nmetric = "exact_match"',
            "Did you mean 'svamp'",
        ),
        (
            'task = "svamp"\nlayout = "rows"\nfile = "svamp.jsonl"\nmetric = "exact"',
            "metric: expected one of",
        ),
        (
            'task = "svamp"\nlayout = "rows"\nfile = "svamp.jsonl"\nmetric = "acc"',
            "expected exact_match, got 'acc'",
        ),
        (
            'task = "piqa"\nlayout = "rows"\nfile = "piqa.jsonl"\nmetric = "exact_match"',
            "expected acc_norm or acc",
        ),
        (
            'task = "x"\nuses = "svampp"\nlayout = "rows"\nfile = "svamp.jsonl"\nmetric = "exact_match"',
            "Did you mean",
        ),
        (
            'task = "svamp"\ntask_file = "TASKS/sums.yaml"\nmetric = "closeness"',
            "a name that no packaged task has",
        ),
        ('task = "x"\ntask_file = "TASKS/lost.yaml"\nmetric = "closeness"', "expected a file, got"),
        (
            'task = "x"\ntask_file = "TASKS/sums.yaml"\nfile = "svamp.jsonl"\nmetric = "y"',
            "which says all, got file",
        ),
    ],
)
def test_names_are_checked_before_anything_is_trained(
    benchmark: str, words: str, suite: Path, tasks: Path, capsys: Capture
) -> None:
    text = f'[[benchmarks]]\ntitle = "T"\ngroup = "in_distribution"\n{benchmark}\n'.replace(
        "TASKS", str(tasks)
    )
    path = own_suite(suite, tasks, text)
    done = run_command(capsys, "reproduce", "--suite", path, "--profile", "smoke", "--dry-run")
    assert done.code == ConfigError.exit_code and words in done.err, done.err


def test_the_task_folder_of_a_user_is_not_written(tasks: Path, tmp_path: Path) -> None:
    rows = task_rows(tasks / "sums.yaml", "closeness")
    with pytest.raises(CompactBenchError, match="my_sums: it is of a file of yours"):
        write_task_folder(tmp_path / "out", {"my_sums": rows}, SETTINGS)
