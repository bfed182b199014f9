"""Commands that measure speed and memory: bench step, bench scaling, bench eval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compact_bench.cli import options as o

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import RenderableType

    from compact_bench.commands.bench.contenders.work import Work
    from compact_bench.commands.bench.scaling import ScalingResult
    from compact_bench.commands.bench.settings import StepSettings
    from compact_bench.data.suites.suite_data import SuiteData
    from compact_bench.students.student import Student

app = typer.Typer(
    help="Measure the speed and memory of a training step and of evaluation.",
    no_args_is_help=True,
)

BENCH_SUITE = "svamp"

Contenders = Annotated[
    str,
    o.option(
        o.RUN,
        "--contenders",
        help="What is measured, of ours, uniform, sft, released, released_packed, ours_checkpointed, "
        "released_checkpointed.",
    ),
]
Repeats = Annotated[
    int, o.option(o.PLACE, "--repeats", min=1, help="Rounds; each of what is compared is timed once a round.")
]


@dataclass(frozen=True)
class BenchOptions:
    """Options that the commands of this module share."""

    student: o.StudentName = ""
    suite: o.SuiteName = BENCH_SUITE
    synthetic: Annotated[
        bool,
        o.option(o.RUN, "--synthetic", help="Random words, no suite; the default student is lab-student."),
    ] = False
    teachers: Annotated[int, o.option(o.RUN, min=1, help="K, the rationales of a question.")] = 4
    questions_per_step: Annotated[int, o.option(o.RUN, min=1, help="Questions in one optimiser step.")] = 1
    lora: Annotated[bool, o.option(o.DATA, "--lora/--no-lora", help="Train adapters, or every weight.")] = (
        True
    )
    dropout: Annotated[
        float | None,
        o.option(o.DATA, min=0.0, max=0.99, help="Dropout of the adapters. Default: the setting's, 0.1."),
    ] = None
    dtype: Annotated[
        str, o.option(o.DATA, help="auto, float32 or bfloat16. Default: float32 on the CPU, auto elsewhere.")
    ] = ""
    overrides: Annotated[
        list[str],
        o.option(
            o.DATA,
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of section train, as head=at_once; may be repeated.",
        ),
    ] = field(default_factory=list)
    json_file: Annotated[Path | None, o.option(o.PLACE, "--json", help="Write every measurement here.")] = (
        None
    )
    output: Annotated[Path | None, o.option(o.PLACE, help="Folder for the JSON, the table and pictures.")] = (
        None
    )
    mirror: o.Mirror = None
    offline: o.Offline = False
    threads: o.TorchThreads = 0
    device: o.Device = "auto"
    quiet: o.Quiet = False

    def student_name(self) -> str:
        """The student that is measured."""
        from compact_bench.data.suites import load_spec
        from compact_bench.students.student import LAB_STUDENT

        return self.student or (LAB_STUDENT if self.synthetic else load_spec(self.suite).student)

    def data(self, student: str) -> SuiteData:
        """The suite's data, of the profile with most training questions."""
        from compact_bench.data.suites import load_spec
        from compact_bench.runs.session import Session

        profiles = load_spec(self.suite).profiles
        largest = max(profiles, key=lambda name: profiles[name].questions or math.inf)
        return Session(o.RequestOptions(suite=self.suite, profile=largest, student=student).request()).data

    def settings(self) -> StepSettings:
        """How the student is set up."""
        from compact_bench.commands.bench.settings import StepSettings
        from compact_bench.core.hardware import choose_device
        from compact_bench.core.settings import LoraSettings, TrainSettings, with_changes

        dtype = self.dtype or ("float32" if choose_device(self.device).type == "cpu" else "auto")
        changes = [text.removeprefix("train.") for text in self.overrides]
        adapters = [] if self.dropout is None else [f"dropout={self.dropout}"]
        train = with_changes(TrainSettings(), [f"dtype={dtype}"], "--dtype")
        return StepSettings(
            student=self.student_name(),
            device=self.device,
            train=with_changes(train, changes, "--set"),
            lora=with_changes(LoraSettings(enabled=self.lora), adapters, "--dropout"),
            threads=self.threads,
        )

    def work_maker(self, student: Student) -> Callable[[int, int, int | None], Work]:
        """(teachers, questions, tokens of a rationale) -> work; the suite's questions are read once."""
        from compact_bench.commands.bench.contenders.work import suite_work, synthetic_work

        if self.synthetic:
            return lambda teachers, count, tokens: synthetic_work(
                student.tokenizer, teachers=teachers, count=count, rationale_tokens=tokens
            )
        questions = self.data(student.name).training
        return lambda teachers, count, tokens: suite_work(
            questions,
            student.tokenizer,
            suite=self.suite,
            teachers=teachers,
            count=count,
            rationale_tokens=tokens,
        )

    def write(self, result: BaseModel, name: str, markdown: str) -> None:
        """The JSON where --json says, and JSON and table in the folder of --output."""
        from compact_bench.core.files import write_atomic

        data = (result.model_dump_json(indent=1) + "\n").encode()
        for path in [self.json_file, self.output and self.output / f"{name}.json"]:
            if path is not None:
                write_atomic(path, data)
        if self.output is not None:
            write_atomic(self.output / f"{name}.md", markdown.encode())

    def show(self, table: RenderableType, notes: Sequence[str]) -> None:
        """Print a table and lines below it, unless --quiet."""
        if not self.quiet:
            console = o.out()
            console.print(table)
            for note in notes:
                console.print(note, markup=False)


