"""Commands that keep or clean what runs left: export, gc."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compact_bench.cli import options as o


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: compact-bench export compact@1 exported_compact")(export)
    app.command(epilog="Example: compact-bench gc --dry-run")(gc)


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
    out.print(f"tasks:   {done.task_folder}", markup=False, soft_wrap=True)
    if done.prompt_prefix:
        text = f"This student expects {done.prompt_prefix!r} in front of a question; the tasks have it there."
        out.print(text, markup=False, soft_wrap=True)
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
    out = o.out()
    for item in gone:
        out.print(f"{item.size_bytes / 1e6:10.1f} MB  {item.why}: {item.path}", markup=False, soft_wrap=True)
    total = sum(item.size_bytes for item in gone) / 1e6
    verb = "would be removed" if dry_run else "removed"
    out.print(f"{len(gone)} item(s), {total:.1f} MB {verb}.", markup=False)
