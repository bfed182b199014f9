"""An objective that says itself which questions an epoch trains on, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import RunSettings, TrainSettings
from compact_bench.students.student import Student
from compact_bench.training.loop import STEPS_FILE, train
from compact_bench.training.objectives import SupervisedObjective
from compact_bench.training.protocol import RunContext
from tests import tiny

SETTINGS = RunSettings(train=TrainSettings(epochs=2, questions_per_step=1, accumulation=1, dtype="float32"))


@dataclass(frozen=True)
class Ordered(SupervisedObjective):
    orders: tuple[tuple[int, ...], ...] = ()

    def question_order(self, question_ids: Sequence[str], epoch: int, seed: int) -> Sequence[int]:
        return self.orders[epoch]


def fit(student: Student, folder: Path, *orders: tuple[int, ...]) -> None:
    objective = Ordered(SETTINGS.train, orders=orders)
    train(student, tiny.questions(3, 1), objective, RunContext(folder, SETTINGS, 1))


def test_the_steps_follow_the_order(load_tiny: Callable[..., Student], tmp_path: Path) -> None:
    fit(load_tiny(), tmp_path, (2, 0, 0), (1, 1, 2))
    ids = [question.id for question in tiny.questions(3, 1)]
    steps = pd.read_parquet(tmp_path / STEPS_FILE)
    assert list(steps["question_id"]) == [ids[n] for n in (2, 0, 0, 1, 1, 2)]


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 2, 0), (0, 1, 3)])
def test_an_order_of_other_length_or_places_is_refused(
    order: tuple[int, ...], load_tiny: Callable[..., Student], tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match=r"question_order of Ordered, epoch 0: expected 3 places from 0 to 2"
    ):
        fit(load_tiny(), tmp_path, order, order)
