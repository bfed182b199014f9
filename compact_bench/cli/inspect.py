"""Commands that only look: list, show, compare, explain, check-statistics, doctor."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compact_bench.cli import options as o
from compact_bench.core.errors import ConfigError, DamageError, UnknownNameError

KINDS = ("methods", "suites", "students", "tables", "sweeps", "extensions", "runs")
STATE_STYLES = {"ok": "green", "warning": "yellow", "missing": "red"}


class VariantChoice(StrEnum):
    """Which variant of COMPACT is explained."""

    paper = "paper"
    released = "released"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("list", epilog="Example: compact-bench list methods")(list_names)
    app.command(epilog="Example: compact-bench show compact")(show)
    app.command(epilog="Example: compact-bench compare zero_shot@1 compact@1 --only-different")(compare)
    app.command(epilog="Example: compact-bench explain --question QUESTION_ID --variant paper")(explain)
    app.command("check-statistics", epilog="Example: compact-bench check-statistics --seeds 5,10")(
        check_statistics
    )
    app.command(epilog="Example: compact-bench doctor --mirror MIRROR_FOLDER")(doctor)


def list_names(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}; all without it.")] = "",
    store: o.Store = None,
    check: Annotated[
        bool, typer.Option("--check", help="Of runs: read every file that a record names; exit 7 at damage.")
    ] = False,
) -> None:
    """List the known names; extensions are probes, formats, figures and tasks, and where they come from."""
    if kind and kind not in KINDS:
        raise UnknownNameError("kind of name", kind, KINDS)
    if check and kind != "runs":
        raise ConfigError("--check reads the files of runs; give it with `list runs`.")
    o.prepare_libraries()
    from compact_bench.commands.inspect import listing
    from compact_bench.core import paths

    for one in [kind] if kind else KINDS:
        o.out().print(listing.names_table(one, store or paths.store_dir()))
    if check:
        _check_runs(store or paths.store_dir())


def _check_runs(folder: Path) -> None:
    from compact_bench.commands.inspect.damage import check_store
    from compact_bench.runs.store.store import Store

    found, out = check_store(Store(folder)), o.out()
    for name, why in found.unchecked.items():
        out.print(f"{name}: not checked, {why}", markup=False, soft_wrap=True)
    if found.damaged:
        faults = [f"  - {name}: {fault}" for name, of in found.damaged.items() for fault in of]
        raise DamageError(
            f"of {found.checked} run(s) checked, {len(found.damaged)} have damaged files:\n"
            + "\n".join(faults)
            + "\nTo mend: give the command that made them again, with --rerun."
        )
    out.print(f"{found.checked} run(s) checked: every file that they name is what was written.", markup=False)


def show(
    name: Annotated[
        str, typer.Argument(help="A method or its FILE.py, a suite, table or run, or the word settings.")
    ],
    store: o.Store = None,
    as_json: Annotated[bool, typer.Option("--json", help="A run's whole record as JSON.")] = False,
) -> None:
    """Show a method's card, a suite's card, a table's plan, a run's record, or every setting."""
    o.prepare_libraries()
    from compact_bench.commands.inspect import listing
    from compact_bench.core import paths
    from compact_bench.runs.store.store import Store

    if as_json:
        record = Store(store or paths.store_dir()).find_one(name)
        typer.echo(json.dumps(asdict(record), indent=1, ensure_ascii=False))
        return
    o.out().print(listing.show_name(name, store or paths.store_dir()))


def compare(
    first: o.RunName,
    second: Annotated[str, typer.Argument(help="The other run.")],
    tasks: Annotated[str, typer.Option("--task", help="Only these tasks, as a,b.")] = "",
    only_different: Annotated[
        bool, typer.Option("--only-different", help="Only items that one run answered right.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Items shown per task.")] = 20,
    store: o.Store = None,
) -> None:
    """Compare two runs item by item, with what each generated."""
    from compact_bench.commands.inspect.compare import compare_runs
    from compact_bench.core import paths
    from compact_bench.runs.store.store import Store

    place = Store(store or paths.store_dir())
    one, other = place.find_one(first), place.find_one(second)
    comparisons = compare_runs(place, one, other, o.csv_names(tasks))
    out = o.out()
    out.print(f"A: {one.key.name}\nB: {other.key.name}\n", markup=False)
    summary = Table("task", "items", "both right", "only A", "only B", "neither")
    for task in comparisons:
        counts = [task.count(a, b) for a, b in ((True, True), (True, False), (False, True), (False, False))]
        summary.add_row(task.task, str(len(task.pairs)), *map(str, counts))
    out.print(summary)
    for task in comparisons:
        pairs = [pair for pair in task.pairs if pair.differs or not only_different]
        for pair in pairs[:limit]:
            marks = ["right" if score > 0.5 else "wrong" for score in pair.scores]
            out.print(Text(f"\n{task.task} / {pair.item_id}", style="bold"))
            out.print(pair.prompt.strip(), markup=False)
            out.print(f"gold: {pair.gold}", markup=False)
            for letter, mark, predicted, text in zip("AB", marks, pair.predictions, pair.texts, strict=True):
                wrote = f": {text.strip()}" if text else ""
                out.print(f"{letter} {mark} ({predicted}){wrote}", markup=False)
        if len(pairs) > limit:
            out.print(f"\n{task.task}: {len(pairs) - limit} more item(s); --limit shows more.", markup=False)


@o.takes(o.RequestOptions, "suite profile student teachers world mirror offline threads device")
def explain(
    options: o.RequestOptions,
    file: Annotated[
        Path | None, typer.Argument(help="Your rationale file; without it a suite question is explained.")
    ] = None,
    question: Annotated[str, typer.Option("--question", help="Question id. Default: the first.")] = "",
    variant: Annotated[VariantChoice, typer.Option("--variant", help="Which COMPACT.")] = VariantChoice.paper,
    top: Annotated[int, typer.Option("--top", min=0, help="Tokens marked per rationale.")] = 5,
) -> None:
    """Show how COMPACT scores one question: scores, teacher weights, losses, information gain."""
    request = replace(options, rationales=str(file) if file is not None else None).request()
    from compact_bench.cli.explain import explain_question

    o.out().print(explain_question(request, question, variant.value, top))


def check_statistics(
    table: Annotated[str, typer.Option("--table", help="Table, or its TOML file.")] = "2",
    suite: o.SuiteName = "lab",
    profile: o.Profile = "lite",
    store: o.Store = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Numbers of seeds to simulate, as a,b.")] = "3,5,10",
    tables: Annotated[int, typer.Option("--tables", min=1, help="Tables to simulate.")] = 10_000,
    difference: Annotated[
        float, typer.Option("--difference", min=0.01, max=0.5, help="True difference whose power is told.")
    ] = 0.1,
    output: Annotated[
        Path | None, typer.Option("--output", help="File to write: FILE.json as data, else Markdown.")
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Simulate equal methods that vary as a store's runs do, and count what is said of them."""
    from compact_bench.commands.inspect.statistics import check_statistics as check
    from compact_bench.core import paths
    from compact_bench.core.files import write_atomic
    from compact_bench.data.suites import load_spec
    from compact_bench.runs.store.store import Store

    folder = store or paths.store_dir()
    if not folder.is_dir():
        raise ConfigError(
            f"expected a store with runs in {folder}, found no such folder; give it as --store."
        )
    found = check(
        Store(folder).records(),
        table=table,
        suite=load_spec(suite),
        profile=profile,
        seeds=o.parse_seeds(seeds),
        tables=tables,
        difference=difference,
    )
    is_data = as_json if output is None else output.suffix == ".json"
    text = found.to_json() if is_data else found.to_markdown()
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_atomic(output, text.encode())
        o.out().print(f"wrote {output}", markup=False, soft_wrap=True)


