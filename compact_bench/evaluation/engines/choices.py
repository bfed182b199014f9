"""Log-likelihoods of continuations, with the context that several of them share computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compact_bench.students.compute.packing import packed_states
from compact_bench.students.compute.packing_plan import PackedRow
from compact_bench.students.layout import StudentLayout

Score = tuple[float, bool]
"""Log-likelihood in nats, and whether every token is the likeliest one."""

_PIECE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Continuation:
    """Tokens to score after a context.

    Attributes:
        context: at least one token.
        tokens: at least one token.
    """

    context: tuple[int, ...]
    tokens: tuple[int, ...]


@torch.no_grad()
def score_continuations(
    model: nn.Module,
    layout: StudentLayout,
    wanted: Sequence[Continuation],
    *,
    batch_size: int,
    on_done: Callable[[int], None] = lambda done: None,
) -> list[Score]:
    """Score continuations; those of one context share it, and several contexts share a forward pass.

    Args:
        model: a student's model that `packing.packing_reason` has nothing against.
        wanted: what to score, in any order.
        batch_size: continuations per forward pass, at least one context's.
        on_done: called with the number of continuations scored so far.

    Returns:
        A score for each, in the order given.
    """
    by_context: dict[tuple[int, ...], list[int]] = {}
    for number, one in enumerate(wanted):
        by_context.setdefault(one.context, []).append(number)
    # Long ones first: what does not fit into memory fails at once.
    waiting = sorted(by_context.items(), key=lambda item: -len(item[0]))
    scores: dict[int, Score] = {}
    while waiting:
        batch = [waiting.pop(0)]
        while waiting and sum(len(n) for _, n in batch) + len(waiting[0][1]) <= batch_size:
            batch.append(waiting.pop(0))
        rows = [(context, [wanted[n].tokens for n in numbers]) for context, numbers in batch]
        batch_scores = _score_batch(model, layout, rows)
        scores.update(zip([n for _, numbers in batch for n in numbers], batch_scores, strict=True))
        on_done(len(scores))
    return [scores[number] for number in range(len(wanted))]


def _score_batch(
    model: nn.Module, layout: StudentLayout, rows: Sequence[tuple[tuple[int, ...], list[tuple[int, ...]]]]
) -> list[Score]:
    # The last token of a continuation predicts nothing that is asked for.
    packed = [PackedRow(context, tuple(c[:-1] for c in continuations)) for context, continuations in rows]
    states: list[Tensor] = []
    places: list[int] = []
    tokens: list[int] = []
    counts: list[int] = []
    used = 0
    for (prompt, tails), (_, continuations) in zip(packed_states(model, layout, packed), rows, strict=True):
        states.append(prompt[-1:])
        first, used = used, used + 1
        for tail, continuation in zip(tails, continuations, strict=True):
            places += [first, *range(used, used + len(tail))]
            states.append(tail)
            used += len(tail)
            tokens += continuation
            counts.append(len(continuation))
    log_probs, likeliest = _at_tokens(model, layout, torch.cat(states), places, tokens)
    return [
        (float(values.sum()), bool(hits.all()))
        for values, hits in zip(log_probs.split(counts), likeliest.split(counts), strict=True)
    ]


def _at_tokens(
    model: nn.Module, layout: StudentLayout, states: Tensor, places: list[int], tokens: list[int]
) -> tuple[Tensor, Tensor]:
    """Log-probability of each token at the state of its place, and whether it is the likeliest there."""
    place, token = (torch.tensor(numbers, device=states.device) for numbers in (places, tokens))
    # float32 numbers add up all but exactly in float64, so that their order does not show in the sum.
    log_probs = torch.empty(len(tokens), dtype=torch.float64, device=states.device)
    likeliest = torch.empty(len(tokens), dtype=torch.bool, device=states.device)
    rows = max(1, _PIECE_BYTES // (4 * layout.head(model).weight.shape[0]))
    for start in range(0, len(states), rows):
        logits = layout.logits(model, states[start : start + rows])
        here = ((place >= start) & (place < start + rows)).nonzero()[:, 0]
        row, wanted = place[here] - start, token[here]
        log_probs[here] = torch.log_softmax(logits, dim=-1)[row, wanted].double()
        likeliest[here] = logits.argmax(dim=-1)[row] == wanted
    return log_probs, likeliest
