"""The harness's own model class with two parts replaced: scoring options, and decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text

from compact_bench.evaluation.engines.choices import Continuation, score_continuations
from compact_bench.evaluation.engines.generation import generate
from compact_bench.evaluation.engines.stopping import is_over, stop_ids
from compact_bench.students.layout import StudentLayout

OnDone = Callable[[int, int], None]


class FastModel(HFLM):  # type: ignore[misc]  # lm_eval has no type hints
    """A student for the harness, which encodes a shared context once and keeps its decoding slots full.

    Requests, tokenisation, templates, stop sequences and metrics are the harness's.
    """

    def __init__(self, layout: StudentLayout, **options: Any) -> None:
        super().__init__(**options)
        self._layout = layout
        self.on_done: OnDone = lambda done, total: None

    def _loglikelihood_tokens(
        self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        wanted = []
        for _, context, tokens in requests:
            # As the harness cuts what is too long: on the left, and the last token is only predicted.
            whole = (*context, *tokens)[-(self.max_length + 1) :]
            wanted.append(Continuation(whole[: -len(tokens)], tuple(tokens)))
        return score_continuations(
            self.model,
            self._layout,
            wanted,
            batch_size=int(self.batch_size),
            on_done=lambda done: self.on_done(done, len(wanted)),
        )

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Texts for all requests, in order."""
        texts: list[str] = [""] * len(requests)
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(number)
        for numbers in groups.values():
            options = requests[numbers[0]].args[1]
            generated = self._generate([requests[n].args[0] for n in numbers], options)
            for number, text in zip(numbers, generated, strict=True):
                texts[number] = text
        return texts

    def _generate(self, contexts: Sequence[str], options: Mapping[str, Any]) -> list[str]:
        kwargs = normalize_gen_kwargs(dict(options), self.max_gen_toks)
        longest = int(kwargs["max_gen_toks"])
        eos = self.tok_decode(self.eot_token_id, skip_special_tokens=False)
        until = handle_stop_sequences(kwargs.get("until"), eos=eos)
        # Each on its own, so that none is padded.
        prompts = [
            self.tok_batch_encode(
                [context], left_truncate_len=self.max_length - longest, truncation=self.truncation
            )[0][0].tolist()
            for context in contexts
        ]
        generated = generate(
            self.model,
            prompts,
            stop_ids=stop_ids(self.model),
            max_new_tokens=longest,
            slots=int(self.batch_size),
            # The end token itself is among the stop ids.
            finished=is_over(self.tok_decode, [stop for stop in until if stop != eos]),
            on_done=self.on_done,
        )
        return [postprocess_generated_text(self.tok_decode(ids), until, None) for ids in generated]
