"""COMPACT as plain loops, written from the equations alone; nothing of `compact_bench` is used here.

Everything runs in the model's own precision (tests use float64), one branch, one token, one pair at a time.
`paper` follows the paper and this project's marked choices; `released` follows the authors' code at commit
f279471: one right-padded batch of raw texts, padding and prompt included where that code includes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

THINKING_WORDS = (
    "Therefore", "Thus", "Hence", "So", "Consequently", "Wait", "But", "However", "Although", "First",
    "Second", "Finally", "Specifically", "In summary", "Basically", "Let", "Assuming", "Suppose", "Hmm",
    "Okay", "Note",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """The method's numbers; the defaults are those of both variants."""

    betas: tuple[float, float, float] = (1.0, 1.0, 0.5)
    temperature: float = 1.0
    lambda_consistency: float = 0.1
    epsilon: float = 0.1
    thinking_words: Sequence[str] = THINKING_WORDS
    sft_reduction: str = "mean"
    max_length_tokens: int = 2560


@dataclass
class Result:
    """What one training step computes; `loss` still carries its graph."""

    adaptability: list[float]
    consensus: list[float]
    difficulty: list[float]
    weights: list[float]
    supervised: list[float]
    consistency: float
    loss: Tensor
    graph: list[list[float]] = field(default_factory=list)


# ------------------------------------------------------------------------------------------ shared by both


def thinking_ids(tokenizer: Any, words: Sequence[str]) -> set[int]:
    """Ids of the words that are one token, alone or after a space."""
    found = set()
    for word in words:
        for text in (word, " " + word):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(ids) == 1:
                found.add(ids[0])
    return found


def z_scores(values: Sequence[float]) -> list[float]:
    """(s - mean) / (unbiased std + 1e-4); ones for a single teacher."""
    n = len(values)
    if n == 1:
        return [1.0]
    mean = sum(values) / n
    std = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    return [(v - mean) / (std + 1e-4) for v in values]


def fuse(mi: Sequence[float], cons: Sequence[float], ppl: Sequence[float], setting: Setting) -> list[float]:
    """Teacher weights (Eq. 7)."""
    b1, b2, b3 = setting.betas
    z1, z2, z3 = z_scores(mi), z_scores(cons), z_scores(ppl)
    scores = [b1 * a + b2 * b - b3 * c for a, b, c in zip(z1, z2, z3, strict=True)]
    top = max(scores)
    powers = [math.exp((s - top) / setting.temperature) for s in scores]
    return [p / sum(powers) for p in powers]


def log_probabilities(logits: Tensor) -> Tensor:
    """Log softmax of one vector, written out."""
    shifted = logits - logits.max().detach()
    return shifted - torch.log(torch.exp(shifted).sum())


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of two vectors of log-probabilities, in nats."""
    return (torch.exp(log_p) * (log_p - log_q)).sum()


def plain_model(model: Any) -> Any:
    """The transformers model inside a peft wrapper (the adapters stay in its layers)."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def graph_rows(queries: list[Tensor], keys: list[Tensor], width: int) -> list[list[float]]:
    """Attention of every branch to every branch, its own included (Eq. 4)."""
    rows = []
    for q in queries:
        logits = [float((q * k).sum()) / math.sqrt(width) for k in keys]
        top = max(logits)
        powers = [math.exp(x - top) for x in logits]
        rows.append([p / sum(powers) for p in powers])
    return rows


def in_degrees(graph: list[list[float]]) -> list[float]:
    """Weighted in-degree of every node, self-loops left out (Eq. 5)."""
    n = len(graph)
    return [sum(graph[i][k] for i in range(n) if i != k) for k in range(n)]


def flat_query_key(model: Any, vector: Tensor) -> tuple[Tensor, Tensor]:
    """The last layer's own projections of one vector, before any norm; fused projections are cut."""
    plain = plain_model(model)
    attention = plain.model.layers[-1].self_attn
    if hasattr(attention, "qkv_proj"):
        config = plain.config
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        whole = attention.qkv_proj(vector)
        n_q, n_k = config.num_attention_heads * head, config.num_key_value_heads * head
        return whole[:n_q], whole[n_q : n_q + n_k]
    return attention.q_proj(vector), attention.k_proj(vector)


# ------------------------------------------------------------------------------------------------ paper


@dataclass
class Branch:
    """One row of the paper variant."""

    ids: list[int]
    prompt: int  # tokens before the rationale
    end: int  # index of the end-of-turn token
    span: list[int]  # indices of the answer's tokens
    answer: str | None


def one_way(answer: str) -> str:
    """145.0 and 145 are one answer."""
    text = answer.strip().rstrip(".")
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number == int(number) else repr(number)


