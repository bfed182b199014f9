"""Run records made up for the tests of tables and reports."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compact_bench.core.records import RunKey, RunRecord
from compact_bench.results.report import ReportFacts
from compact_bench.results.report.sections.figures import draw_figures
from compact_bench.results.report.writer import render_report, row_titles
from compact_bench.results.statistics.contrasts import Contrast
from compact_bench.results.tables.build import Table

TEACHERS = ("alpha", "beta")
REVISION = "rev"


@dataclass(frozen=True)
class Benchmark:
    task: str
    title: str
    group: str


@dataclass(frozen=True)
class Suite:
    name: str
    benchmarks: tuple[Benchmark, ...]

    @property
    def key_name(self) -> str:
        return self.name


SUITE: Any = Suite(
    "svamp",
    (
        Benchmark("svamp", "SVAMP", "in_distribution"),
        Benchmark("addsub", "AddSub", "out_of_distribution"),
        Benchmark("singleeq", "SingleEq", "out_of_distribution"),
        Benchmark("piqa", "PIQA", "retention"),
    ),
)


def key(method: str, variant: str = "", seed: int = 1, **changes: Any) -> RunKey:
    values: dict[str, Any] = {
        "method": method,
        "variant": variant,
        "student": "tiny",
        "student_revision": REVISION,
        "suite": "svamp",
        "suite_fingerprint": "f",
        "profile": "lite",
        "seed": seed,
        "settings": {},
        "results_version": 1,
    }
    return RunKey(**{**values, **changes})


def evaluation(task: str, scores: Sequence[float], ids: Sequence[str] | None = None) -> dict[str, Any]:
    return {
        "task": task,
        "metric": "exact_match",
        "value": sum(scores) / len(scores),
        "n": len(scores),
        "items": list(scores),
        "item_ids": list(ids or [f"{task}/{i:03d}" for i in range(len(scores))]),
        "cache_key": f"key-{task}",
    }


def record(
    method: str, variant: str = "", seed: int = 1, *, rate: float = 0.5, items: int = 40, **changes: Any
) -> RunRecord:
    """A finished run whose items are right at a rate; SingleEq shares its first half with AddSub."""
    run_key = changes.pop("key", key(method, variant, seed))
    draw = random.Random(f"{method}/{variant}/{seed}")
    trained = method != "zero_shot"

    def scores() -> list[float]:
        return [float(draw.random() < rate) for _ in range(items)]

    shared = [f"addsub/{i:03d}" for i in range(items // 2)]
    single = [name.replace("addsub", "singleeq") for name in shared]
    single += [f"singleeq/own{i:03d}" for i in range(items - len(single))]
    values: dict[str, Any] = {
        "key": run_key,
        "status": "done",
        "training": {
            "optimiser_steps": 12 if trained else 0,
            "branches": 48 if trained else 0,
            "tokens": 1000 if trained else 0,
            "total_tokens": 3000 if trained else 0,
            "seconds": 1.5,
            "final_loss": 2.25 if trained else None,
            "excluded": [{"question_id": "q9", "problem": "rationale | too long"}],
            "extra": {"mean_teacher_weights": {"alpha": 0.6, "beta": 0.4}} if method == "compact" else {},
        },
        "weights": {"final": f"{method}{variant}{seed}" if trained else "base", "base": "base"},
        "evaluations": {
            "svamp": evaluation("svamp", scores()),
            "addsub": evaluation("addsub", scores()),
            "singleeq": evaluation("singleeq", scores(), single),
            "piqa": evaluation("piqa", scores()),
        },
        "probes": {
            "drift_nats_per_token": 0.02 if trained else 0.0,
            "weight_change": 0.001 if trained else 0.0,
            "validation_nats": {"after_question": 2.0 + seed / 10, "after_rationale": 1.0},
            "suite_notes": {
                "piqa": {"chance": 0.5, "majority": 0.51},
                "near_duplicates": 140,
                "shared": {"a+b": list("abcdefgh")},
            },
        },
        "provenance": {"code": "abc", "hardware": {"threads": 2}, "started": seed, "seconds": seed * 2.0},
    }
    made = RunRecord(**{**values, **changes})
    # All alike, so that teachers tie unless a test says otherwise.
    return validated(made, 0.5) if method == "single_teacher" and "probes" not in changes else made


def validated(
    run: RunRecord, accuracy: float, *, questions: int = 40, tokens: int | None = None
) -> RunRecord:
    """The same run with answers to validation questions, the first of them right."""
    right = round(accuracy * questions)
    answers = evaluation("validation_answers", [1.0] * right + [0.0] * (questions - right))
    training = {**run.training, **({} if tokens is None else {"tokens": tokens})}
    return replace(run, probes={**run.probes, "validation_accuracy": answers}, training=training)


def all_records(
    seeds: Sequence[int] = (1, 2, 3), rates: Mapping[str, float] | None = None
) -> list[RunRecord]:
    """Runs of every row of Table 2."""
    rates = rates or {}
    found = []
    for seed in seeds:
        for method in ("zero_shot", "uniform", "compact", "compact_released"):
            found.append(record(method, seed=seed, rate=rates.get(method, 0.5)))
        found += [record("single_teacher", teacher, seed) for teacher in TEACHERS]
    return found


def made_contrast(estimate: float, low: float, high: float, p_value: float = 0.01, **more: Any) -> Contrast:
    """A contrast of these numbers; its 90 % interval is the 95 % one."""
    ends = {"low": low, "high": high, "low_90": low, "high_90": high}
    values = {"standard_error": (high - low) / 4, "df": 10.0, "seeds": 5, "items": 1200, **ends, **more}
    return Contrast(estimate=estimate, p_value=p_value, **values)


def render_results(tables: Sequence[Table], records: Sequence[RunRecord], facts: ReportFacts) -> str:
    """The text of RESULTS.md."""
    return render_report(tables, records, facts, draw_figures(records, row_titles(tables)))[0]


def render_details(
    tables: Sequence[Table], records: Sequence[RunRecord], facts: ReportFacts
) -> dict[str, str]:
    """File name -> text of the pages beside RESULTS.md."""
    return render_report(tables, records, facts, draw_figures(records, row_titles(tables)))[1]
