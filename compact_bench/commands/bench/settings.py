"""Settings of a benchmark of the training step."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from compact_bench.core.settings import LoraSettings, Strict, TrainSettings


class StepSettings(Strict):
    """How the student of a benchmark is set up; a fresh process is given the same.

    Attributes:
        student: hub id, folder, or the name of a student that comes along.
        device: "auto", "cpu", "cuda" or "cuda:N".
        train: what `ours` and `uniform` train with, and what type, rate and longest branch all have.
            With dtype "float32" the weights are float32 as well.
        lora: adapters, or every weight where they are not enabled.
        threads: CPU threads, 0 for torch's own choice.
        seed: of the adapters' initial values and of dropout.
    """

    student: str
    device: str = "auto"
    train: TrainSettings = TrainSettings(dtype="float32")
    lora: LoraSettings = LoraSettings()
    threads: Annotated[int, Field(ge=0)] = 0
    seed: int = 1