def stated_answer(text: str) -> tuple[int, int] | None:
    """Characters of the answer after the last "The answer is", without a closing full stop."""
    at = text.rfind("The answer is")
    if at < 0:
        return None
    found = re.compile(r"\s*(\S+)").match(text, at + len("The answer is"))
    if found is None:
        return None
    return found.start(1), found.start(1) + len(found[1].rstrip("."))


def paper_branch(tokenizer: Any, question: str, raw: str) -> Branch:
    """The row of one rationale."""
    text = raw.strip()
    where = stated_answer(text)
    answer = None
    if where is not None:
        answer = one_way(text[where[0] : where[1]])
        text = text[: where[0]] + answer + text[where[1] :]
        where = (where[0], where[0] + len(answer))
    user = [{"role": "user", "content": question}]
    before = tokenizer.apply_chat_template(user, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(
        [*user, {"role": "assistant", "content": text}], tokenize=False, add_generation_prompt=False
    )
    assert whole.startswith(before + text)
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    start = len(before)
    prompt = len(tokenizer(before, add_special_tokens=False)["input_ids"])
    assert ids[:prompt] == tokenizer(before, add_special_tokens=False)["input_ids"]
    end = len(tokenizer(before + text, add_special_tokens=False)["input_ids"])
    assert ids[:end] == tokenizer(before + text, add_special_tokens=False)["input_ids"]
    span = []
    if where is not None:
        first, last = start + where[0], start + where[1]
        span = [i for i, (a, b) in enumerate(offsets) if max(a, first) < min(b, last)]
    return Branch(ids[: end + 1], prompt, end, span, answer)


def paper_gold_ids(tokenizer: Any, gold: str) -> list[int]:
    """Tokens of the gold answer as they stand after "The answer is"."""
    answer = one_way(gold)
    text = "The answer is " + answer
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    first = len(text) - len(answer)
    pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return [token for token, (_, end) in pairs if end > first]


def paper_query_key_heads(model: Any, vector: Tensor) -> tuple[Tensor, Tensor]:
    """Query and key of one vector, every key head standing once for each of its query heads."""
    plain = plain_model(model)
    config = plain.config
    attention = plain.model.layers[-1].self_attn
    q, k = flat_query_key(model, vector)
    n_q, n_k = config.num_attention_heads, config.num_key_value_heads
    head = q.numel() // n_q
    query_norm = getattr(attention, "q_norm", None) or getattr(attention, "q_layernorm", None)
    key_norm = getattr(attention, "k_norm", None) or getattr(attention, "k_layernorm", None)
    queries = [q[h * head : (h + 1) * head] for h in range(n_q)]
    keys = [k[h * head : (h + 1) * head] for h in range(n_k)]
    if query_norm is not None:
        queries = [query_norm(x) for x in queries]
        keys = [key_norm(x) for x in keys]
    group = n_q // n_k
    return torch.cat(queries), torch.cat([keys[h // group] for h in range(n_q)])


def paper(model: Any, tokenizer: Any, question: Any, setting: Setting) -> Result:
    """One question under the paper variant, a forward pass per branch."""
    gold = paper_gold_ids(tokenizer, question.gold_answer)
    marked = thinking_ids(tokenizer, setting.thinking_words)
    adaptability, difficulty, supervised, queries, keys, spans = [], [], [], [], [], []
    for rationale in question.rationales:
        branch = paper_branch(tokenizer, question.text, rationale.text)
        output = model(input_ids=torch.tensor([branch.ids]), output_hidden_states=True, use_cache=False)
        hidden = output.hidden_states[-1][0]
        logs = [log_probabilities(row) for row in output.logits[0]]

        information = [sum(logs[t][g].item() for g in gold) / len(gold) for t in range(len(branch.ids))]
        total = 0.0
        for t in range(branch.prompt, branch.end):
            gain = information[t] - information[t - 1]
            if gain > 0:
                total += gain * (1.0 if branch.ids[t] in marked else setting.epsilon)
        adaptability.append(total)

        nats = torch.zeros((), dtype=hidden.dtype)
        for t in range(branch.prompt, branch.end + 1):
            nats = nats - logs[t - 1][branch.ids[t]]
        count = branch.end + 1 - branch.prompt
        difficulty.append(nats.item() / count)
        supervised.append(nats if setting.sft_reduction == "sum" else nats / count)

        with torch.no_grad():
            q, k = paper_query_key_heads(model, hidden[branch.end])
        queries.append(q)
        keys.append(k)
        right = branch.answer is not None and branch.answer == one_way(question.gold_answer)
        spans.append([logs[i - 1] for i in branch.span] if right else None)

    graph = graph_rows(queries, keys, queries[0].numel())
    consensus = in_degrees(graph)
    weights = fuse(adaptability, consensus, difficulty, setting)

    consistency = torch.zeros((), dtype=supervised[0].dtype)
    for a, span_a in enumerate(spans):
        for b, span_b in enumerate(spans):
            if a == b or span_a is None or span_b is None or setting.lambda_consistency == 0:
                continue
            assert len(span_a) == len(span_b)
            pairs = zip(span_a, span_b, strict=True)
            mean = sum((kl(p, q) for p, q in pairs), torch.zeros((), dtype=consistency.dtype)) / len(span_a)
            consistency = consistency + weights[a] * weights[b] * mean
    loss = setting.lambda_consistency * consistency
    for weight, one in zip(weights, supervised, strict=True):
        loss = loss + weight * one
    nats_each = [s.item() for s in supervised]
    return Result(adaptability, consensus, difficulty, weights, nats_each, consistency.item(), loss, graph)


# --------------------------------------------------------------------------------------------- released


def released_rows(tokenizer: Any, question: Any, limit: int) -> tuple[Tensor, Tensor, list[int]]:
    """Padded ids, mask, and the first supervised position of every row (0: the marker was not found)."""
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question.text}, {"role": "assistant", "content": r.text}],
            tokenize=False,
            add_generation_prompt=False,
        )
        for r in question.rationales
    ]
    rows = [tokenizer(text)["input_ids"][:limit] for text in texts]
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = torch.tensor(row)
        mask[n, : len(row)] = 1
    marker = tokenizer("<|im_start|>assistant\n", add_special_tokens=False)["input_ids"]
    starts = []
    for row in ids.tolist():
        places = [p for p in range(width - len(marker) + 1) if row[p : p + len(marker)] == marker]
        starts.append(places[0] + len(marker) if places else 0)
    return ids, mask, starts


