"""Where packed tokens lie, and which attention calls give every one of them what it may see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

_LARGEST_WASTE = 1.25
"""A bucket of tails may be padded to this many times its own tokens; then another one begins."""


@dataclass(frozen=True)
class PackedRow:
    """One prompt and the token rows that follow it separately.

    Attributes:
        prompt: P >= 1 tokens.
        tails: K rows of tokens; each sees the prompt and itself, causally, at positions from P on.
        fillers: per tail, tokens after it that see prompt and tail but are seen by nothing, not even by
            themselves: what right padding computes in a padded batch. Empty means none anywhere.
    """

    prompt: tuple[int, ...]
    tails: tuple[tuple[int, ...], ...]
    fillers: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Tail:
    """Where a tail lies in the long row.

    Attributes:
        prompt_start, prompt: first token of its prompt, and how many there are.
        start, length: first token of its own, and how many there are.
        filler: how many filling tokens follow.
    """

    prompt_start: int
    prompt: int
    start: int
    length: int
    filler: int = 0

    @property
    def tokens(self) -> list[int]:
        """Places of the prompt's and its own tokens, in order."""
        prompt = range(self.prompt_start, self.prompt_start + self.prompt)
        return [*prompt, *range(self.start, self.start + self.length)]


@dataclass
class AttentionCall:
    """One attention call: rows of queries over rows of keys, padded on the right by repeating.

    There is a row for every tail and key head. Tokens are addressed per key head: token n of key head h is
    at n * kv_heads + h.

    Attributes:
        queries, keys: Int[Tensor, "rows*queries"] and Int[Tensor, "rows*keys"], addresses in the long row.
        positions: Int[Tensor, "rows queries"], place of each query in its row of keys.
        limits: Int[Tensor, "rows"], keys from here on are not seen; None where causality is enough.
        square: whether query i of a row is its key i, so that "causal" needs no mask.
    """

    queries: Tensor
    keys: Tensor
    rows: int
    positions: Tensor
    limits: Tensor | None
    square: bool
    _masks: dict[int | None, Tensor | None] = field(default_factory=dict)

    def mask(self, window: int | None) -> Tensor | None:
        """What may be seen, Bool[Tensor, "rows 1 queries keys"] (one row serves all where they agree); with a
        window, a token sees that many keys up to itself.

        Returns:
            The mask, made once for all layers; None where plain causal attention is meant.
        """
        if window not in self._masks:
            self._masks[window] = self._make_mask(window)
        return self._masks[window]

    def _make_mask(self, window: int | None) -> Tensor | None:
        width = len(self.keys) // self.rows
        if self.square and (window is None or window >= width):
            return None
        places = torch.arange(width, device=self.keys.device)
        position = (self.positions[:1] if self.square else self.positions)[..., None]
        seen = places <= position
        if window is not None:
            seen &= places > position - window
        if self.limits is not None:
            seen &= places < self.limits[:, None, None]
        return seen[:, None]


@dataclass(frozen=True)
class PackingPlan:
    """The attention calls of one forward pass.

    Attributes:
        calls: their outputs, one behind the other, hold every token's own for every key head.
        outputs: Int[Tensor, "tokens*kv_heads"], where it is there.
    """

    calls: tuple[AttentionCall, ...]
    outputs: Tensor


def lay_out(rows: Sequence[PackedRow]) -> tuple[list[int], list[int], list[list[Tail]]]:
    """The long row of some packed rows.

    Returns:
        Token ids, positions, and per row where its tails lie.
    """
    ids: list[int] = []
    positions: list[int] = []
    tails: list[list[Tail]] = []
    for row in rows:
        prompt_start, prompt = len(ids), len(row.prompt)
        ids += row.prompt
        positions += range(prompt)
        of_row = []
        for tail, filler in zip(row.tails, row.fillers or ((),) * len(row.tails), strict=True):
            of_row.append(Tail(prompt_start, prompt, len(ids), len(tail), len(filler)))
            ids += (*tail, *filler)
            positions += range(prompt, prompt + len(tail) + len(filler))
        tails.append(of_row)
    return ids, positions, tails


