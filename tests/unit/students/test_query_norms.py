"""Families that norm queries and keys: what consensus reads is what their own forward pass computes, or they
are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from compact_bench.core.errors import StudentError
from compact_bench.students.compute.lean_layers import lean_layers
from compact_bench.students.compute.packing import packed_hidden, packing_reason
from compact_bench.students.compute.packing_plan import PackedRow
from compact_bench.students.layout import check_projections, find_layout

_EXTRA: dict[str, dict[str, Any]] = {
    "olmo": {"clip_qkv": 0.3},
    "olmoe": {"clip_qkv": 0.5, "num_experts": 4, "num_experts_per_tok": 2},
    "cohere": {"use_qk_norm": True},
    "stablelm": {"qk_layernorm": True},
    "phi": {"qk_layernorm": True},
    "falcon_h1": {
        "mlp_multipliers": [0.5, 2.0],
        "mamba_d_ssm": 32,
        "mamba_n_heads": 4,
        "mamba_d_head": 8,
        "mamba_n_groups": 1,
        "mamba_d_state": 8,
    },
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
}
RIGHT = {
    "qwen3": "Qwen3", "qwen3_moe": "Qwen3Moe", "olmo": "Olmo", "olmo2": "Olmo2", "olmo3": "Olmo3",
    "olmoe": "Olmoe",
    "gemma3": "Gemma3Text", "cohere": "Cohere", "cohere2": "Cohere2", "stablelm": "StableLm", "phi": "Phi",
    "exaone4": "Exaone4", "apertus": "Apertus", "smollm3": "SmolLM3", "llama": "Llama",
}  # fmt: skip
REFUSED = {"hunyuan": "HunYuanDenseV1"}


def model_of(kind: str, name: str) -> Any:
    config_type = getattr(transformers, f"{name}Config")
    config = config_type(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4 if kind == "olmoe" else 2, head_dim=8, max_position_embeddings=128,
        initializer_range=0.3, pad_token_id=0, bos_token_id=None, eos_token_id=None, **_EXTRA.get(kind, {}),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for name_, parameter in model.named_parameters():
                if "norm" in name_:
                    parameter.add_(0.4 * torch.randn(parameter.shape))
    return model


def asked_of_rotary(model: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor, Tensor]:
    """Input of the last layer's projections, and queries and keys [tokens heads width] before rotation."""
    seen: dict[str, Tensor] = {}
    attention = find_layout(model).backbone(model).layers[-1].self_attn
    hook = attention.q_proj.register_forward_pre_hook(lambda m, args: seen.update(x=args[0]))
    family = __import__(type(model).__module__, fromlist=["x"])

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any
    ) -> Any:
        seen["q"], seen["k"] = query, key
        return torch.zeros(1, query.shape[2], *query.shape[1::2]), None

    def unrotated(q: Tensor, k: Tensor, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
        return q, k

    monkeypatch.setattr(family, "apply_rotary_pos_emb", unrotated, raising=False)
    transformers.AttentionInterface.register("seen_by_a_test", attend)
    model.config._attn_implementation = "seen_by_a_test"
    with torch.no_grad():
        find_layout(model).backbone(model)(input_ids=torch.arange(5)[None] + 7, use_cache=False)
    hook.remove()
    model.config._attn_implementation = "sdpa"
    return seen["x"][0], seen["q"][0].transpose(0, 1), seen["k"][0].transpose(0, 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", RIGHT)
def test_queries_and_keys_are_the_students_own(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(transformers, f"{RIGHT[kind]}Config"):
        pytest.skip(f"this transformers has no {RIGHT[kind]}")
    model = model_of(kind, RIGHT[kind])
    layout = find_layout(model)
    check_projections(model, layout)
    x, q, k = asked_of_rotary(model, monkeypatch)
    with torch.no_grad():
        ours = layout.queries_and_keys(model, x, norms=True)
    for mine, theirs in zip(ours, (q, k), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_norms_in_another_place_are_refused(kind: str) -> None:
    if not hasattr(transformers, f"{REFUSED[kind]}Config"):
        pytest.skip(f"this transformers has no {REFUSED[kind]}")
    model = model_of(kind, REFUSED[kind])
    with pytest.raises(StudentError, match="refused, not guessed"):
        check_projections(model, find_layout(model))


def test_a_norm_that_is_applied_otherwise_is_refused() -> None:
    model = model_of("qwen3", "Qwen3")
    layout = find_layout(model)
    check_projections(model, layout)

    class Twice(nn.Module):
        """Gives something else when it sees a batch."""

        def forward(self, x: Tensor) -> Tensor:
            return x * (2.0 if x.dim() == 4 else 1.0)

    layout.backbone(model).layers[-1].self_attn.q_norm = Twice()
    with pytest.raises(StudentError, match="`q_norm`"):
        check_projections(model, layout)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [*RIGHT, "falcon_h1"])
def test_the_fast_step_computes_what_the_plain_one_does(kind: str) -> None:
    """Lean layers under adapters, and packed rows where the family is packed; else the reason is said."""
    names = {**RIGHT, "falcon_h1": "FalconH1"}
    if not hasattr(transformers, f"{names[kind]}Config"):
        pytest.skip(f"this transformers has no {names[kind]}")
    model = get_peft_model(model_of(kind, names[kind]), LoraConfig(r=2, target_modules=["down_proj", "fc2"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    layout = find_layout(model)
    rows = [[7, 8, 9, 10, 11], [7, 8, 9, 12, 13]]

    def plain() -> Tensor:
        hidden: Tensor = layout.backbone(model)(
            input_ids=torch.tensor(rows), use_cache=False
        ).last_hidden_state
        return hidden[:, 2:]

    def results(compute: Callable[[], Tensor]) -> list[Tensor]:
        model.zero_grad()
        hidden = compute()
        (hidden * torch.linspace(-1, 1, hidden.numel()).view_as(hidden)).sum().backward()
        return [hidden.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    expected = results(plain)
    with lean_layers(model):
        got = results(plain)
    assert len(got) == len(expected) > 2
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    if packing_reason(model, layout):
        assert kind not in ("llama", "qwen3", "gemma3", "phi")
        return
    row = PackedRow((7, 8, 9), ((10, 11), (12, 13)))
    packed = results(lambda: torch.stack(packed_hidden(model, layout, [row])[0]))
    for one, other in zip(packed, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