@app.command(epilog="Example: compact-bench bench step --rationale-tokens 560 --contenders ours,released")
@o.takes(BenchOptions)
def step(
    options: BenchOptions,
    rationale_tokens: Annotated[
        int, o.option(o.RUN, min=0, help="Bring every rationale to about this length; 0: as they are.")
    ] = 0,
    contenders: Contenders = "ours,uniform,sft,released",
    repeats: Repeats = 5,
) -> None:
    """Time and memory of one optimiser step: COMPACT, uniform weights, plain rows, the released algorithm."""
    o.prepare_libraries(options.offline, options.threads, options.mirror)
    from compact_bench.commands.bench.contenders.contenders import choose_contenders
    from compact_bench.commands.bench.contenders.stepping import open_student
    from compact_bench.commands.bench.reports.tables import step_markdown, step_notes, step_table
    from compact_bench.commands.bench.step import bench_step
    from compact_bench.core.progress import open_display

    chosen, settings = choose_contenders(o.csv_names(contenders)), options.settings()
    student = open_student(settings)
    make = options.work_maker(student)
    work = make(options.teachers, options.questions_per_step, rationale_tokens or None)
    with open_display(o.status(), quiet=options.quiet) as display:
        result = bench_step(student, work, settings, chosen, display, repeats=repeats)
    options.write(result, "bench_step", step_markdown(result))
    options.show(step_table(result), step_notes(result))


