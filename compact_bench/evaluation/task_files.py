"""Task folders: the packaged task definitions plus the rows, as both our API and `lm_eval` read them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from compact_bench.core.errors import ConfigError, DataError, Fault
from compact_bench.core.files import write_atomic
from compact_bench.core.registry import Source, file_sources, load_named
from compact_bench.core.settings import EvalSettings
from compact_bench.data.files.benchmarks import USES
from compact_bench.data.files.task_yaml import OWN
from compact_bench.data.suites.spec import BenchmarkSpec
from compact_bench.evaluation.answer_formats import ANSWERS, AnswerFormat, derived_files

_TASKS = Path(__file__).with_name("tasks")
_INCLUDE = re.compile(r"^include:\s*_(\w+)\.yaml\s*$", re.MULTILINE)
_LONGEST = re.compile(r"^(\s*max_gen_toks:\s*)\d+", re.MULTILINE)


def task_sources() -> dict[str, Source]:
    """Sources of tasks by name: the packaged ones, and `task_NAME.yaml` of other packages' data files."""
    return file_sources("task", ".yaml", {path.stem: path for path in sorted(_TASKS.glob("[!_]*.yaml"))})


def _definition(task: str) -> str:
    path: Path = load_named("evaluation task", task, task_sources())
    return path.read_text(encoding="utf-8")


def answer_format(task: str) -> tuple[str, AnswerFormat]:
    """Name of the format in which a task's answers are given, and the format.

    Raises:
        UnknownNameError: there is no such task, or no such format.
        ConfigError: the task's file names none, or the format cannot be imported.
    """
    include = _INCLUDE.search(_definition(task))
    if include is None:
        known = ", ".join(ANSWERS.sources())
        raise ConfigError(f"task {task!r}: expected a line `include: _FORMAT.yaml`, of {known}.")
    return include[1], ANSWERS.get(include[1])