def released_adaptability(
    hidden: Tensor, head: Tensor, ids: list[int], gold: list[int], marked: set[int], setting: Setting
) -> float:
    """Sum over a whole padded row, prompt and padding included, of rises of the mean raw gold logit."""
    information = [sum(float((state * head[g]).sum()) for g in gold) / len(gold) for state in hidden]
    total = 0.0
    for t in range(1, len(ids)):
        gain = information[t] - information[t - 1]
        if gain > 0:
            total += gain * (1.0 if ids[t] in marked else setting.epsilon)
    return total


def released(model: Any, tokenizer: Any, question: Any, setting: Setting) -> Result:
    """One question under the released variant, one padded forward pass."""
    ids, mask, starts = released_rows(tokenizer, question, setting.max_length_tokens)
    output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
    hidden = output.hidden_states[-1]
    # Logits at padding are used nowhere; hidden states at padding are.
    logs = [
        [log_probabilities(position) for position in row[: int(used.sum())]]
        for row, used in zip(output.logits, mask, strict=True)
    ]
    marked = thinking_ids(tokenizer, setting.thinking_words)
    gold = tokenizer(question.gold_answer, add_special_tokens=False)["input_ids"]
    head = plain_model(model).lm_head.weight.detach()
    n, width = ids.shape

    adaptability, supervised, queries, keys = [], [], [], []
    for k in range(n):
        adaptability.append(
            released_adaptability(hidden[k].detach(), head, ids[k].tolist(), gold, marked, setting)
        )

        nats, count = torch.zeros((), dtype=hidden.dtype), 0
        for t in range(1, width):
            if mask[k, t] and t >= starts[k]:
                nats = nats - logs[k][t - 1][ids[k, t]]
                count += 1
        supervised.append(nats / max(count, 1))

        last = int(mask[k].sum()) - 1
        with torch.no_grad():
            q, key = flat_query_key(model, hidden[k, last])
        times = plain_model(model).config.num_attention_heads // plain_model(model).config.num_key_value_heads
        queries.append(q)
        keys.append(torch.stack([value for value in key for _ in range(times)]))

    graph = graph_rows(queries, keys, queries[0].numel())
    consensus = in_degrees(graph)
    difficulty = [s.item() for s in supervised]
    weights = fuse(adaptability, consensus, difficulty, setting)

    consistency = torch.zeros((), dtype=hidden.dtype)
    for a in range(n):
        for b in range(a + 1, n):
            if setting.lambda_consistency == 0 or weights[a] * weights[b] < 1e-4:
                continue
            both = [t for t in range(width) if mask[a, t] and mask[b, t]]
            pair = torch.zeros((), dtype=hidden.dtype)
            for t in both:
                pair = pair + kl(logs[a][t], logs[b][t]) + kl(logs[b][t], logs[a][t])
            consistency = consistency + weights[a] * weights[b] * pair / max(len(both), 1)
    loss = setting.lambda_consistency * consistency
    for weight, one in zip(weights, supervised, strict=True):
        loss = loss + weight * one
    return Result(adaptability, consensus, difficulty, weights, difficulty, consistency.item(), loss, graph)


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    """Autograd of the loops' loss, by parameter name."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    grads = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    return {
        name: torch.zeros_like(p) if grad is None else grad
        for (name, p), grad in zip(named, grads, strict=True)
    }
