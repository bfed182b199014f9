"""What evaluates a task: the fast engine, lm-evaluation-harness as it is, or vLLM."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compact_bench.core.errors import ConfigError, StudentError
from compact_bench.core.settings import EvalSettings
from compact_bench.evaluation.engines.generation import generation_reason
from compact_bench.evaluation.engines.stopping import stopping_reason
from compact_bench.evaluation.guards import quiet_harness, read_only
from compact_bench.evaluation.task_files import template_knows_thinking
from compact_bench.students.compute.packing import packing_reason
from compact_bench.students.layout import find_layout

OnDone = Callable[[int, int], None]


@dataclass(frozen=True)
class EnginePath:
    """What evaluates a task.

    Attributes:
        engine: "fast", the plain "harness", or "vllm".
        reason: why the plain harness although the fast engine was requested, or "".
    """

    engine: Literal["fast", "harness", "vllm"]
    reason: str = ""


def choose_path(
    model: Any,
    tokenizer: Any,
    wanted: Literal["fast", "harness", "vllm"],
    *,
    generation: bool,
    options: Mapping[str, Any],
) -> EnginePath:
    """How a task is evaluated.

    Args:
        wanted: the setting `eval.engine`; vLLM only generates, options are scored by the fast engine.
        generation: whether the student writes answers.
        options: the task's generation settings.

    Raises:
        ConfigError: vLLM is requested and not available.
    """
    if wanted == "harness":
        return EnginePath("harness")
    if wanted == "vllm" and generation:
        _need_vllm(model)
        return EnginePath("vllm")
    # Unlike a missing vLLM, what the fast engine cannot do is no error: the plain harness can do it.
    try:
        reason = packing_reason(model, find_layout(model))
    except StudentError as error:
        reason = str(error)
    if generation and not reason:
        reason = generation_reason(model, options)
        reason = reason or stopping_reason(model, tokenizer, options.get("until", ()))
    return EnginePath("harness", reason) if reason else EnginePath("fast")


def _need_vllm(model: Any) -> None:
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "eval.engine=vllm: expected the package vllm, got none. Install it (`pip install vllm`), or use "
            "eval.engine=fast."
        )
    device = next(model.parameters()).device.type
    if device != "cuda":
        raise ConfigError(f"eval.engine=vllm: expected a GPU, got {device}. Use eval.engine=fast.")


class Engines:
    """The harness's model objects for one student, each made when it is first needed.

    Args:
        model: the student's model, with merged weights.
    """

    def __init__(self, model: Any, tokenizer: Any, settings: EvalSettings) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._settings = settings
        self._made: dict[str, Any] = {}

    def get(self, path: EnginePath, on_done: OnDone = lambda done, total: None) -> Any:
        """The object that `lm_eval.evaluate` takes as its model; `on_done` gets (requests answered,
        requests).
        """
        if path.engine not in self._made:
            make = {"fast": self._fast, "harness": self._harness, "vllm": self._vllm}[path.engine]
            with quiet_harness(), read_only(self._model):
                self._made[path.engine] = make()
        engine = self._made[path.engine]
        if path.engine == "fast":
            engine.on_done = on_done
        return engine

    def _thinking(self) -> dict[str, Any]:
        known = template_knows_thinking(self._tokenizer.chat_template)
        return {"enable_thinking": False} if known else {}

    def _harness(self) -> Any:
        from lm_eval.models.huggingface import HFLM

        return HFLM(
            pretrained=self._model,
            tokenizer=self._tokenizer,
            batch_size=self._settings.batch_size,
            **self._thinking(),
        )

    def _fast(self) -> Any:
        from compact_bench.evaluation.engines.fast_model import FastModel

        return FastModel(
            find_layout(self._model),
            pretrained=self._model,
            tokenizer=self._tokenizer,
            batch_size=self._settings.batch_size,
            **self._thinking(),
        )

    def _vllm(self) -> Any:
        """vLLM on a temporary copy of the merged student, which it has read when it is there."""
        from compact_bench.evaluation.engines.vllm_model import GreedyVLLM

        with tempfile.TemporaryDirectory(prefix="compact_bench_vllm_") as folder:
            for part in (self._model, self._tokenizer):
                part.save_pretrained(Path(folder))
            return GreedyVLLM(
                pretrained=folder,
                max_gen_toks=self._settings.max_new_tokens,
                trust_remote_code=False,
                dtype=str(self._model.dtype).removeprefix("torch."),
                **self._thinking(),
            )
