"""Commands of the lab's world: look at its questions, and pretrain its student."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from compact_bench.cli import options as o

app = typer.Typer(
    help="The lab's world: show questions with their rationales, pretrain its student.", no_args_is_help=True
)


@app.command(epilog="Example: compact-bench lab show --family ring --count 2 --world slip_rate=1")
def show(
    family: Annotated[str, typer.Option("--family", help="ring, order, lookup or count. Default: all.")] = "",
    count: Annotated[int, typer.Option("--count", min=1, help="How many questions.")] = 4,
    world: o.World = [],  # noqa: B006
) -> None:
    """Print training questions with every teacher's rationale and the truth about it."""
    from compact_bench.core.errors import UnknownNameError
    from compact_bench.data.lab import training_questions
    from compact_bench.data.lab.world.families import COVERED
    from compact_bench.data.suites import load_spec, with_world

    if family and family not in COVERED:
        raise UnknownNameError("family with rationales", family, COVERED)
    settings = with_world(load_spec("lab"), tuple(world)).training.world
    assert settings is not None
    console = o.out()
    kept = [q for q in training_questions(settings) if not family or q.family == family]
    for question in kept[:count]:
        console.print(
            f"{question.text}\n  gold answer: {question.gold_answer}  ({question.source})", markup=False
        )
        for rationale in question.rationales:
            truth = rationale.truth
            assert truth is not None
            state = "right" if truth.is_right else f"wrong from step {truth.first_wrong_step}"
            console.print(f"  {rationale.teacher} ({state}): {rationale.text}", markup=False)
        console.print()


@app.command(epilog="Example: compact-bench lab build --output my_student --scale 0.2 --set hidden=96")
def build(
    output: Annotated[Path, typer.Option("--output", help="Folder of the new student.")],
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Change a pretraining setting; may be repeated."),
    ] = [],  # noqa: B006
    scale: Annotated[
        float, typer.Option("--scale", min=0.001, help="Factor on the number of steps of every stage.")
    ] = 1.0,
    threads: o.TorchThreads = 0,
    quiet: o.Quiet = False,
) -> None:
    """Pretrain the lab's student from its seed; without --set and --scale, the one that this package ships.

    Writes safetensors, tokenizer and training log. `--student FOLDER` uses it in any other command.
    """
    o.prepare_libraries(threads=threads)
    import torch

    from compact_bench.core.progress import duration, open_display
    from compact_bench.core.settings import with_changes
    from compact_bench.data.lab.student.pretraining import LOG_FILE, PretrainingSettings, pretrain

    settings = with_changes(PretrainingSettings(), overrides, "--set").scaled(scale)
    if threads:
        torch.set_num_threads(threads)
    console, started = o.status(), time.monotonic()
    with open_display(console, quiet=quiet) as display:

        def on_progress(done: int, total: int, text: str) -> None:
            left = (time.monotonic() - started) / done * (total - done)
            display.step(0, done, total, f"pretraining ({text})", duration(left))

        model = pretrain(settings, output, on_progress)
    if not quiet:
        size = sum(parameter.numel() for parameter in model.parameters())
        took = duration(time.monotonic() - started)
        console.print(f"{output}: {size:,} parameters in {took}; how it learned is in {output / LOG_FILE}.")
