"""A run's merged student as a plain folder, with the task files and the harness's own command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compact_bench.core.errors import ConfigError, DamageError, StoreError
from compact_bench.core.files import write_atomic
from compact_bench.core.records import RunRecord
from compact_bench.core.settings import RunSettings
from compact_bench.runs.session import Session
from compact_bench.training.final_weights import load_final
from compact_bench.training.protocol import derive_seed

if TYPE_CHECKING:
    from compact_bench.students.student import Student


@dataclass(frozen=True)
class Export:
    """What an export wrote.

    Attributes:
        student_folder: reads with `from_pretrained`.
        task_folder: reads with `lm_eval --include_path`; is not there where all tasks are left out.
        command: evaluates the student exactly as the run was evaluated; "" where all tasks are left out.
        prompt_prefix: text that the task files put before every question, as the run's evaluation did; or "".
        left_out: tasks of the user's own YAML, which the folder and the command leave out.
    """

    student_folder: Path
    task_folder: Path
    command: str
    prompt_prefix: str = ""
    left_out: tuple[str, ...] = ()


def export_run(session: Session, record: RunRecord, folder: Path) -> Export:
    """Write a run's merged student and its task files.

    Args:
        session: has the run's suite, student and data.
        folder: must not exist, or be empty.

    Raises:
        ConfigError: the folder holds something.
        StoreError: the run is not done, or its weights are no longer what was evaluated.
    """
    from compact_bench.evaluation.own_tasks import own_task
    from compact_bench.evaluation.task_files import asked_with, lm_eval_command, write_task_folder
    from compact_bench.students.student import save_student

    if record.status != "done":
        raise StoreError(f"run {record.key.name} is {record.status}; expected a finished run.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: expected a folder that does not exist or is empty; name another one.")
    student = _rebuild(session, record)
    settings = RunSettings.model_validate(record.key.settings)
    save_student(student, folder / "student")
    prefix = str(record.training.get("prompt_prefix", ""))
    rows = {task: session.data.benchmarks[task] for task in record.evaluations}
    # A user's own task is a file of the user's already.
    left_out = tuple(task for task, found in rows.items() if own_task(found) is not None)
    tasks = asked_with(prefix, {task: found for task, found in rows.items() if task not in left_out})
    task_folder = write_task_folder(folder / "tasks", tasks, settings.eval)
    dtype = str(student.dtype).removeprefix("torch.")
    command = lm_eval_command(
        folder / "student", task_folder, list(tasks), settings.eval, dtype, student.device.type
    )
    if not tasks:
        return Export(folder / "student", task_folder, "", prefix, left_out)
    write_atomic(folder / "evaluate.sh", f"{command}\n".encode())
    return Export(folder / "student", task_folder, command, prefix, left_out)


def _rebuild(session: Session, record: RunRecord) -> Student:
    from compact_bench.students.student import attach_lora, merge_adapters, weights_hash

    base_hash, wanted = session.base_hash, record.weights["final"]
    if wanted == base_hash:
        return session.base
    settings = RunSettings.model_validate(record.key.settings)
    directory = session.store.run_dir(record.key.hash)
    student = session.fresh_student()
    attach_lora(student, settings.lora, derive_seed(record.key.seed, "init"))
    try:
        report = load_final(student, directory, sealed=bool(record.files))
    except DamageError as error:
        raise DamageError(f"{error}. To mend: run it again with --rerun.") from None
    if report is None:
        raise StoreError(
            f"{directory}: the run's final weights are gone. To mend: run it again with --rerun."
        )
    merge_adapters(student)
    rebuilt = weights_hash(student.model)
    if rebuilt != wanted:
        raise StoreError(
            f"{directory}: expected merged weights {wanted}, as evaluated, got {rebuilt}. The kept weights "
            f"or student {session.student_name} changed, or another device or torch version merged them. To "
            "mend: export where the run was made, or run it again with --rerun."
        )
    return student
