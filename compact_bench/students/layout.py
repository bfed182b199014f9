"""Where a causal LM keeps what COMPACT reads: decoder layers, last projections, head, chat markers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compact_bench.core.errors import StudentError
from compact_bench.students.number_formats import in_float32, is_narrow

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
        clip: size that queries and keys are cut to after their norms (OLMo), or None.
    """

    family: str
    heads: int
    kv_heads: int
    head_dim: int
    fused: bool
    normed: tuple[str, str] | None
    softcap: float | None
    packing_reason: str
    clip: float | None = None

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

        Computed in float32 whatever the weights' type: scores of bfloat16 projections tie or change ranks.

        Returns:
            Float[Tensor, "branches heads head_dim"] and Float[Tensor, "branches kv_heads head_dim"].
        """
        attention = self.backbone(model).layers[-1].self_attn
        rows = vectors.shape[0]
        if self.fused:
            both = in_float32(attention.qkv_proj, vectors)
            width = self.heads * self.head_dim
            flat_q, flat_k = both[:, :width], both[:, width : width + self.kv_heads * self.head_dim]
        else:
            flat_q, flat_k = in_float32(attention.q_proj, vectors), in_float32(attention.k_proj, vectors)
        q = flat_q.view(rows, self.heads, self.head_dim)
        k = flat_k.view(rows, self.kv_heads, self.head_dim)
        if norms and self.normed is not None:
            q, k = (_normed(getattr(attention, name), x) for name, x in zip(self.normed, (q, k), strict=True))
        if norms and self.clip is not None:
            q, k = q.clamp(-self.clip, self.clip), k.clamp(-self.clip, self.clip)
        return q, k


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    """Float[Tensor, "branches heads head_dim"] after a norm over each head, or over all of them together
    (OLMo-2).
    """
    weight = getattr(norm, "weight", None)
    whole = isinstance(weight, Tensor) and weight.shape == (x.shape[1] * x.shape[2],)
    # The norm may know a head's width only; with one head both are the same.
    return in_float32(norm, x.flatten(1) if whole else x).view_as(x)


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
    normed = next((n for n in _NORM_NAMES if all(hasattr(attention, part) for part in n)), None)
    _check_norms(kind, attention, normed)
    return StudentLayout(
        family=str(config.model_type),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        fused=fused,
        normed=normed,
        softcap=getattr(config, "final_logit_softcapping", None),
        packing_reason=_packing_reason(config),
        clip=getattr(config, "clip_qkv", None),
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


def _check_norms(kind: str, attention: Any, known: tuple[str, str] | None) -> None:
    """Refuse norms inside attention that would not be applied."""
    # A norm of the values changes neither queries nor keys.
    names = [name for name, _ in attention.named_children() if "norm" in name and name != "v_norm"]
    strange = sorted(set(names) - set(known or ()))
    if strange:
        raise StudentError(
            f"{kind}: expected query and key norms called {' or '.join('/'.join(n) for n in _NORM_NAMES)} in "
            f"the last layer's attention, got {', '.join(strange)}; this layout is refused, not guessed."
        )


def check_projections(model: nn.Module, layout: StudentLayout) -> None:
    """Compare `queries_and_keys` with what the student's own forward pass computes, where it has norms.

    Raises:
        StudentError: they differ: the family applies its norms in another place or way.
    """
    if layout.normed is None:
        return
    attention = layout.backbone(model).layers[-1].self_attn
    seen: dict[str, Tensor] = {}
    first = attention.qkv_proj if layout.fused else attention.q_proj
    hooks = [first.register_forward_pre_hook(lambda module, args: seen.update(x=args[0]))]
    for name in layout.normed:
        # Bound as a default: the loop's name would be the last one for both.
        def keep(module: nn.Module, args: Any, output: Tensor, name: str = name) -> None:
            seen[name] = output

        hooks.append(getattr(attention, name).register_forward_hook(keep))
    # Several tokens: at the first position a rotary embedding changes nothing, and would go unnoticed.
    ids = torch.arange(3, device=first.weight.device)[None]
    try:
        with torch.no_grad():
            layout.backbone(model)(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        ours = layout.queries_and_keys(model, seen["x"][0], norms=True)
    for name, mine in zip(layout.normed, ours, strict=True):
        tolerance = 3e-2 if is_narrow(seen[name].dtype) else 1e-4
        if not any(
            float((theirs - mine).norm()) <= tolerance * float(mine.norm())
            for theirs in _by_token(seen[name], mine)
        ):
            raise StudentError(
                f"{layout.family}: expected `{name}` to give what this suite computes for consensus, got "
                "something else; this layout is refused, not guessed."
            )


def _by_token(normed: Tensor, like: Tensor) -> list[Tensor]:
    """A norm's output as Float[Tensor, "tokens heads width"], in the orders that families have it in."""
    if normed.numel() != like.numel():
        return []
    # [tokens, heads, width], or all heads at once; and [heads, tokens, width].
    swapped = [normed.transpose(1, 2)] if normed.dim() == 4 else []
    return [x.reshape(like.shape).to(like.dtype) for x in (normed, *swapped)]


def _packing_reason(config: Any) -> str:
    if config.model_type not in _PACKABLE:
        return f"attention of model type {config.model_type!r} is not known to be plain causal attention"
    if getattr(config, "attn_logit_softcapping", None):
        return "the student caps its attention scores, which SDPA cannot"
    rope = str((getattr(config, "rope_parameters", None) or {}).get("rope_type", "default"))
    if rope in {"dynamic", "longrope"}:
        return f"rotary embedding of type {rope!r} depends on the row's length"
    return ""
