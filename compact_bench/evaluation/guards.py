"""Measure a student without leaving a trace: modes, tokenizer, logs and bars are put back afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def read_only(*models: nn.Module) -> Iterator[None]:
    """Inside: evaluation mode, no gradients. Afterwards every module has its former mode again."""
    import torch

    modes = [(module, module.training) for model in models for module in model.modules()]
    for model in models:
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def unchanged_tokenizer(tokenizer: Any) -> Iterator[None]:
    """Restore the padding settings of a tokenizer, which the harness sets where they are missing."""
    pad_token, side = tokenizer.pad_token, tokenizer.padding_side
    try:
        yield
    finally:
        tokenizer.padding_side = side
        if tokenizer.pad_token != pad_token:
            tokenizer.pad_token = pad_token


@contextmanager
def unchanged_generators() -> Iterator[None]:
    """Restore the states of Python's, numpy's and torch's (CPU) random generators.

    Greedy decoding draws nothing, but the harness makes up names with Python's generator.
    """
    import random

    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _without_display(bar: Any) -> Any:
    def hidden(*args: Any, **options: Any) -> Any:
        return bar(*args, **{**options, "disable": True})

    return hidden


@contextmanager
def quiet_harness() -> Iterator[None]:
    """No log line below error, no progress bar from lm_eval and transformers inside.

    The harness gives no option for the bar it shows while it builds prompts, so its module's name for
    the bar is replaced for the time being; bars of other code stay.
    """
    import lm_eval.api.model as model_module
    import lm_eval.api.task as task_module
    import lm_eval.models.huggingface as hf_module

    loggers = [logging.getLogger(name) for name in ("lm_eval", "transformers", "datasets")]
    levels = [logger.level for logger in loggers]
    modules: list[Any] = [model_module, task_module, hf_module]
    bars = [module.tqdm for module in modules]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    for module, bar in zip(modules, bars, strict=True):
        module.tqdm = _without_display(bar)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for module, bar in zip(modules, bars, strict=True):
            module.tqdm = bar
