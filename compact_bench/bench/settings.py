"""What a benchmark of the training step is told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from compact_bench.settings import LoraSettings, Strict, TrainSettings

__all__ = ["StepSettings"]


class StepSettings(Strict):
    """How the student of a benchmark is set up; a fresh process is given the same.

    Attributes:
        student: hub id, folder, or the name of a student that comes along.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: "float32" for weights and products; "bfloat16" and "auto" as the setting `train.dtype` does.
        lora: whether adapters are trained, or every weight.
        dropout: of the adapters.
        max_length_tokens: longest branch.
        threads: CPU threads, 0 for torch's own choice.
        learning_rate: of the optimiser; weights are put back after every step.
        seed: of the adapters' initial values and of dropout.
    """

    student: str
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    lora: bool = True
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = LoraSettings().dropout
    max_length_tokens: Annotated[int, Field(ge=1)] = TrainSettings().max_length_tokens
    threads: Annotated[int, Field(ge=0)] = 0
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-4
    seed: int = 1
