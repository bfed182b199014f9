"""Where a causal LM keeps what COMPACT reads: decoder layers, last projections, head, chat markers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compact_bench.core.errors import StudentError

_NORM_NAMES = (("q_norm", "k_norm"), ("q_layernorm", "k_layernorm"))
_FINAL_NORMS = ("norm", "final_layernorm")
# Models whose attention is plain causal softmax behind transformers' attention interface, in a window or not.
_PACKABLE = {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3_text", "phi", "phi3"}


def base_model(model: nn.Module) -> Any:
    """The transformers model inside a peft wrapper, or the model itself."""
    getter = getattr(model, "get_base_model", None)
    return getter() if callable(getter) else model


@dataclass(frozen=True)
class StudentLayout:
    """The parts of a student that the scores read. All are looked up anew, so adapters are included.

    Attributes:
        heads, kv_heads, head_dim: attention geometry.
        fused: whether queries, keys and values are one projection (Phi-3), which is sliced.
        normed: names of the query and key norms, or None.
        softcap: final logit soft-capping value, or None.
        packing_reason: why branches of this family cannot share one prompt in one row, or "".
    """

    family: str
    heads: int
    kv_heads: int
    head_dim: int
    fused: bool
    normed: tuple[str, str] | None
    softcap: float | None
    packing_reason: str

    def backbone(self, model: nn.Module) -> Any:
        """The decoder without its head; its output is the hidden state after the final norm."""
        return _backbone(base_model(model))

    def head(self, model: nn.Module) -> Any:
        """The output embedding (`lm_head`)."""
        return base_model(model).get_output_embeddings()

    def logits(self, model: nn.Module, hidden: Tensor) -> Tensor:
        """Logits of hidden states after the final norm, as the model's own forward pass gives them.

        Returns:
            Float[Tensor, "... vocab"], at least float32.
        """
        head = self.head(model)
        out: Tensor = head(hidden.to(head.weight.dtype))
        if out.dtype != torch.float64:
            # bfloat16 has 8 bits: of a log-sum-exp near 20 it would keep steps of an eighth of a nat.
            out = out.float()
        if self.softcap is not None:
            out = torch.tanh(out / self.softcap) * self.softcap
        return out

    def queries_and_keys(self, model: nn.Module, vectors: Tensor, *, norms: bool) -> tuple[Tensor, Tensor]:
        """The last layer's query and key projections of some hidden states, without rotary embedding.

        Args:
            vectors: Float[Tensor, "branches hidden"].
            norms: whether query and key norms are applied where the model has them.

        Returns:
            Float[Tensor, "branches heads head_dim"] and Float[Tensor, "branches kv_heads head_dim"].
        """
        attention = self.backbone(model).layers[-1].self_attn
        rows = vectors.shape[0]
        if self.fused:
            projection = attention.qkv_proj
            both = projection(vectors.to(_weight_dtype(projection)))
            width = self.heads * self.head_dim
            flat_q, flat_k = both[:, :width], both[:, width : width + self.kv_heads * self.head_dim]
        else:
            vectors = vectors.to(_weight_dtype(attention.q_proj))
            flat_q, flat_k = attention.q_proj(vectors), attention.k_proj(vectors)
        q = flat_q.view(rows, self.heads, self.head_dim)
        k = flat_k.view(rows, self.kv_heads, self.head_dim)
        if norms and self.normed is not None:
            q, k = getattr(attention, self.normed[0])(q), getattr(attention, self.normed[1])(k)
        return q, k


def _weight_dtype(module: Any) -> torch.dtype:
    inner = getattr(module, "base_layer", module)
    dtype: torch.dtype = inner.weight.dtype
    return dtype


def _backbone(base: Any) -> Any:
    inner = getattr(base, "model", None)
    return getattr(inner, "language_model", inner)


def find_layout(model: nn.Module) -> StudentLayout:
    """Find a student's parts and check that they fit each other.

    Raises:
        StudentError: a part is missing; the message names what was looked for and what was there.
    """
    base = base_model(model)
    inner = _backbone(base)
    kind = type(base).__name__
    missing: list[str] = []
    layers = getattr(inner, "layers", None)
    if not isinstance(layers, nn.ModuleList) or len(layers) == 0:
        missing.append("decoder layers at `model.layers`")
    if not any(hasattr(inner, name) for name in _FINAL_NORMS):
        missing.append("a final norm at `model.norm` or `model.final_layernorm`")
    attention = getattr(layers[-1], "self_attn", None) if isinstance(layers, nn.ModuleList) else None
    fused = hasattr(attention, "qkv_proj")
    if not fused and not (hasattr(attention, "q_proj") and hasattr(attention, "k_proj")):
        missing.append("the last layer's `self_attn.q_proj` and `self_attn.k_proj` (or a fused `qkv_proj`)")
    if getattr(base, "get_output_embeddings", lambda: None)() is None:
        missing.append("an output head (`lm_head`)")
    if missing:
        raise StudentError(
            f"the student's layout is not one this suite knows: {kind} has no {'; no '.join(missing)}. "
            "Known: Llama-, Mistral-, Qwen2-, Qwen3-, Gemma- and Phi-like models."
        )
    config = base.config.get_text_config()
    heads = int(config.num_attention_heads)
    kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    head_dim = int(getattr(attention, "head_dim", 0) or config.hidden_size // heads)
    _check_widths(kind, attention, fused, heads, kv_heads, head_dim)
    return StudentLayout(
        family=str(config.model_type),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        fused=fused,
        normed=next((n for n in _NORM_NAMES if all(hasattr(attention, part) for part in n)), None),
        softcap=getattr(config, "final_logit_softcapping", None),
        packing_reason=_packing_reason(config),
    )


def _check_widths(kind: str, attention: Any, fused: bool, heads: int, kv_heads: int, head_dim: int) -> None:
    """Refuse a projection whose width is not what the attention geometry says (a sliced fusion would lie)."""
    projection = attention.qkv_proj if fused else attention.q_proj
    width = int(getattr(projection, "base_layer", projection).weight.shape[0])
    expected = (heads + 2 * kv_heads if fused else heads) * head_dim
    if width != expected:
        name = "qkv_proj" if fused else "q_proj"
        raise StudentError(
            f"{kind}: expected the last layer's `{name}` to give {expected} numbers ({heads} heads, "
            f"{kv_heads} key heads, width {head_dim}), got {width}; this layout is refused, not guessed."
        )


def _packing_reason(config: Any) -> str:
    if config.model_type not in _PACKABLE:
        return f"attention of model type {config.model_type!r} is not known to be plain causal attention"
    if getattr(config, "attn_logit_softcapping", None):
        return "the student caps its attention scores, which SDPA cannot"
    rope = str((getattr(config, "rope_parameters", None) or {}).get("rope_type", "default"))
    if rope in {"dynamic", "longrope"}:
        return f"rotary embedding of type {rope!r} depends on the row's length"
    return ""
