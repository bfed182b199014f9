"""The harness's vLLM model class, for task files that transformers reads too."""

from __future__ import annotations

from typing import Any

from lm_eval.models.vllm_causallms import VLLM


class GreedyVLLM(VLLM):  # type: ignore[misc]  # lm_eval has no type hints
    """Greedy decoding by vLLM; the texts are those that transformers' decoding would be cut from."""

    @staticmethod
    def modify_gen_kwargs(*args: Any, **kwargs: Any) -> tuple[dict[str, Any], list[str], int]:
        """Sampling parameters without what vLLM refuses, stop sequences, longest generation."""
        options, until, longest = VLLM.modify_gen_kwargs(*args, **kwargs)
        # One beam, which the task files say to transformers, is no parameter of vLLM's sampling.
        return (
            {n: v for n, v in options.items() if n != "num_beams"} | {"skip_special_tokens": True},
            until,
            longest,
        )
