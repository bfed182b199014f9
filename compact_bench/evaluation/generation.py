"""Greedy decoding with slots that are filled again as soon as their sequence ends.

The harness decodes a batch until its last sequence ends, pads all of it to the longest prompt, and grows its
cache by copying it for every token. Here a sequence that ends gives its slot to the next prompt, what all
prompts begin with is computed once, keys and values are written into memory that is there from the start,
query heads that share a key head read it in place, and weights are laid out once as products read them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from compact_bench.hardware import available_memory_bytes
from compact_bench.layout import StudentLayout, find_layout
from compact_bench.packing import packing_reason

__all__ = ["generate", "generation_reason"]

_NAME = "compact_bench_decoding"
# Tokens of prompts read in one pass, padding included: a bound on memory.
_READ_TOKENS = 4096
# Settings that greedy decoding does not read, and values at which others change nothing. A student's own
# max_new_tokens goes before the task's longest generation in transformers, so it is not among them.
_IRRELEVANT = {
    "bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "max_length", "max_gen_toks",
    "until", "temperature", "top_k", "top_p", "use_cache",
}  # fmt: skip
_NEUTRAL: dict[str, Any] = {"num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1.0}


def generation_reason(model: Any, options: Mapping[str, Any]) -> str:
    """Why a student's greedy decoding cannot take this path, or "".

    Args:
        model: the student's model.
        options: the task's generation settings, which go before the student's own.
    """
    layout = find_layout(model)
    reason = packing_reason(model, layout)
    if reason:
        return reason
    config = layout.backbone(model).config
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {"full_attention"} or (not kinds and getattr(config, "sliding_window", None) is not None):
        return "the student has layers with sliding-window attention, whose cache is another one"
    own = model.generation_config.to_diff_dict()
    for name, value in {**own, **options}.items():
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
    if not prompts:
        return []
    capacity = max(len(prompt) for prompt in prompts) + max_new_tokens
    layout = find_layout(model)
    with _decoding_attention(model, layout), _laid_out_weights(model):
        decoder = _Decoder(model, layout, min(slots, len(prompts)), capacity)
        decoder.share(prompts[0][: _shared_length(prompts)])
        # Long prompts first: what does not fit into memory fails at once.
        waiting = sorted(range(len(prompts)), key=lambda n: -len(prompts[n]))
        new: list[list[int]] = [[] for _ in prompts]
        done = 0
        while waiting or decoder.running:
            if waiting and decoder.free >= max(1, decoder.slots // 8):
                fitting = min(decoder.free, max(1, _READ_TOKENS // len(prompts[waiting[0]])))
                chosen, waiting = waiting[:fitting], waiting[fitting:]
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


def _shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; each keeps at least one of its own."""
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    most = min(map(len, prompts)) - 1
    return next((n for n in range(most) if first[n] != last[n]), most)


@contextmanager
def _decoding_attention(model: nn.Module, layout: StudentLayout) -> Iterator[None]:
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attention)
    config = layout.backbone(model).config
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def _laid_out_weights(model: nn.Module) -> Iterator[None]:
    """Linear layers in float32 on CPUs read copies of their weights in oneDNN's own order inside.

    With the few rows of decoding, products take two thirds of the time then. Where memory does not allow
    for the copies twice over, layers stay as they are.
    """
    linear: list[Any] = [
        m for m in model.modules() if type(m) is nn.Linear and m.weight.dtype == torch.float32
    ]
    linear = [m for m in linear if m.weight.device.type == "cpu" and "forward" not in vars(m)]
    free = available_memory_bytes()
    needed = sum(m.weight.nbytes for m in linear)
    if not torch.backends.mkldnn.is_available() or free is None or 2 * needed > free:
        linear = []
    for module in linear:
        module.forward = _laid_out_linear(module)
    try:
        yield
    finally:
        for module in linear:
            del module.forward


def _laid_out_linear(module: nn.Linear) -> Callable[[Tensor], Tensor]:
    # What torch.compile makes of a linear layer whose weights are frozen. The order is the same for any rows.
    weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), 32)

    def forward(x: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, module.bias, "none", [], "")
        return found

    return forward


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
    found = memory.attend(module.layer_idx, query, key, value, scaling)
    return found.transpose(1, 2), None


