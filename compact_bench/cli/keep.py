"""Commands that keep or clean what runs left: export, gc, rm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compact_bench.cli import options as o

if TYPE_CHECKING:
    from compact_bench.runs.store.garbage import Leftover


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: compact-bench export compact@1 exported_compact")(export)
    app.command(epilog="Example: compact-bench gc --dry-run")(gc)
    app.command(epilog="Example: compact-bench rm 3fa9c1 --dry-run")(rm)


@o.takes(o.RequestOptions, "mirror store offline device")
def export(
    options: o.RequestOptions,
    run: o.RunName,
    folder: Annotated[Path, typer.Argument(help="New folder to write.")],
) -> None:
    """Write a run's merged student, its task files, and the lm_eval command line that scores it alike."""
    request = options.request()
    from compact_bench.commands.export import export_run
    from compact_bench.runs.session import session_of_record
    from compact_bench.runs.store.store import Store

    record = Store(request.store).find_one(run)
    done = export_run(session_of_record(record, request), record, folder)
    out = o.out()
    out.print(f"student: {done.student_folder}", markup=False, soft_wrap=True)
    if done.command:
        out.print(f"tasks:   {done.task_folder}", markup=False, soft_wrap=True)
    if done.prompt_prefix:
        text = f"This student expects {done.prompt_prefix!r} in front of a question; the tasks have it there."
        out.print(text, markup=False, soft_wrap=True)
    if done.left_out:
        text = f"Left out, as their YAML is yours and lm_eval takes it as it is: {', '.join(done.left_out)}."
        out.print(text, markup=False, soft_wrap=True)
    if not done.command:
        return
    out.print(
        "The same numbers, by the harness's own command line (where compact-bench is installed):",
        markup=False,
    )
    out.print(done.command, markup=False, soft_wrap=True)


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    store: o.Store = None,
    keep: Annotated[str, typer.Option("--keep", help="Hashes of runs whose checkpoints stay, as a,b.")] = "",
) -> None:
    """Remove what no finished run needs: checkpoints, unused evaluations, forgotten temporary files."""
    from compact_bench.core import paths
    from compact_bench.runs.store.store import Store

    gone = Store(store or paths.store_dir()).gc(dry_run=dry_run, keep=o.csv_names(keep))
    _print_gone(gone, dry_run)


def rm(
    runs: Annotated[list[str], typer.Argument(help="Runs, as hash, compact@1 or lab/lite/compact@1.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    store: o.Store = None,
) -> None:
    """Remove whole runs, with record, weights and logs; cached evaluations stay until `gc`.

    A run that another process is at is refused, and then nothing is removed.
    """
    from compact_bench.core import paths
    from compact_bench.runs.store.store import Store

    place = Store(store or paths.store_dir())
    names = list(dict.fromkeys(place.find_folder(run) for run in runs))
    _print_gone(place.remove(names, dry_run=dry_run), dry_run)
    made = [r.key for r in place.records() if not {*r.key.requires.values()}.isdisjoint(names)]
    if kept := [f"{key.name} ({key.hash})" for key in made if key.hash not in names]:
        text = f"Made from what is removed, and kept: {', '.join(kept)}."
        o.out().print(text, markup=False, soft_wrap=True)


def _print_gone(gone: Sequence[Leftover], dry_run: bool) -> None:
    out = o.out()
    for item in gone:
        out.print(f"{item.size_bytes / 1e6:10.1f} MB  {item.why}: {item.path}", markup=False, soft_wrap=True)
    total = sum(item.size_bytes for item in gone) / 1e6
    verb = "would be removed" if dry_run else "removed"
    out.print(f"{len(gone)} item(s), {total:.1f} MB {verb}.", markup=False)