def doctor(
    mirror: o.Mirror = None,
    store: o.Store = None,
    offline: o.Offline = False,
    device: o.Device = "auto",
    as_json: o.AsJson = False,
) -> None:
    """Check what is installed and reachable here, and say what will and will not work."""
    o.prepare_libraries(offline)
    from compact_bench.commands.inspect.doctor import diagnose
    from compact_bench.commands.prefetch import suite_file_counts
    from compact_bench.core import paths
    from compact_bench.students.packaged import packaged_student_ready

    cache, place = paths.cache_dir(), mirror or paths.mirror_dir()
    diagnosis = diagnose(
        cache=cache,
        store=store or paths.store_dir(),
        mirror=place,
        offline=offline or paths.offline(),
        device=device,
        suite_files=lambda: suite_file_counts(cache, place),
        student_ready=lambda: packaged_student_ready(cache),
    )
    if as_json:
        typer.echo(json.dumps(diagnosis.to_json(), indent=1))
        return
    table = Table("what", "state", "found", "so")
    for check in diagnosis.checks:
        state = Text(check.state, style=STATE_STYLES[check.state])
        table.add_row(check.name, state, Text(check.found), Text(check.consequence))
    parts: list[RenderableType] = [table]
    parts += [Text(f"works: {line}", style="green") for line in diagnosis.works]
    parts += [Text(f"will not work: {line}", style="red") for line in diagnosis.fails]
    o.out().print(Group(*parts))