def make_plan(tails: Sequence[Tail], tokens: int, kv_heads: int, device: torch.device) -> PackingPlan:
    """Choose the attention calls.

    Long tails are computed with their prompt before them: its queries are computed again for every tail,
    which costs little there and needs no mask. Short ones are computed alone, over prompt and tail.
    """
    whole = sum(tail.prompt for tail in tails) <= 2 * sum(tail.length for tail in tails)
    builder = _Builder(tokens, kv_heads, device)
    if whole:
        builder.add_all(tails, lambda t: t.prompt + t.length, _whole)
    else:
        prompts = {t.prompt_start: Tail(t.prompt_start, t.prompt, t.start, 0) for t in tails}
        builder.add_all(list(prompts.values()), lambda t: t.prompt, _whole)
        builder.add_all([t for t in tails if t.length], lambda t: t.prompt + t.length, _alone)
    builder.add_all([t for t in tails if t.filler], lambda t: t.prompt + t.length, _filler)
    return PackingPlan(tuple(builder.calls), builder.outputs.flatten().to(device))


# Per row of a call: the queries' places, and the first one's position among the row's keys.
_Queries = Callable[[Tail], tuple[list[int], int]]


def _whole(tail: Tail) -> tuple[list[int], int]:
    return tail.tokens, 0


def _alone(tail: Tail) -> tuple[list[int], int]:
    return list(range(tail.start, tail.start + tail.length)), tail.prompt


def _filler(tail: Tail) -> tuple[list[int], int]:
    start = tail.start + tail.length
    return list(range(start, start + tail.filler)), tail.prompt + tail.length


class _Builder:
    """Collects calls, and where tokens find their outputs."""

    def __init__(self, tokens: int, kv_heads: int, device: torch.device) -> None:
        self.calls: list[AttentionCall] = []
        self.outputs = torch.zeros(tokens, kv_heads, dtype=torch.long)
        self._heads = torch.arange(kv_heads)
        self._device = device
        self._offset = 0

    def add_all(self, tails: Sequence[Tail], length: Callable[[Tail], int], queries: _Queries) -> None:
        """One call per bucket of tails of about the same length."""
        bucket: list[Tail] = []
        used = 0
        for tail in sorted(tails, key=length, reverse=True):
            used += length(tail)
            if bucket and length(bucket[0]) * (len(bucket) + 1) > _LARGEST_WASTE * used:
                self._add(bucket, queries)
                bucket, used = [], length(tail)
            bucket.append(tail)
        if bucket:
            self._add(bucket, queries)

    def _add(self, bucket: Sequence[Tail], queries_of: _Queries) -> None:
        keys = [tail.tokens for tail in bucket]
        query_places = [queries_of(tail) for tail in bucket]
        width = max(len(queries) for queries, _ in query_places)
        heads = len(self._heads)
        for row, (queries, _) in enumerate(query_places):
            places = torch.arange(len(queries))[:, None] + (row * heads + self._heads) * width
            self.outputs[torch.tensor(queries, dtype=torch.long)] = places + self._offset
        self._offset += width * len(bucket) * heads
        positions = [list(range(first, first + len(queries))) for queries, first in query_places]
        limits = torch.tensor([len(row) for row in keys]) if queries_of is _filler else None
        self.calls.append(
            AttentionCall(
                queries=self._addresses([queries for queries, _ in query_places]),
                keys=self._addresses(keys),
                rows=len(bucket) * heads,
                positions=_rectangle(positions).repeat_interleave(heads, dim=0).to(self._device),
                limits=None if limits is None else limits.repeat_interleave(heads).to(self._device),
                square=queries_of is _whole,
            )
        )

    def _addresses(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Rows of tokens as rows of addresses, one row per key head."""
        of_rows = _rectangle(tokens)[:, None, :] * len(self._heads) + self._heads[:, None]
        return of_rows.flatten().to(self._device)


def _rectangle(rows: Sequence[Sequence[int]]) -> Tensor:
    """Rows padded by repeating their last number; what is computed there is never read."""
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[row[-1]] * (width - len(row))] for row in rows])
