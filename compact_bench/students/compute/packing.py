"""Shared prompts and the token rows that follow them, in one forward pass without padding or a dense mask.

All tokens lie behind each other in one long row, so that the linear layers see every token once. Only
attention knows about rows: a function registered with transformers' attention interface gathers each tail
behind its prompt and runs SDPA over tails of about the same length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from compact_bench.students.compute.packing_plan import (
    AttentionCall,
    PackedRow,
    PackingPlan,
    lay_out,
    make_plan,
)
from compact_bench.students.layout import StudentLayout

_NAME = "compact_bench_packed"


def packing_reason(model: nn.Module, layout: StudentLayout) -> str:
    """Why a student's branches cannot share a prompt in one row, or ""."""
    if layout.packing_reason:
        return layout.packing_reason
    implementation = layout.backbone(model).config._attn_implementation
    if implementation in ("sdpa", _NAME):
        return ""
    return f"attention implementation {implementation!r} is not replaced by the packed one, only 'sdpa' is"


@contextmanager
def packed_attention(model: nn.Module, layout: StudentLayout) -> Iterator[None]:
    """Attention that understands packed rows inside; ordinary calls go to SDPA as before.

    A backward pass that recomputes activations must lie inside too.

    Args:
        model: a student's model that `packing_reason` has nothing against.
    """
    _register()
    with attention_named(model, layout, _NAME):
        yield


@contextmanager
def attention_named(model: nn.Module, layout: StudentLayout, name: str) -> Iterator[None]:
    """A model computes attention by another function that transformers' interface has under this name."""
    config = layout.backbone(model).config
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)


def packed_hidden(model: nn.Module, layout: StudentLayout, rows: Sequence[PackedRow]) -> list[list[Tensor]]:
    """Hidden states after the final norm where tails are predicted, from one forward pass.

    Returns:
        Per row and tail Float[Tensor, "T+1 hidden"]: the last prompt token, then the tail (and its
        filler), so that state j predicts token j of the tail.
    """
    return [
        [torch.cat([prompt[-1:], tail]) for tail in tails]
        for prompt, tails in packed_states(model, layout, rows)
    ]


def packed_states(
    model: nn.Module, layout: StudentLayout, rows: Sequence[PackedRow]
) -> list[tuple[Tensor, list[Tensor]]]:
    """Hidden states after the final norm of all tokens, from one forward pass.

    Args:
        model: a student's model that `packing_reason` has nothing against.

    Returns:
        Per row Float[Tensor, "P hidden"] of the prompt, and per tail Float[Tensor, "T hidden"] with its
        filler behind it.
    """
    device = next(model.parameters()).device
    ids, positions, tails = lay_out(rows)
    plan = make_plan([tail for of_row in tails for tail in of_row], len(ids), layout.kv_heads, device)
    with packed_attention(model, layout):
        output = layout.backbone(model)(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([positions], device=device),
            # Four dimensions keep transformers from making a mask; nothing can read this one by mistake.
            attention_mask=torch.empty(0, 0, 0, 0, device=device),
            use_cache=False,
            packing_plan=plan,
        )
    sizes = [
        [len(row.prompt), *(tail.length + tail.filler for tail in of_row)]
        for row, of_row in zip(rows, tails, strict=True)
    ]
    pieces = iter(output.last_hidden_state[0].split([size for of_row in sizes for size in of_row]))
    return [(next(pieces), [next(pieces) for _ in of_row[1:]]) for of_row in sizes]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing_plan: PackingPlan | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer as transformers calls it.

    Args:
        query, key, value: Float[Tensor, "1 heads tokens head_dim"], keys and values with fewer heads.
        attention_mask: of ordinary calls; packed rows have none.
        packing_plan: how packed rows are computed; None is an ordinary call.

    Returns:
        Float[Tensor, "1 tokens heads head_dim"] and no attention weights.
    """
    if packing_plan is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended: Tensor = sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            sliding_window=sliding_window,
            **options,
        )[0]
        return attended, None
    outputs = [
        _one_call(call, query, key, value, dropout, scaling, call.mask(sliding_window))
        for call in packing_plan.calls
    ]
    together = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return together.index_select(0, packing_plan.outputs).view(1, -1, query.shape[1], query.shape[-1]), None


def _one_call(
    call: AttentionCall,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout: float,
    scaling: float | None,
    mask: Tensor | None,
) -> Tensor:
    """Outputs of one call's rows, Float[Tensor, "rows*queries group*head_dim"]."""
    width, group = query.shape[-1], query.shape[1] // key.shape[1]
    # Query heads that share a key head lie behind each other, so that keys are read in place, not repeated.
    queries, keys, values = (
        _by_token_and_key_head(heads, key.shape[1]).index_select(0, places).unflatten(0, (call.rows, -1))
        for heads, places in ((query, call.queries), (key, call.keys), (value, call.keys))
    )
    attended = scaled_dot_product_attention(
        queries.unflatten(-1, (group, width)).transpose(1, 2),
        keys[:, None].expand(-1, group, -1, -1),
        values[:, None].expand(-1, group, -1, -1),
        attn_mask=mask,
        is_causal=mask is None,
        dropout_p=dropout,
        scale=scaling,
    )
    return attended.transpose(1, 2).reshape(-1, group * width)


def _by_token_and_key_head(heads: Tensor, kv_heads: int) -> Tensor:
    """Float[Tensor, "tokens*kv_heads group*head_dim"] of Float[Tensor, "1 heads tokens head_dim"]."""
    tokens = heads.shape[2]
    return heads[0].transpose(0, 1).reshape(tokens * kv_heads, -1)
