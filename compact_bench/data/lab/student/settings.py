"""How the lab's students are pretrained: sizes, stages, and what is practised how often."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from compact_bench.core.settings import Strict

PRACTICE: Mapping[str, int] = {"ring": 3, "order": 2, "lookup": 3, "count": 2, "swap": 1}
# Facts are learned soon; lists need practice.
SKILL_PRACTICE: Mapping[str, int] = {"copy": 3, "reverse": 3, "opposites": 1, "categories": 1}

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class StageSettings(Strict):
    """One stage of pretraining; every stage has an optimiser and a schedule of its own.

    Attributes:
        learning_rate: peak; linear warm-up, then a cosine down to a twentieth.
        direct_share: share of dialogues that answer a problem at once, without a step.
        worked_share: share of dialogues that work a problem out, in the style of any teacher; the rest are
            skills.
        longest_worked_steps: longest problem that is worked out.
        long_worked_share: share of the worked ones that may take more than one step.
        facts_seen: fewest and most times that each of the sixty facts is told, at random places of the stage;
            (0, 0) for a stage without.
        skills: as the student's, where this stage practises other ones.
    """

    steps: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Positive = 100
    direct_share: Share
    worked_share: Share
    longest_worked_steps: Positive
    long_worked_share: Share
    facts_seen: tuple[int, int] = (0, 0)
    skills: dict[str, Positive] = Field(default_factory=dict)


STAGES = (
    # Single steps and their order first: longer chains are learned sooner after them.
    StageSettings(
        steps=2400,
        learning_rate=3e-3,
        direct_share=0.15,
        worked_share=0.6,
        longest_worked_steps=2,
        long_worked_share=0.5,
    ),
    # Then whole chains, each less often than a direct answer, which the student therefore gives unasked.
    StageSettings(
        steps=900,
        learning_rate=1e-3,
        warmup_steps=20,
        direct_share=0.35,
        worked_share=0.4,
        longest_worked_steps=4,
        long_worked_share=1.0,
    ),
)


class PretrainingSettings(Strict):
    """What the student is and how it is pretrained; the defaults make the student of version 1.

    Attributes:
        seed: of weights and data.
        version: of the world whose words it knows. That of version 2 goes on from the shipped one of
            version 1, whose size it therefore has.
        practice: family -> how often it is practised, in proportion: some are learned sooner than others.
        skills: skill -> how often it is practised, in proportion; facts are a stage's.
        hidden, layers, heads, key_heads, feed_forward: size of the Llama model.
        batch_rows: dialogues per step.
        longest_direct_steps: longest problem that is answered at once.
        prompt_weight: weight of the prompt tokens' loss beside 1 for the answer's.
    """

    seed: int = 7
    version: Literal[1, 2] = 1
    practice: dict[str, Positive] = Field(default_factory=lambda: dict(PRACTICE))
    skills: dict[str, Positive] = Field(default_factory=lambda: dict(SKILL_PRACTICE))
    hidden: Positive = 128
    layers: Positive = 5
    heads: Positive = 4
    key_heads: Positive = 2
    feed_forward: Positive = 384
    stages: Annotated[tuple[StageSettings, ...], Field(min_length=1)] = STAGES
    batch_rows: Positive = 96
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    longest_direct_steps: Positive = 4
    prompt_weight: Share = 0.1

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def scaled(self, factor: float) -> PretrainingSettings:
        """The same with this many times the steps in every stage, one at least."""
        stages = [
            stage.model_copy(update={"steps": max(1, round(stage.steps * factor))}) for stage in self.stages
        ]
        return self.model_copy(update={"stages": tuple(stages)})


def shipped_folder(version: int) -> Path:
    """The folder of the student of a version of the world."""
    return Path(__file__).with_name(f"weights_{version}")


SECOND = PretrainingSettings(
    version=2,
    practice={"ring": 1, "swap": 2, "floor": 2, "give": 2, "shells": 2, "lift": 2, "coins": 3, "bug": 2},
    skills={"copy": 1, "reverse": 1, "opposites": 1, "categories": 1, "short": 2},
    batch_rows=48,
    stages=(
        StageSettings(
            steps=500,
            learning_rate=1.5e-3,
            warmup_steps=30,
            direct_share=0.2,
            worked_share=0.5,
            longest_worked_steps=4,
            long_worked_share=0.8,
        ),
        # Longer chains than are ever trained, and more direct answers, which the student then gives unasked.
        StageSettings(
            steps=450,
            learning_rate=1e-3,
            warmup_steps=10,
            direct_share=0.3,
            worked_share=0.45,
            longest_worked_steps=6,
            long_worked_share=1.0,
        ),
        StageSettings(
            steps=150,
            learning_rate=1e-3,
            warmup_steps=5,
            direct_share=0.35,
            worked_share=0.35,
            longest_worked_steps=6,
            long_worked_share=1.0,
            facts_seen=(24, 36),
            # Late and seldom: what is hardly known is what can be lost.
            skills={"copy": 1, "reverse": 1, "opposites": 1, "categories": 1, "short": 2, "word": 1},
        ),
    ),
)
"""How the student of version 2 is pretrained."""


def settings_of(version: int) -> PretrainingSettings:
    """How the student of a version of the world is pretrained."""
    return PretrainingSettings() if version == 1 else SECOND
