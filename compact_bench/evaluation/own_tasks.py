"""Evaluates a task of a user's own YAML: the harness's task as it is, scores per item as for every task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_bench.core.errors import CompactBenchError, ConfigError
from compact_bench.core.settings import EvalSettings
from compact_bench.data.files.task_yaml import KINDS, OWN, load_task, score_of, task_code

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
        try:
            output = run({self.name: task}, len(rows))
        except CompactBenchError:
            raise
        except Exception as error:
            raise ConfigError(f"{self.path}: it fails with {type(error).__name__}: {error}") from error
        samples = [s for s in output["samples"][self.name] if s["filter"] == self.filter]
        samples.sort(key=lambda sample: int(sample["doc_id"]))
        if len(samples) != len(rows):
            raise AssertionError("the harness gave other items than the rows it was given")
        self._check_room(rows, samples, harness)
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

    def _check_room(self, rows: Rows, samples: Sequence[Mapping[str, Any]], harness: Any) -> None:
        """Refuse prompts that the harness had to cut on the left without a word."""
        long = []
        for row, sample in zip(rows, samples, strict=True):
            for prompt, rest in sample["arguments"]:
                more = (
                    int(rest["max_gen_toks"]) if isinstance(rest, Mapping) else len(harness.tok_encode(rest))
                )
                if len(harness.tok_encode(prompt)) + more > harness.max_length:
                    long.append(str(row["id"]))
                    break
        if long:
            raise ConfigError(
                f"{self.path}: expected prompt and answer within the student's {harness.max_length}"
                f" tokens, got more for {len(long)} item(s): {', '.join(long[:10])}. Ask with fewer "
                "examples, lower max_gen_toks, or leave these items out."
            )


def own_task(rows: Rows) -> OwnTask | None:
    """The user's own task that rows belong to, or None where they are a packaged task's."""
    return OwnTask(rows) if rows and OWN in rows[0] else None