@app.command(epilog="Example: compact-bench bench scaling --axis teachers=2,4,8,16 --output bench")
@o.takes(BenchOptions)
def scaling(
    options: BenchOptions,
    axis: Annotated[
        list[str],
        o.option(
            o.RUN,
            metavar="NAME[=A,B,...]",
            help="teachers, rationale_tokens or questions_per_step; may be repeated. Default: all three.",
        ),
    ] = [],  # noqa: B006
    rationale_tokens: Annotated[
        int, o.option(o.RUN, min=1, help="Length of rationales where no axis varies it.")
    ] = 100,
    contenders: Contenders = "ours,released",
    repeats: Repeats = 3,
) -> None:
    """How time and memory of a step grow with the number of teachers, rationale length and questions."""
    o.prepare_libraries(options.offline, options.threads, options.mirror)
    from compact_bench.commands.bench.contenders.contenders import choose_contenders
    from compact_bench.commands.bench.contenders.stepping import open_student
    from compact_bench.commands.bench.scaling import Scale, bench_scaling, parse_axes
    from compact_bench.core.progress import open_display

    chosen, axes = choose_contenders(o.csv_names(contenders)), parse_axes(axis)
    settings = options.settings()
    student = open_student(settings)
    make = options.work_maker(student)
    base = Scale(
        teachers=options.teachers,
        rationale_tokens=rationale_tokens,
        questions_per_step=options.questions_per_step,
    )
    with open_display(o.status(), quiet=options.quiet) as display:
        result = bench_scaling(
            student,
            lambda scale: make(scale.teachers, scale.questions_per_step, scale.rationale_tokens),
            settings,
            chosen,
            axes,
            display,
            base=base,
            repeats=repeats,
        )
    _give_scaling(result, options)


def _give_scaling(result: ScalingResult, options: BenchOptions) -> None:
    from compact_bench.commands.bench.reports.scaling import (
        axis_table,
        growth_sentences,
        scaling_drawings,
        scaling_markdown,
    )
    from compact_bench.core.files import write_atomic

    options.write(result, "bench_scaling", scaling_markdown(result))
    if options.output is not None:
        for name, drawing in scaling_drawings(result).items():
            write_atomic(options.output / f"{name}.png", drawing.png)
            write_atomic(options.output / f"{name}.svg", drawing.svg)
    for one in result.axes:
        options.show(axis_table(one), growth_sentences(one))


@app.command("eval", epilog="Example: compact-bench bench eval --tasks csqa --items 100")
@o.takes(BenchOptions, "student suite dtype json_file output mirror offline threads device quiet")
def evaluation(
    options: BenchOptions,
    tasks: Annotated[
        str,
        o.option(o.RUN, help="Tasks, as a,b. Default: csqa and svamp, or the suite's first of each kind."),
    ] = "",
    items: Annotated[int, o.option(o.RUN, min=1, help="Items of every task.")] = 32,
    max_new_tokens: Annotated[int, o.option(o.RUN, min=1, help="Tokens of the longest generation.")] = 160,
    batch_sizes: Annotated[
        str, o.option(o.RUN, help="Each engine is measured at the fastest of these.")
    ] = "8,16,32",
    repeats: Repeats = 3,
) -> None:
    """Evaluation by the plain harness and by the fast engine: items per second, and where they differ."""
    o.prepare_libraries(options.offline, options.threads, options.mirror)
    from compact_bench.commands.bench.contenders.stepping import open_student
    from compact_bench.commands.bench.evaluation import bench_eval, choose_tasks
    from compact_bench.commands.bench.reports.evaluation import eval_markdown, eval_notes, eval_table
    from compact_bench.core.progress import open_display

    sizes = _numbers("--batch-sizes", batch_sizes)
    settings = replace(options, lora=False).settings()
    student = open_student(settings)
    chosen = choose_tasks(options.data(settings.student).benchmarks, o.csv_names(tasks), items)
    with open_display(o.status(), quiet=options.quiet) as display:
        result = bench_eval(
            student, chosen, display, max_new_tokens=max_new_tokens, batch_sizes=sizes, repeats=repeats
        )
    options.write(result, "bench_eval", eval_markdown(result))
    options.show(eval_table(result), eval_notes(result))


def _numbers(option: str, text: str) -> tuple[int, ...]:
    from compact_bench.core.errors import ConfigError
    from compact_bench.core.written.values import LARGEST_COUNT, read_whole

    try:
        numbers = [read_whole(part, LARGEST_COUNT) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or 0 in numbers:
        raise ConfigError(f"{option}: expected whole numbers of at least 1 as 8,16,32, got {text!r}.")
    return tuple(dict.fromkeys(numbers))
