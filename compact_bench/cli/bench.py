"""Commands that measure speed and memory: bench step, bench scaling, bench eval."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compact_bench.cli import options as o

if TYPE_CHECKING:
    from pydantic import BaseModel

    from compact_bench.commands.bench.contenders.work import Work
    from compact_bench.commands.bench.scaling import ScalingResult
    from compact_bench.commands.bench.settings import StepSettings
    from compact_bench.students.student import Student

app = typer.Typer(
    help="Measure the training step and evaluation: contenders on the same work, in turn.",
    no_args_is_help=True,
)

BENCH_SUITE = "svamp"

Student_ = Annotated[
    str,
    typer.Option(
        "--student",
        rich_help_panel=o.RUN,
        help="Hub id, folder or packaged student. Default: the suite's; lab-student with --synthetic.",
    ),
]
TeacherCount = Annotated[int, typer.Option("--teachers", min=1, rich_help_panel=o.RUN, help="K.")]
RationaleTokens = Annotated[
    int,
    typer.Option(
        "--rationale-tokens",
        min=0,
        rich_help_panel=o.RUN,
        help="Bring every rationale to about this length; 0: as they are.",
    ),
]
QuestionCount = Annotated[
    int, typer.Option("--questions-per-step", min=1, rich_help_panel=o.RUN, help="Questions of a step.")
]
Synthetic = Annotated[
    bool,
    typer.Option("--synthetic", rich_help_panel=o.RUN, help="Random words; no suite is read or fetched."),
]
Sets = Annotated[
    list[str],
    typer.Option(
        "--set",
        rich_help_panel=o.DATA,
        metavar="KEY=VALUE",
        help="Change a setting of section train, as head=at_once; may be repeated.",
    ),
]
Lora = Annotated[
    bool, typer.Option("--lora/--no-lora", rich_help_panel=o.DATA, help="Train adapters, or every weight.")
]
Dropout = Annotated[
    float | None,
    typer.Option(
        "--dropout",
        min=0.0,
        max=0.99,
        rich_help_panel=o.DATA,
        help="Of the adapters. Default: the setting's, 0.1.",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        rich_help_panel=o.DATA,
        help="auto, float32 or bfloat16. Default: float32 on the CPU, auto elsewhere.",
    ),
]
Repeats = Annotated[
    int,
    typer.Option(
        "--repeats", min=1, rich_help_panel=o.PLACE, help="Rounds; every contender is timed once in each."
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", rich_help_panel=o.PLACE, help="Write every measurement here.")
]
OutputFolder = Annotated[
    Path | None,
    typer.Option("--output", rich_help_panel=o.PLACE, help="Folder for the JSON, the table and pictures."),
]
BenchThreads = Annotated[
    int, typer.Option("--threads", min=0, rich_help_panel=o.PLACE, help="CPU threads; 0: torch's own choice.")
]


@app.command(epilog="Example: compact-bench bench step --rationale-tokens 560 --contenders ours,released")
def step(
    student: Student_ = "",
    suite: o.SuiteName = BENCH_SUITE,
    synthetic: Synthetic = False,
    teachers: TeacherCount = 4,
    rationale_tokens: RationaleTokens = 0,
    questions_per_step: QuestionCount = 1,
    contenders: Annotated[
        str,
        typer.Option("--contenders", rich_help_panel=o.RUN, help="Who is measured, as a,b,c."),
    ] = "ours,uniform,sft,released",
    lora: Lora = True,
    dropout: Dropout = None,
    dtype: Dtype = "",
    overrides: Sets = [],  # noqa: B006
    repeats: Repeats = 5,
    json_file: JsonFile = None,
    output: OutputFolder = None,
    mirror: o.Mirror = None,
    offline: o.Offline = False,
    threads: BenchThreads = 0,
    device: o.Device = "auto",
    quiet: o.Quiet = False,
) -> None:
    """Time and memory of one optimiser step: COMPACT, uniform weights, plain rows, the released algorithm."""
    _quieten(mirror, offline, threads)
    from compact_bench.commands.bench.contenders.contenders import choose_contenders
    from compact_bench.commands.bench.contenders.stepping import open_student
    from compact_bench.commands.bench.reports.tables import step_markdown, step_notes, step_table
    from compact_bench.commands.bench.step import bench_step
    from compact_bench.core.progress import open_display

    chosen = choose_contenders(o.csv_names(contenders))
    name = _student_name(student, suite, synthetic)
    settings = _settings(name, device, dtype, lora, dropout, overrides, threads)
    loaded = open_student(settings)
    work = _work_maker(loaded, suite, synthetic)(teachers, questions_per_step, rationale_tokens or None)
    with open_display(o.status(), quiet=quiet) as display:
        result = bench_step(loaded, work, settings, chosen, display, repeats=repeats)
    _write(result, "bench_step", step_markdown(result), json_file, output)
    if not quiet:
        console = o.out()
        console.print(step_table(result))
        for note in step_notes(result):
            console.print(note, markup=False)


@app.command(epilog="Example: compact-bench bench scaling --axis teachers=2,4,8,16 --output bench")
def scaling(
    student: Student_ = "",
    suite: o.SuiteName = BENCH_SUITE,
    synthetic: Synthetic = False,
    axis: Annotated[
        list[str],
        typer.Option(
            "--axis",
            rich_help_panel=o.RUN,
            metavar="NAME[=A,B,...]",
            help="teachers, rationale_tokens or questions_per_step; may be repeated. Default: all three.",
        ),
    ] = [],  # noqa: B006
    teachers: TeacherCount = 4,
    rationale_tokens: Annotated[
        int, typer.Option("--rationale-tokens", min=1, rich_help_panel=o.RUN, help="Where no axis varies it.")
    ] = 100,
    questions_per_step: QuestionCount = 1,
    contenders: Annotated[
        str, typer.Option("--contenders", rich_help_panel=o.RUN, help="Who is measured, as a,b,c.")
    ] = "ours,released",
    lora: Lora = True,
    dropout: Dropout = None,
    dtype: Dtype = "",
    overrides: Sets = [],  # noqa: B006
    repeats: Repeats = 3,
    json_file: JsonFile = None,
    output: OutputFolder = None,
    mirror: o.Mirror = None,
    offline: o.Offline = False,
    threads: BenchThreads = 0,
    device: o.Device = "auto",
    quiet: o.Quiet = False,
) -> None:
    """How time and memory of a step grow with K, the length of rationales and questions per step."""
    _quieten(mirror, offline, threads)
    from compact_bench.commands.bench.contenders.contenders import choose_contenders
    from compact_bench.commands.bench.contenders.stepping import open_student
    from compact_bench.commands.bench.scaling import Scale, bench_scaling, parse_axes
    from compact_bench.core.progress import open_display

    chosen, axes = choose_contenders(o.csv_names(contenders)), parse_axes(axis)
    name = _student_name(student, suite, synthetic)
    settings = _settings(name, device, dtype, lora, dropout, overrides, threads)
    loaded = open_student(settings)
    make = _work_maker(loaded, suite, synthetic)
    base = Scale(teachers=teachers, rationale_tokens=rationale_tokens, questions_per_step=questions_per_step)
    with open_display(o.status(), quiet=quiet) as display:
        result = bench_scaling(
            loaded,
            lambda scale: make(scale.teachers, scale.questions_per_step, scale.rationale_tokens),
            settings,
            chosen,
            axes,
            display,
            base=base,
            repeats=repeats,
        )
    _give_scaling(result, json_file, output, quiet)


@app.command("eval", epilog="Example: compact-bench bench eval --tasks csqa --items 100")
def evaluation(
    student: Student_ = "",
    suite: o.SuiteName = BENCH_SUITE,
    tasks: Annotated[
        str,
        typer.Option(
            "--tasks",
            rich_help_panel=o.RUN,
            help="As a,b. Default: csqa and svamp, or the suite's first of each kind.",
        ),
    ] = "",
    items: Annotated[int, typer.Option("--items", min=1, rich_help_panel=o.RUN, help="Of every task.")] = 32,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, rich_help_panel=o.RUN, help="Longest generation.")
    ] = 160,
    batch_sizes: Annotated[
        str,
        typer.Option(
            "--batch-sizes", rich_help_panel=o.RUN, help="Each engine is measured at its best of them."
        ),
    ] = "8,16,32",
    dtype: Dtype = "",
    repeats: Repeats = 3,
    json_file: JsonFile = None,
    output: OutputFolder = None,
    mirror: o.Mirror = None,
    offline: o.Offline = False,
    threads: BenchThreads = 0,
    device: o.Device = "auto",
    quiet: o.Quiet = False,
) -> None:
    """Evaluation by the harness as it is and by the fast engine: items per second, and what differs."""
    _quieten(mirror, offline, threads)
    from compact_bench.commands.bench.contenders.stepping import open_student
    from compact_bench.commands.bench.evaluation import bench_eval, choose_tasks
    from compact_bench.commands.bench.reports.evaluation import eval_markdown, eval_notes, eval_table
    from compact_bench.core.progress import open_display
    from compact_bench.runs.session import Session

    sizes = _numbers("--batch-sizes", batch_sizes)
    name = _student_name(student, suite, synthetic=False)
    loaded = open_student(_settings(name, device, dtype, False, None, (), threads))
    data = Session(o.make_request(suite=suite, profile=_largest_profile(suite), student=name)).data
    chosen = choose_tasks(data.benchmarks, o.csv_names(tasks), items)
    with open_display(o.status(), quiet=quiet) as display:
        result = bench_eval(
            loaded, chosen, display, max_new_tokens=max_new_tokens, batch_sizes=sizes, repeats=repeats
        )
    _write(result, "bench_eval", eval_markdown(result), json_file, output)
    if not quiet:
        o.out().print(eval_table(result))
        for note in eval_notes(result):
            o.out().print(note, markup=False)


def _numbers(option: str, text: str) -> tuple[int, ...]:
    from compact_bench.core.errors import ConfigError

    parts = o.csv_names(text)
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"{option}: expected whole numbers of at least 1 as 8,16,32, got {text!r}.")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _write(result: BaseModel, name: str, markdown: str, json_file: Path | None, output: Path | None) -> None:
    """The JSON where it is wanted, and JSON and table in the folder."""
    from compact_bench.core.files import write_atomic

    data = (result.model_dump_json(indent=1) + "\n").encode()
    for path in [json_file, output and output / f"{name}.json"]:
        if path is not None:
            write_atomic(path, data)
    if output is not None:
        write_atomic(output / f"{name}.md", markdown.encode())


def _give_scaling(result: ScalingResult, json_file: Path | None, output: Path | None, quiet: bool) -> None:
    from compact_bench.commands.bench.reports.scaling import (
        axis_table,
        growth_sentences,
        scaling_drawings,
        scaling_markdown,
    )
    from compact_bench.core.files import write_atomic

    _write(result, "bench_scaling", scaling_markdown(result), json_file, output)
    if output is not None:
        for name, drawing in scaling_drawings(result).items():
            write_atomic(output / f"{name}.png", drawing.png)
            write_atomic(output / f"{name}.svg", drawing.svg)
    for one in result.axes if not quiet else ():
        o.out().print(axis_table(one))
        for sentence in growth_sentences(one):
            o.out().print(sentence, markup=False)


def _quieten(mirror: Path | None, offline: bool, threads: int) -> None:
    from compact_bench.core import paths

    o.quieten(offline or paths.offline(), threads)
    if mirror is not None:
        os.environ["COMPACT_BENCH_MIRROR"] = str(mirror)


def _student_name(student: str, suite: str, synthetic: bool) -> str:
    from compact_bench.data.suites import load_spec
    from compact_bench.students.student import LAB_STUDENT

    return student or (LAB_STUDENT if synthetic else load_spec(suite).student)


def _largest_profile(suite: str) -> str:
    """The profile with most training questions."""
    from compact_bench.data.suites import load_spec

    profiles = load_spec(suite).profiles
    return max(profiles, key=lambda name: profiles[name].questions or math.inf)


def _settings(
    student: str,
    device: str,
    dtype: str,
    lora: bool,
    dropout: float | None,
    overrides: Sequence[str],
    threads: int,
) -> StepSettings:
    from compact_bench.commands.bench.settings import StepSettings
    from compact_bench.core.hardware import choose_device
    from compact_bench.core.settings import LoraSettings, TrainSettings, with_changes

    place = choose_device(device)
    computed = dtype or ("float32" if place.type == "cpu" else "auto")
    adapters = [] if dropout is None else [f"dropout={dropout}"]
    return StepSettings(
        student=student,
        device=device,
        train=with_changes(
            with_changes(TrainSettings(), [f"dtype={computed}"], "--dtype"),
            [text.removeprefix("train.") for text in overrides],
            "--set",
        ),
        lora=with_changes(LoraSettings(enabled=lora), adapters, "--dropout"),
        threads=threads,
    )


def _work_maker(student: Student, suite: str, synthetic: bool) -> Callable[[int, int, int | None], Work]:
    """(teachers, questions, tokens of a rationale) -> work; the suite's questions are read once."""
    from compact_bench.commands.bench.contenders.work import suite_work, synthetic_work

    if synthetic:
        return lambda teachers, count, tokens: synthetic_work(
            student.tokenizer, teachers=teachers, count=count, rationale_tokens=tokens
        )
    from compact_bench.runs.session import Session

    request = o.make_request(suite=suite, profile=_largest_profile(suite), student=student.name)
    questions = Session(request).data.training
    return lambda teachers, count, tokens: suite_work(
        questions,
        student.tokenizer,
        suite=suite,
        teachers=teachers,
        count=count,
        rationale_tokens=tokens,
    )
