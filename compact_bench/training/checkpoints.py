"""Atomic, complete checkpoints: trainable weights, optimiser, schedule, RNG, data position, step rows.

A checkpoint is a folder written under a temporary name and renamed; the newest complete one counts.
Tensors are safetensors, the rest JSON and parquet; nothing is pickled.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compact_bench.core.errors import DamageError
from compact_bench.core.files import check_folder, sealed_folder

_PREFIX = "checkpoint-"
PARTS = "parts"
"""Folder, in a run's, of trainings that are only a part of it, a folder each."""

OWNED = "objective."
"""Start of the names of parameters that are an objective's own."""

Parameters = Mapping[str, nn.Parameter]


@dataclass
class LoopState:
    """Where the loop stands, apart from tensors.

    Attributes:
        fingerprint: hash of what the loop was asked to do; another value is another run.
        step: optimiser steps done, counted from the start of the whole schedule.
        start: the step at which this training began; 0 but for a later part of a run.
        epoch_losses: losses of the groups of the epoch under way.
    """

    fingerprint: str
    step: int = 0
    start: int = 0
    branches: int = 0
    used: int = 0
    offered: int = 0
    supervised_tokens: int = 0
    total_tokens: int = 0
    seconds: float = 0.0
    epoch_losses: list[float] = field(default_factory=list)
    final_loss: float | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingPart:
    """A stretch of the schedule that is trained by itself.

    A later part with the same folder goes on from the earlier one's optimiser, dropout and counters, with
    the weights that the student has by then: branches of a student that are averaged in between are trained
    so. A part with a folder of its own starts with a new optimiser.

    Attributes:
        folder: name of the part's folder of checkpoints, within the run's.
        first_step: first step of the schedule, from 0.
        end_step: the step after the last.
    """

    folder: str
    first_step: int
    end_step: int

    def directory(self, run: Path) -> Path:
        """Where its checkpoints and its steps table are."""
        return run / PARTS / self.folder


def _tensors(parameters: Parameters, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    # Dropout must go on where it was: resumed weights are those of an uninterrupted run, bit for bit.
    out = {"rng/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        out["rng/cuda"] = torch.cuda.get_rng_state()
    for name, parameter in parameters.items():
        out[f"model/{name}"] = parameter.detach().cpu().contiguous()
        for part, value in optimiser.state.get(parameter, {}).items():
            if value is None:
                continue
            tensor = value if isinstance(value, Tensor) else torch.tensor(value)
            out[f"optimiser/{part}/{name}"] = tensor.detach().cpu().contiguous().clone()
    return out


def save_checkpoint(
    directory: Path, state: LoopState, parameters: Parameters, optimiser: torch.optim.Optimizer
) -> None:
    """Write a checkpoint after an optimiser step, then remove the older ones."""
    final = directory / f"{_PREFIX}{state.step:09d}"
    plain = asdict(state)
    rows = plain.pop("rows")
    with sealed_folder(final) as draft:
        save_file(_tensors(parameters, optimiser), draft / "tensors.safetensors")
        pd.DataFrame(rows).to_parquet(draft / "rows.parquet")
        (draft / "state.json").write_text(json.dumps(plain))
    for old in directory.glob(f"{_PREFIX}*"):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def load_latest(
    directory: Path,
    fingerprint: str,
    parameters: Parameters,
    optimiser: torch.optim.Optimizer,
    *,
    start: int = 0,
) -> LoopState:
    """Restore the newest checkpoint in place, or return a fresh state.

    Args:
        fingerprint: hash of what the loop is asked to do.
        parameters, optimiser: restored in place.
        start: where the training starts. Of a checkpoint that stands just there, which an earlier part of
            the same training left, everything is restored but the parameters: these are the caller's.

    Raises:
        DamageError: the newest checkpoint is damaged or of another run, or a later one is gone.
    """
    checkpoints = sorted(directory.glob(f"{_PREFIX}*"))
    if not checkpoints:
        return LoopState(fingerprint, step=start, start=start)
    path = checkpoints[-1]
    check_folder(path)
    try:
        plain = json.loads((path / "state.json").read_text())
        table = pd.read_parquet(path / "rows.parquet")
        rows = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
        tensors = load_file(path / "tensors.safetensors")
        state = LoopState(**plain, rows=rows)
    except (OSError, TypeError, ValueError, SafetensorError) as error:
        raise DamageError(f"{path}: this checkpoint cannot be read ({error})") from None
    if state.fingerprint != fingerprint:
        raise DamageError(
            f"{path}: expected a checkpoint of training {fingerprint}, got one of {state.fingerprint}"
        )
    if state.step < start:
        raise DamageError(f"{path}: expected a checkpoint of step {start} or later")
    kept: dict[str, dict[str, Tensor]] = {}
    for key in (key for key in tensors if key.startswith("optimiser/")):
        _, part, name = key.split("/", 2)
        kept.setdefault(name, {})[part] = tensors[key]
    with torch.no_grad():
        for name, parameter in parameters.items():
            # What the objective owns belongs to this training alone, and goes on in any case.
            if state.step > start or name.startswith(OWNED):
                parameter.copy_(tensors[f"model/{name}"])
            if parts := kept.get(name):
                optimiser.state[parameter] = {
                    # Optimisers keep their step counter on the CPU.
                    part: value.clone() if part == "step" else value.to(parameter.device, copy=True)
                    for part, value in parts.items()
                }
    torch.set_rng_state(tensors["rng/cpu"])
    if "rng/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng/cuda"])
    return state


def clear_checkpoints(directory: Path) -> None:
    """Remove all checkpoints and drafts of a finished run, those of its parts too."""
    shutil.rmtree(directory / PARTS, ignore_errors=True)
    for pattern in (f"{_PREFIX}*", f".{_PREFIX}*.tmp"):
        for path in directory.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)
