"""Greedy decoding with slots that are filled again as soon as their sequence ends.

The harness decodes a batch until its last sequence ends, pads all of it to the longest prompt, and grows its
cache by copying it for every token. Here a sequence that ends gives its slot to the next prompt, keys and
values are written into memory that is there from the start, and query heads that share a key head read it in
place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from compact_bench.students.compute.packing import attention_named, packing_reason
from compact_bench.students.layout import StudentLayout, find_layout

_NAME = "compact_bench_decoding"
# Settings that greedy decoding does not read, and values at which others change nothing. A student's own
# max_new_tokens goes before the task's longest generation in transformers, so it is not among them.
_IRRELEVANT = {
    "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "max_length", "max_gen_toks",
    "until", "temperature", "top_k", "top_p", "use_cache",
}  # fmt: skip
_LEAST_SHARE = 0.85
"""Of the longest prompt that is read with it, below which a prompt waits for the next pass."""
_LEAST_ROWS = 16
"""Fewer prompts than these take a pass together, whatever their lengths."""
_NEUTRAL: dict[str, Any] = {"num_beams": 1, "repetition_penalty": 1.0}


def generation_reason(model: Any, options: Mapping[str, Any]) -> str:
    """Why greedy decoding with these options, which go before the student's own, cannot take this path, or
    "".
    """
    layout = find_layout(model)
    reason = packing_reason(model, layout)
    if reason:
        return reason
    config = layout.backbone(model).config
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {"full_attention"} or (not kinds and getattr(config, "sliding_window", None) is not None):
        return "the student has layers with sliding-window attention, whose cache is another one"
    configured = model.generation_config.to_diff_dict()
    for name, value in {**configured, **options}.items():
        off = value is None or value is False or value == _NEUTRAL.get(name)
        if off or name in _IRRELEVANT or name.startswith("_"):
            continue
        return f"generation setting {name}={value!r} is not plain greedy decoding"
    return ""


@torch.no_grad()
def generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    stop_ids: Collection[int],
    max_new_tokens: int,
    slots: int,
    finished: Callable[[Sequence[int]], bool],
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[int]]:
    """Greedy continuations.

    Args:
        model: a student's model that `generation_reason` has nothing against.
        prompts: tokens, at least one each.
        stop_ids: tokens that end a sequence; they are part of it.
        max_new_tokens: longest continuation.
        slots: sequences decoded together.
        finished: whether new tokens end a sequence; asked after every token.
        on_done: called with (sequences done, all of them).

    Returns:
        New tokens of each prompt, in order.
    """
    from transformers import AttentionInterface

    if not prompts:
        return []
    capacity = max(len(prompt) for prompt in prompts) + max_new_tokens
    layout = find_layout(model)
    AttentionInterface.register(_NAME, _attention)
    with attention_named(model, layout, _NAME):
        decoder = _Decoder(model, layout, min(slots, len(prompts)), capacity)
        # Long prompts first: what does not fit into memory fails at once.
        waiting = sorted(range(len(prompts)), key=lambda n: -len(prompts[n]))
        new: list[list[int]] = [[] for _ in prompts]
        done = 0
        while waiting or decoder.running:
            free = decoder.slots - len(decoder.running)
            if waiting and free >= max(1, decoder.slots // 8):
                count = _alike(
                    [len(prompts[n]) for n in waiting[:free]], max(_LEAST_ROWS, decoder.slots // 8)
                )
                chosen, waiting = waiting[:count], waiting[count:]
                tokens = decoder.start(chosen, [prompts[n] for n in chosen])
            else:
                chosen = list(decoder.running)
                tokens = decoder.step([new[n][-1] for n in chosen])
            for number, token in zip(chosen, tokens, strict=True):
                new[number].append(token)
                if token in stop_ids or len(new[number]) >= max_new_tokens or finished(new[number]):
                    decoder.stop(number)
                    done += 1
                    on_done(done, len(prompts))
    return new


def _alike(lengths: Sequence[int], least: int) -> int:
    """How many of the first prompts, longest first, are read together: padding to the longest is computed."""
    near = sum(length >= _LEAST_SHARE * lengths[0] for length in lengths)
    return min(len(lengths), max(near, least))


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    memory: _Memory,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer as transformers calls it; keys and values go into the memory."""
    attended = memory.attend(module.layer_idx, query, key, value, scaling)
    return attended.transpose(1, 2), None


