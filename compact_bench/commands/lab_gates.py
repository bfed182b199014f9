"""Whether a student of the lab leaves room to show something: families are learned by right steps alone.

Measured with an untrained student, with uniform weights and with the oracle, in a world of another seed than
the suite's: none of the questions and items that results are made of is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from compact_bench.core.errors import StudentError
from compact_bench.core.progress import PlainDisplay, Ticker
from compact_bench.runs.plan import run_key
from compact_bench.runs.run import execute_run
from compact_bench.runs.session import Request, Session

PROFILE = "lite"
GATES_FILE = "gates.txt"
GATE_SEED = 900
"""Seed of the gates' world."""
MOST_DIRECT, LEAST_RIGHT, MOST_WRONG, LEAST_HEADROOM = 0.35, 0.85, 0.30, 0.25
_ALWAYS_WRONG = tuple(
    f"{rate}_rate=1.0" for rate in ("strong_error", "middling_error", "weak_error", "ponder_error", "slip")
)
_ARMS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "direct": ("zero_shot", ()),
    "right": ("oracle", ()),
    "uniform": ("uniform", ()),
    "wrong": ("uniform", _ALWAYS_WRONG),
}
"""What is measured -> method and changes of the world."""


@dataclass(frozen=True)
class Gates:
    """In-distribution accuracy per family, in [0, 1].

    Attributes:
        direct: before training.
        right, wrong: after training on right rationales alone (the oracle), on wrong ones alone.
        uniform: after training on all of them.
    """

    direct: Mapping[str, float]
    right: Mapping[str, float]
    uniform: Mapping[str, float]
    wrong: Mapping[str, float]

    @property
    def headroom(self) -> float:
        """Mean accuracy of the oracle minus that of uniform weights."""
        return _mean(self.right.values()) - _mean(self.uniform.values())

    def lines(self) -> list[str]:
        """The figures, a line for each family and one for the headroom."""
        told = [
            f"{family}: direct {self.direct[family]:.1%}, after right rationales {self.right[family]:.1%}, "
            f"after all {self.uniform[family]:.1%}, after wrong ones {self.wrong[family]:.1%}"
            for family in self.direct
        ]
        return [*told, f"headroom between all and right rationales: {100 * self.headroom:.1f} pp"]

    def failures(self) -> list[str]:
        """What does not pass, as sentences; empty when all does."""
        return list(self._failures())

    def _failures(self) -> Iterator[str]:
        for family in self.direct:
            if self.direct[family] >= MOST_DIRECT:
                yield f"{family}: expected direct answers under {MOST_DIRECT:.0%}"
            if self.right[family] <= LEAST_RIGHT:
                yield f"{family}: expected over {LEAST_RIGHT:.0%} after right rationales"
            if self.wrong[family] >= MOST_WRONG:
                yield f"{family}: expected under {MOST_WRONG:.0%} after wrong rationales"
        if self.headroom < LEAST_HEADROOM:
            yield f"expected a headroom of {100 * LEAST_HEADROOM:.0f} pp at least"


def measure_gates(
    suite: str,
    student: str,
    folder: Path,
    seeds: tuple[int, ...] = (1, 2),
    on_progress: Callable[[str], None] = lambda text: None,
) -> Gates:
    """Train and score a student as the suite's default profile does, in the gates' world.

    Args:
        suite: suite with a generated world.
        student: folder of the student.
        folder: where runs are kept while they are needed.
        seeds: of training; accuracies are means over them.

    Raises:
        StudentError: a run failed.
    """
    found: dict[str, dict[str, float]] = {}
    for name, (method, changes) in _ARMS.items():
        on_progress(name)
        request = Request(
            suite=suite,
            profile=PROFILE,
            cache=folder / "cache",
            store=folder / "store",
            student=student,
            overrides=("groups=[in_distribution]",),
            world=(f"seed={GATE_SEED}", *changes),
            offline=True,
            device="cpu",
            threads=1,
        )
        session = Session(request, [method])
        scores = [_scores(session, method, seed) for seed in (seeds[:1] if name == "direct" else seeds)]
        found[name] = {task: _mean([s[task] for s in scores]) for task in scores[0]}
    return Gates(**found)


def _scores(session: Session, method: str, seed: int) -> dict[str, float]:
    """Accuracy of one run per in-distribution benchmark."""
    silent = PlainDisplay(lambda line: None, quiet=True)
    record = execute_run(session, run_key(session, method, "", seed), Ticker(silent))
    if record.status not in ("done", "untrained"):
        raise StudentError(f"gates: {method} with seed {seed} ended as {record.status}: {record.reason}")
    titles = {b.task: b.title for b in session.spec.benchmarks}
    return {titles[task]: float(result["value"]) for task, result in record.evaluations.items()}


def _mean(values: Collection[float]) -> float:
    return sum(values) / len(values)