@dataclass
class _Memory:
    """Keys and values of all slots, and where the present forward pass reads and writes.

    Attributes:
        keys, values: per layer Float[Tensor, "slots kv_heads capacity head_dim"].
        first: slot of the pass's first row; the others lie behind it.
        start: position of each row's first token when prompts are read.
        lengths: Int[Tensor, "rows"], tokens before this one when decoding; None when prompts are read.
        bias: what is added to scores, minus infinity where nothing may be seen: when decoding
            Float[Tensor, "rows 1 1 keys"], else Float[Tensor, "tokens keys"], or None for plain causal.
    """

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    first: int = 0
    start: int = 0
    lengths: Tensor | None = None
    bias: Tensor | None = None

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """Float[Tensor, "rows heads tokens head_dim"] of queries, keys and values of that form."""
        place = slice(self.first, self.first + len(key))
        keys, values = self.keys[layer][place], self.values[layer][place]
        attend = self._read if self.lengths is None else self._decode
        return attend(keys, values, query, key, value, scaling).reshape(query.shape)

    def _read(
        self, keys: Tensor, values: Tensor, query: Tensor, key: Tensor, value: Tensor, scaling: float | None
    ) -> Tensor:
        """Prompts are padded on the right, so that causal is enough."""
        kv_heads, tokens, width = key.shape[1:]
        end = self.start + tokens
        keys[:, :, self.start : end] = key
        values[:, :, self.start : end] = value
        group = query.shape[1] // kv_heads
        # A key head is repeated without a copy: rows and key heads become one dimension first.
        seen_keys, seen_values = (
            x.flatten(0, 1)[:, None, :end].expand(-1, group, -1, -1) for x in (keys, values)
        )
        return scaled_dot_product_attention(
            query.reshape(-1, group, tokens, width),
            seen_keys,
            seen_values,
            attn_mask=self.bias,
            is_causal=self.bias is None,
            scale=scaling,
        )

    def _decode(
        self, keys: Tensor, values: Tensor, query: Tensor, key: Tensor, value: Tensor, scaling: float | None
    ) -> Tensor:
        assert self.lengths is not None and self.bias is not None
        rows = torch.arange(len(key), device=key.device)
        keys[rows, :, self.lengths] = key[:, :, 0]
        values[rows, :, self.lengths] = value[:, :, 0]
        longest = self.bias.shape[-1]
        # The query heads of a key head are its queries.
        return scaled_dot_product_attention(
            query.reshape(len(key), key.shape[1], -1, key.shape[-1]),
            keys[:, :, :longest],
            values[:, :, :longest],
            attn_mask=self.bias,
            scale=scaling,
        )


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
        # Zeros, because what is masked is multiplied by zero and must be a number.
        self._memory = _Memory(
            [torch.zeros(shape, dtype=parameter.dtype, device=self._device) for _ in layers],
            [torch.zeros(shape, dtype=parameter.dtype, device=self._device) for _ in layers],
        )

    @property
    def free(self) -> int:
        """Slots that nobody is in."""
        return self.slots - len(self.running)

    def share(self, beginning: Sequence[int]) -> None:
        """Read what all prompts begin with, once for all slots."""
        if not beginning:
            return
        self._read([beginning], 0)
        self._memory.start = len(beginning)
        for tensor in (*self._memory.keys, *self._memory.values):
            tensor[1:, :, : len(beginning)] = tensor[:1, :, : len(beginning)]

    def start(self, numbers: Sequence[int], prompts: Sequence[Sequence[int]]) -> list[int]:
        """Put prompts into free slots; returns the first new token of each."""
        own = [prompt[self._memory.start :] for prompt in prompts]
        last = torch.tensor([len(tokens) - 1 for tokens in own], device=self._device)
        hidden = self._read(own, len(self.running))
        self.running += numbers
        self._lengths += [len(prompt) for prompt in prompts]
        return self._likeliest(hidden[torch.arange(len(own), device=self._device), last])

    def _read(self, rows: Sequence[Sequence[int]], first: int) -> Tensor:
        """States of tokens behind the shared beginning, padded on the right, in slots from the first on."""
        longest = max(map(len, rows))
        start = self._memory.start
        own = torch.arange(start, start + longest, device=self._device)
        self._memory.first, self._memory.lengths, self._memory.bias = first, None, None
        if start:
            self._memory.bias = self._hidden(own)
        ids = torch.tensor([[*tokens, *[0] * (longest - len(tokens))] for tokens in rows])
        return self._forward(ids, own[None].expand(len(rows), -1))

    def step(self, tokens: Sequence[int]) -> list[int]:
        """The next token of every running sequence, given its last one."""
        lengths = torch.tensor(self._lengths, device=self._device)
        self._memory.first, self._memory.lengths = 0, lengths
        self._memory.bias = self._hidden(lengths)[:, None, None]
        hidden = self._forward(torch.tensor(tokens)[:, None], lengths[:, None])[:, 0]
        self._lengths = [length + 1 for length in self._lengths]
        return self._likeliest(hidden)

    def _hidden(self, own: Tensor) -> Tensor:
        """Float[Tensor, "queries keys"]: minus infinity at positions after each query's own."""
        places = torch.arange(int(own.max()) + 1, device=self._device)
        bias = torch.zeros(len(own), len(places), dtype=self._memory.keys[0].dtype, device=self._device)
        return bias.masked_fill_(places > own[:, None], -torch.inf)

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
        # In float32 as transformers does, whose ties are those of that type.
        chosen: list[int] = self._layout.logits(self._model, hidden).float().argmax(dim=-1).tolist()
        return chosen