@dataclass
class _Memory:
    """Keys and values of all slots, and where the present forward pass reads and writes.

    Attributes:
        keys, values: per layer Float[Tensor, "slots kv_heads capacity head_dim"].
        slots: Int[Tensor, "rows"], slots of the pass's rows; the first ones in order when decoding.
        lengths: Int[Tensor, "rows"], tokens before this one when decoding; None when prompts are read.
        bias: Float[Tensor, "rows 1 1 keys"], what decoding adds to scores: minus infinity past a row's end.
    """

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    slots: Tensor | None = None
    lengths: Tensor | None = None
    bias: Tensor | None = None

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """Float[Tensor, "rows heads tokens head_dim"]; prompts are right-padded, so that causal is enough."""
        keys, values = self.keys[layer], self.values[layer]
        grouped = query.shape[1] != key.shape[1]
        if self.lengths is None:
            keys[self.slots, :, : key.shape[2]] = key
            values[self.slots, :, : key.shape[2]] = value
            return scaled_dot_product_attention(
                query, key, value, is_causal=True, scale=scaling, enable_gqa=grouped
            )
        assert self.bias is not None
        rows, heads, _, width = query.shape
        keys[self.slots, :, self.lengths] = key[:, :, 0]
        values[self.slots, :, self.lengths] = value[:, :, 0]
        longest = self.bias.shape[-1]
        # The query heads of a key head are its queries.
        attended = scaled_dot_product_attention(
            query.view(rows, key.shape[1], -1, width),
            keys[:rows, :, :longest],
            values[:rows, :, :longest],
            attn_mask=self.bias,
            scale=scaling,
        )
        return attended.reshape(rows, heads, 1, width)


class _Decoder:
    """Slots, who is in them, and forward passes over them. Those in use are always the first ones."""

    def __init__(self, model: Any, layout: StudentLayout, slots: int, capacity: int) -> None:
        self.slots = slots
        self.running: list[int] = []
        self._lengths: list[int] = []
        self._model = model
        self._layout = layout
        self._backbone = layout.backbone(model)
        parameter = next(model.parameters())
        self._device = parameter.device
        shape = (slots, layout.kv_heads, capacity, layout.head_dim)
        layers = range(len(self._backbone.layers))
        self._memory = _Memory(
            [torch.zeros(shape, dtype=parameter.dtype, device=self._device) for _ in layers],
            [torch.zeros(shape, dtype=parameter.dtype, device=self._device) for _ in layers],
        )

    def start(self, numbers: Sequence[int], prompts: Sequence[Sequence[int]]) -> list[int]:
        """Put prompts into free slots; returns the first new token of each."""
        first = len(self.running)
        self._memory.slots = torch.arange(first, first + len(numbers), device=self._device)
        self._memory.lengths = self._memory.bias = None
        longest = max(len(prompt) for prompt in prompts)
        ids = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts])
        positions = torch.arange(longest)[None].expand(len(prompts), -1)
        last = torch.tensor([len(prompt) - 1 for prompt in prompts])
        hidden = self._forward(ids, positions)[torch.arange(len(prompts)), last]
        self.running += numbers
        self._lengths += [len(prompt) for prompt in prompts]
        return self._likeliest(hidden)

    def step(self, tokens: Sequence[int]) -> list[int]:
        """The next token of every running sequence, given its last one."""
        lengths = torch.tensor(self._lengths, device=self._device)
        places = torch.arange(max(self._lengths) + 1, device=self._device)
        past = places[None] > lengths[:, None]
        self._memory.slots = torch.arange(len(tokens), device=self._device)
        self._memory.lengths = lengths
        bias = torch.zeros(past.shape, dtype=self._memory.keys[0].dtype, device=self._device)
        self._memory.bias = bias.masked_fill_(past, float("-inf"))[:, None, None]
        hidden = self._forward(torch.tensor(tokens)[:, None], lengths[:, None])[:, 0]
        self._lengths = [length + 1 for length in self._lengths]
        return self._likeliest(hidden)

    def stop(self, number: int) -> None:
        """Free a sequence's slot; the last one in use moves into it."""
        hole, last = self.running.index(number), len(self.running) - 1
        if hole != last:
            used = self._lengths[last]
            for tensor in (*self._memory.keys, *self._memory.values):
                tensor[hole, :, :used] = tensor[last, :, :used]
            self.running[hole], self._lengths[hole] = self.running[last], self._lengths[last]
        self.running.pop()
        self._lengths.pop()

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        output = self._backbone(
            input_ids=ids.to(self._device),
            position_ids=positions.to(self._device),
            # Four dimensions keep transformers from making a mask; nothing can read this one by mistake.
            attention_mask=torch.empty(0, 0, 0, 0, device=self._device),
            use_cache=False,
            memory=self._memory,
        )
        states: Tensor = output.last_hidden_state
        return states

    def _likeliest(self, hidden: Tensor) -> list[int]:
        chosen: list[int] = self._layout.logits(self._model, hidden).argmax(dim=-1).tolist()
        return chosen
