"""Evaluates a task of a user's own YAML: the harness's task as it is, scores per item as for every task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compact_bench.core.errors import CompactBenchError, ConfigError
from compact_bench.core.settings import EvalSettings
from compact_bench.data.files.task_yaml import KINDS, OWN, load_task, score_of, task_code
from compact_bench.evaluation.room import check_own_room

Rows = Sequence[Mapping[str, Any]]
RunHarness = Callable[[Mapping[str, Any], int], Mapping[str, Any]]
"""(task objects by name, number of items) -> what `lm_eval.evaluate` returns."""


def run_harness(harness: Any, tasks: Mapping[str, Any], limit: int | None = None) -> Mapping[str, Any]:
    """What `lm_eval.evaluate` returns for tasks by name, at most `limit` items of each."""
    from lm_eval import evaluate

    # `simple_evaluate` would seed this process's generators and call pip, git and the compiler for its
    # report; the numbers come from here either way.
    output: Mapping[str, Any] = evaluate(
        lm=harness,
        task_dict={"tasks": tasks},
        limit=limit,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
    )
    return output


class OwnTask:
    """The task that rows of `task_yaml.task_rows` belong to.

    Args:
        rows: at least one of them.
    """

    def __init__(self, rows: Rows) -> None:
        own = rows[0][OWN]
        self.path, self.name, self.prefix = Path(own["file"]), str(own["task"]), str(own.get("prefix", ""))
        self.metric, _, self.filter = str(own["metric"]).partition(",")

    def load(self, settings: EvalSettings) -> Any:
        """The harness's task object; a generation's length is the settings' where the YAML has none."""
        return load_task(self.path, settings.max_new_tokens, self.prefix)

    def decoding(self, settings: EvalSettings) -> tuple[bool, dict[str, Any]]:
        """Whether the student writes the answer, and the decoding settings if it does."""
        config = self.load(settings).config
        generation = config.output_type == KINDS[0]
        return generation, dict(config.generation_kwargs or {}) if generation else {}

    def mark(self) -> dict[str, str]:
        """What tells results of other definitions apart: YAML and functions, the metric, the prefix."""
        return {**task_code(self.path), "metric": f"{self.metric},{self.filter}", "prefix": self.prefix}

    def scores(
        self, rows: Rows, settings: EvalSettings, harness: Any, run: RunHarness
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Every item's result, in order, and the means of the other metrics that are numbers per item.

        Raises:
            ConfigError: a prompt does not fit into the student's context, a function of the task fails, or a
                score is none.
        """
        task = self.load(settings)
        with self._named():
            output = run({self.name: task}, len(rows))
        samples = [s for s in output["samples"][self.name] if s["filter"] == self.filter]
        samples.sort(key=lambda sample: int(sample["doc_id"]))
        if len(samples) != len(rows):
            raise AssertionError("the harness gave other items than the rows it was given")
        requests = [sample["arguments"] for sample in samples]
        check_own_room(str(self.path), [str(row["id"]) for row in rows], requests, harness)
        items = [self._item(task, row, sample) for row, sample in zip(rows, samples, strict=True)]
        mean = math.fsum(item["score"] for item in items) / len(items)
        stated = float(output["results"][self.name][f"{self.metric},{self.filter}"])
        if not math.isclose(mean, stated, abs_tol=1e-9):
            raise AssertionError(f"the harness states {stated} as the mean of scores whose mean is {mean}")
        others: dict[str, float] = {}
        for name in samples[0]["metrics"]:
            values = [sample[name] for sample in samples]
            if name != self.metric and all(isinstance(v, bool | int | float) for v in values):
                others[str(name)] = math.fsum(map(float, values)) / len(values)
        return items, others

    def _item(self, task: Any, row: Mapping[str, Any], sample: Mapping[str, Any]) -> dict[str, Any]:
        score = score_of(self.path, self.metric, sample[self.metric])
        kept = {"id": str(row["id"]), "prompt": sample["arguments"][0][0]}
        if "choices" not in row:
            answer = sample["filtered_resps"][0]
            written = str(sample["resps"][0][0])
            return {
                **kept,
                "generation": written,
                "gold": row["answer"],
                "prediction": None if answer is None else str(answer),
                "score": score,
            }
        loglikelihoods = [float(response[0]) for response in sample["filtered_resps"]][: len(row["choices"])]
        if not all(map(math.isfinite, loglikelihoods)):
            raise ConfigError(
                f"{self.path}, item {row['id']}: expected finite log-likelihoods, got {loglikelihoods}"
            )
        predicted = max(range(len(loglikelihoods)), key=loglikelihoods.__getitem__)
        return {
            **kept,
            "choices": list(row["choices"]),
            "loglikelihoods_nats": loglikelihoods,
            "gold": row["choices"][row["label"]],
            "prediction": row["choices"][predicted],
            "score": score,
        }

    def check_room(self, task: str, rows: Rows, settings: EvalSettings, harness: Any) -> None:
        """Refuse rows whose prompts do not fit, as `scores` does, without asking the student.

        Args:
            task: the benchmark's name.

        Raises:
            ConfigError: a prompt does not fit into the student's context, or a function of the task fails.
        """
        loaded = self.load(settings)
        with self._named():
            loaded.build_all_requests(
                limit=len(rows),
                apply_chat_template=True,
                fewshot_as_multiturn=True,
                chat_template=harness.apply_chat_template,
                tokenizer_name=harness.tokenizer_name,
            )
        requests: list[list[Any]] = [[] for _ in rows]
        for request in loaded.instances:
            requests[int(request.doc_id)].append(request.args)
        check_own_room(f"task {task} ({self.path})", [str(row["id"]) for row in rows], requests, harness)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What the task's own functions raise, by the file's name."""
        try:
            yield
        except CompactBenchError:
            raise
        except Exception as error:
            raise ConfigError(f"{self.path}: it fails with {type(error).__name__}: {error}") from error


def own_task(rows: Rows) -> OwnTask | None:
    """The user's own task that rows belong to, or None where they are a packaged task's."""
    return OwnTask(rows) if rows and OWN in rows[0] else None
