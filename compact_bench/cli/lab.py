"""Commands of the lab's world: look at its questions, and pretrain its student."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compact_bench.cli import options as o

if TYPE_CHECKING:
    from compact_bench.data.lab.world.settings import WorldSettings

app = typer.Typer(
    help="The lab's world: show questions with their rationales, pretrain its student.", no_args_is_help=True
)


@app.command(epilog="Example: compact-bench lab show --family shells --count 2 --world slip_rate=1")
def show(
    family: Annotated[str, typer.Option("--family", help="One of the covered families. Default: all.")] = "",
    count: Annotated[int, typer.Option("--count", min=1, help="How many questions.")] = 4,
    suite: o.SuiteName = o.DEFAULT_SUITE,
    world: o.World = [],  # noqa: B006
) -> None:
    """Print training questions with every teacher's rationale and the truth about it."""
    from compact_bench.core.errors import UnknownNameError
    from compact_bench.data.lab import training_questions

    settings = _world(suite, tuple(world))
    if family and family not in settings.edition.covered:
        raise UnknownNameError("family with rationales", family, settings.edition.covered)
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


def _world(suite: str, changes: tuple[str, ...]) -> WorldSettings:
    """The world of a suite, with changes.

    Raises:
        ConfigError: the suite's questions are not generated.
    """
    from compact_bench.core.errors import ConfigError
    from compact_bench.data.suites import load_spec, with_world

    spec = with_world(load_spec(suite), changes)
    if spec.training.world is None:
        raise ConfigError(
            f"--suite: expected a suite whose questions are generated, got {spec.name!r}. Leave it out."
        )
    return spec.training.world


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
    suite: o.SuiteName = o.DEFAULT_SUITE,
    threads: o.TorchThreads = 0,
    quiet: o.Quiet = False,
) -> None:
    """Pretrain the lab's student from its seed; without --set and --scale, the one that this package ships.

    Writes safetensors, tokenizer and training log. `--student FOLDER` uses it in any other command. Then it
    is checked that the student can show something: how it answers each family at once, after right
    rationales, after all and after wrong ones. It fails, with the figures, where one of them is out of
    bounds. A student of `--suite lab@1` is not held to that.
    """
    o.prepare_libraries(threads=threads)
    import torch

    from compact_bench.core.progress import duration, open_display
    from compact_bench.core.settings import with_changes
    from compact_bench.data.lab.student.pretraining import LOG_FILE, pretrain
    from compact_bench.data.lab.student.settings import settings_of

    version = _world(suite, ()).version
    settings = with_changes(settings_of(version), overrides, "--set").scaled(scale)
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
    if version > 1:
        _check_gates(suite, output, lambda text: None if quiet else console.print(text, markup=False))


def _check_gates(suite: str, student: Path, say: Callable[[str], None]) -> None:
    """Measure the gates, say the figures, keep them beside the student.

    Raises:
        StudentError: the student does not pass, with every figure.
    """
    import tempfile

    from compact_bench.commands.lab_gates import GATES_FILE, measure_gates
    from compact_bench.core.errors import StudentError
    from compact_bench.core.files import write_atomic

    with tempfile.TemporaryDirectory(prefix="compact_bench_gates_") as folder:
        gates = measure_gates(suite, str(student), Path(folder), on_progress=lambda arm: say(f"gates: {arm}"))
    text = "\n".join(gates.lines())
    write_atomic(student / GATES_FILE, (text + "\n").encode())
    if failures := gates.failures():
        raise StudentError("\n".join(["the student does not pass the gates of the lab:", *failures, text]))
    say(text)
