"""What training left, kept in the run folder: the adapters, or every weight where adapters are not all.

`final/` is written whole or not at all, and names the sha256 of its files and of the steps table. With it a
run whose evaluation was interrupted never trains again, and `export` rebuilds the merged student.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compact_bench.core.errors import DamageError, StudentError
from compact_bench.core.files import check_folder, seal_folder
from compact_bench.training.protocol import FitReport

if TYPE_CHECKING:
    from torch import Tensor, nn

    from compact_bench.students.student import Student

FINAL = "final"
STEPS_FILE = "steps.parquet"
"""The steps table, beside the final weights: one row per step, question and teacher."""
_ADAPTERS, _STUDENT, _REPORT = "adapters.safetensors", "student", "report.json"


def save_final(
    student: Student, base: nn.Module, report: FitReport, directory: Path, *, run: str = ""
) -> None:
    """Keep a trained student that is not yet merged: its adapters, or everything where other weights than
    theirs differ from the base's.

    Args:
        run: hash of the run's key, by which `load_final` knows another run's files.
    """
    from safetensors.torch import save_file

    from compact_bench.students.student import save_student

    # Written beside its place and renamed: a run that is killed here leaves a whole folder or none.
    draft = directory / f".{FINAL}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    adapters = _adapters(student.model)
    kind = "none"
    if report.optimiser_steps and adapters and _rest_unchanged(student.model, base):
        kind = "adapters"
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in adapters.items()},
                  draft / _ADAPTERS)  # fmt: skip
    elif report.optimiser_steps:
        from compact_bench.students.student import merge_adapters

        kind = "student"
        merge_adapters(student)
        save_student(student, draft / _STUDENT)
    text = json.dumps({"kind": kind, "run": run, "report": asdict(report)}, allow_nan=False)
    (draft / _REPORT).write_text(text, encoding="utf-8")
    seal_folder(draft, directory / STEPS_FILE)
    target = directory / FINAL
    shutil.rmtree(target, ignore_errors=True)
    draft.replace(target)


def load_final(
    student: Student, directory: Path, *, run: str | None = None, sealed: bool = True
) -> FitReport | None:
    """Give a fresh student, with fresh adapters where the run has them, what `save_final` kept, in place.

    Args:
        run: hash of the key of the run that they must be of; None where their sha256 stands in its record.
        sealed: whether the files must carry their sha256; those of before results version 3 do not.

    Returns:
        What training did, or None when there is nothing kept (the student is then untouched).

    Raises:
        DamageError: the files, or the steps table, are damaged or belong to another run or student.
    """
    folder = directory / FINAL
    if not folder.exists():
        return None
    if sealed:
        check_folder(folder)
    try:
        kept = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
        report, kind, belongs = FitReport(**kept["report"]), kept["kind"], kept.get("run")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _damaged(folder, error) from None
    if run is not None and belongs != run:
        raise DamageError(f"{folder} and {STEPS_FILE} belong to run {belongs or 'unknown'}, not {run}")
    if kind == "adapters":
        _load_adapters(student.model, folder)
    elif kind == "student":
        _load_whole(student, folder)
    return report


def _load_adapters(model: nn.Module, folder: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        kept = load_file(folder / _ADAPTERS)
        adapters = _adapters(model)
        if {n: t.shape for n, t in kept.items()} != {n: t.shape for n, t in adapters.items()}:
            raise ValueError("its adapters have other names or shapes than this student's")
        # Not strict, as the file has no weights but the adapters'; their names were compared above.
        model.load_state_dict(kept, strict=False)
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(folder, error) from None


def _load_whole(student: Student, folder: Path) -> None:
    from compact_bench.students.student import load_student

    dtype = str(student.dtype).removeprefix("torch.")
    try:
        loaded = load_student(str(folder / _STUDENT), dtype=dtype, device=str(student.device))
    except StudentError as error:
        raise _damaged(folder, error) from None
    student.model, student.layout = loaded.model, loaded.layout


def kept_files(directory: Path) -> dict[str, str]:
    """Name -> sha256 of what training left in a run's folder; names are relative to that.

    Raises:
        DamageError: one of them is damaged.
    """
    hashes = check_folder(directory / FINAL)
    return {os.path.normpath(f"{FINAL}/{name}"): value for name, value in hashes.items()}


def _damaged(folder: Path, error: Exception) -> DamageError:
    return DamageError(f"{folder}: expected the weights that training left, got: {error}")


def _adapters(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if "lora_" in name}


def _plain_name(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def _rest_unchanged(model: nn.Module, base: nn.Module) -> bool:
    """Whether every weight but the adapters' is the base's, so that the adapters tell the whole story."""
    import torch

    reference: Mapping[str, Any] = base.state_dict()
    rest = {_plain_name(n): t for n, t in model.state_dict().items() if "lora_" not in n}
    return rest.keys() == reference.keys() and all(
        torch.equal(tensor, reference[name].to(tensor)) for name, tensor in rest.items()
    )