def used_task(task: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The packaged task that asks and scores a benchmark: that of its name, unless its rows say another."""
    return str(rows[0].get(USES, task)) if rows else task


def is_generation(task: str) -> bool:
    """Whether the student writes the answer (True) or options are scored (False).

    Raises:
        UnknownNameError, ConfigError: see `answer_format`.
    """
    return answer_format(task)[1].generation


def task_texts(task: str, settings: EvalSettings) -> dict[str, str]:
    """File name -> text of everything that defines a task, with the longest generation written in.

    Raises:
        UnknownNameError: there is no such task.
    """
    name, _ = answer_format(task)
    packaged = name in ANSWERS.packaged and (_TASKS / f"_{name}.yaml").is_file()
    base = _LONGEST.sub(
        rf"\g<1>{settings.max_new_tokens}", _read(f"_{name if packaged else 'generation'}.yaml")
    )
    texts = {f"{task}.yaml": _definition(task), "utils.py": _read("utils.py")}
    return texts | ({f"_{name}.yaml": base} if packaged else derived_files(name, base))


def generation_options(task: str, settings: EvalSettings) -> dict[str, Any]:
    """A generation task's decoding settings, or an empty dictionary for a choice task.

    Raises:
        UnknownNameError: there is no such task.
    """
    name, answers = answer_format(task)
    if not answers.generation:
        return {}
    text = task_texts(task, settings)[f"_{name}.yaml"]
    return dict(yaml.load(text, Loader=_PlainLoader)["generation_kwargs"])


class _PlainLoader(yaml.SafeLoader):
    """Reads the harness's files without its functions."""


_PlainLoader.add_multi_constructor("!", lambda loader, suffix, node: None)


def check_rows(benchmarks: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Check every row of every task before anything is evaluated.

    Args:
        benchmarks: task name -> rows, {"id", "question", "answer"} for generation tasks and
            {"id", "question", "choices", "label"} for choice tasks.

    Raises:
        UnknownNameError: a task that is not packaged.
        DataError: rows are not as expected; every fault is listed.
    """
    faults: list[Fault] = []
    for task, rows in benchmarks.items():
        if not rows:
            faults.append(Fault(f"task {task}", "expected at least one row, got none"))
        # Those of a user's own task were checked with it.
        if not rows or OWN in rows[0]:
            continue
        _, answers = answer_format(used_task(task, rows))
        seen: set[str] = set()
        for number, row in enumerate(rows, 1):
            where = f"task {task}, row {number}"
            problems = _generation_problems(row, answers) if answers.generation else _choice_problems(row)
            if (row_id := str(row.get("id"))) in seen:
                problems.append(f"the id {row_id!r} stands in an earlier row too")
            seen.add(row_id)
            faults += [Fault(where, problem, row_id) for problem in problems]
    if faults:
        raise DataError("benchmark rows are not as expected", faults, "correct or leave out these rows.")


def asked_with(
    prefix: str, benchmarks: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """The same rows with a prefix before every question, for students that were trained to expect one."""
    if not prefix:
        return benchmarks
    return {
        task: [
            {
                **row,
                "question": f"{prefix}{row['question']}",
                **({OWN: {**row[OWN], "prefix": prefix}} if OWN in row else {}),
            }
            for row in rows
        ]
        for task, rows in benchmarks.items()
    }


def write_task_folder(
    folder: Path, benchmarks: Mapping[str, Sequence[Mapping[str, Any]]], settings: EvalSettings
) -> Path:
    """Write a folder that `lm_eval --include_path` reads: definitions, rows (JSONL), scoring functions.

    Args:
        folder: where; made if missing. Files are written atomically, other files are left alone.
        benchmarks: task name -> rows; the first `settings.items_per_task` of each are written.
        settings: longest generation and item limit.

    Returns:
        The folder, absolute.

    Raises:
        UnknownNameError, DataError: see `check_rows`.
    """
    check_rows(benchmarks)
    for task, rows in benchmarks.items():
        if OWN in rows[0]:
            raise ConfigError(
                f"task {task}: it is of a file of yours, {rows[0][OWN]['file']}: give lm_eval that."
            )
    folder = folder.expanduser().resolve()
    for task, rows in benchmarks.items():
        lines = [json.dumps(_columns(row), ensure_ascii=False) for row in limited(rows, settings)]
        write_atomic(folder / f"{task}.jsonl", ("\n".join(lines) + "\n").encode())
        used = used_task(task, rows)
        for name, text in task_texts(used, settings).items():
            own_name = name == f"{used}.yaml"
            write_atomic(
                folder / (f"{task}.yaml" if own_name else name),
                (_renamed(text, used, task) if own_name else text).encode(),
            )
    return folder


def _renamed(text: str, used: str, task: str) -> str:
    """A task's definition under a benchmark's own name, as two benchmarks may use one task."""
    return re.sub(rf"(?m)^(task: |  rows_file: ){re.escape(used)}\b", rf"\g<1>{task}", text)


def check_names(benchmarks: Iterable[BenchmarkSpec]) -> None:
    """Check that every benchmark's packaged task exists and reports its metric.

    Raises:
        UnknownNameError: there is no such task.
        ConfigError: the metric is none of the task's, or a user's own task has the name of a packaged one.
    """
    for benchmark in benchmarks:
        if benchmark.task_file is not None:
            if benchmark.task in task_sources():
                raise ConfigError(
                    f"benchmark {benchmark.task!r}: expected a name that no packaged task has beside "
                    "task_file. Name it otherwise; the YAML's own name may stay."
                )
            continue
        metrics = ("exact_match",) if is_generation(benchmark.uses or benchmark.task) else ("acc_norm", "acc")
        if benchmark.metric not in metrics:
            raise ConfigError(
                f"benchmark {benchmark.task!r}, metric: expected {' or '.join(metrics)}, got "
                f"{benchmark.metric!r}."
            )


def limited(rows: Sequence[Mapping[str, Any]], settings: EvalSettings) -> Sequence[Mapping[str, Any]]:
    """The rows that the settings' item limit leaves."""
    return rows if settings.items_per_task is None else rows[: settings.items_per_task]


def lm_eval_command(
    student_folder: Path,
    task_folder: Path,
    tasks: Iterable[str],
    settings: EvalSettings,
    dtype: str = "float32",
    device: str = "cpu",
) -> str:
    """The `lm_eval` command line that gives the same numbers as `evaluate`, ready for a shell.

    Several tasks become a loop with one command a task: given all at once, the harness fills its batches
    across tasks, and other rows in a batch can move a number in its last digits.

    Raises:
        ConfigError: the student's path holds a comma, equals sign or white space, which the harness
            cannot read.
    """
    # Absolute: the harness takes a relative path for a hub id and asks the network about it.
    student = str(student_folder.expanduser().resolve())
    if re.search(r"[,=\s]", student):
        raise ConfigError(
            f"lm_eval cannot read a model path with a comma, '=' or white space, got {student!r}; "
            "export the student to another folder"
        )
    arguments = f"pretrained={student},dtype={dtype}"
    if template_knows_thinking(_template_of(student_folder)):
        arguments += ",enable_thinking=False"
    before = shlex.join(["lm_eval", "run", "--model", "hf", "--model_args", arguments])
    rest = ["--include_path", str(task_folder.expanduser().resolve()), "--apply_chat_template"]
    after = shlex.join([*rest, "--batch_size", str(settings.batch_size), "--device", device])
    names = [shlex.quote(task) for task in tasks]
    if len(names) == 1:
        return f"{before} --tasks {names[0]} {after}"
    return f'for task in {" ".join(names)}; do {before} --tasks "$task" {after}; done'


def template_knows_thinking(template: Any) -> bool:
    """Whether a chat template can switch a thinking mode off (Qwen3 and the like)."""
    return "enable_thinking" in str(template)


def _template_of(student_folder: Path) -> str:
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        file = student_folder.expanduser() / name
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return ""


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("id", "question", "answer") if "answer" in row else ("id", "question", "choices", "label")
    return {name: row[name] for name in kept}


def _generation_problems(row: Mapping[str, Any], answers: AnswerFormat) -> list[str]:
    problems = _text_problems(row)
    answer = row.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        problems.append(f"field 'answer': expected a number or words as text, got {answer!r}")
    elif problem := answers.problem(answer):
        problems.append(f"field 'answer': {problem}")
    return problems


def _choice_problems(row: Mapping[str, Any]) -> list[str]:
    problems = _text_problems(row)
    choices, label = row.get("choices"), row.get("label")
    if (
        not isinstance(choices, list | tuple)
        or len(choices) < 2
        or not all(isinstance(c, str) and c.strip() for c in choices)
    ):
        problems.append(f"field 'choices': expected two or more non-empty texts, got {choices!r}")
    elif isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(choices):
        problems.append(f"field 'label': expected 0 to {len(choices) - 1}, got {label!r}")
    return problems


def _text_problems(row: Mapping[str, Any]) -> list[str]:
    return [
        f"field {name!r}: expected a non-empty text, got {row.get(name)!r}"
        for name in ("id", "question")
        if not isinstance(row.get(name), str) or not row[name].strip()
    ]


def _read(name: str) -> str:
    return (_TASKS / name).read_text(encoding="utf-8")
