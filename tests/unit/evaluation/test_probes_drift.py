"""Drift against a naive float64 loop, the packaged text, and that measuring leaves no trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from compact_bench.core.errors import DataError, NumericalError, StudentError
from compact_bench.evaluation.probes.drift import DriftResult, drift_nats_per_token
from compact_bench.evaluation.probes.neutral_text import neutral_passages
from tests.tiny import make_tokenizer

if TYPE_CHECKING:
    from compact_bench.students.student import Student

PASSAGES = ("Tom has 3 apples and buys 12 more.", "Birds fly. So we add.", "The answer is True, Mary said.")


def naive(base: Student, student: Student, passages: tuple[str, ...]) -> tuple[float, list[float]]:
    """KL(base || student) term by term in float64."""
    base.model.double(), student.model.double()
    total, count, means = 0.0, 0, []
    for text in passages:
        ids = base.tokenizer(text)["input_ids"]
        with torch.no_grad():
            a, b = (s.model(torch.tensor([ids])).logits[0] for s in (base, student))
        passage = 0.0
        for t in range(len(ids) - 1):
            za = sum(math.exp(x) for x in a[t].tolist())
            zb = sum(math.exp(x) for x in b[t].tolist())
            for x, y in zip(a[t].tolist(), b[t].tolist(), strict=True):
                p, q = math.exp(x) / za, math.exp(y) / zb
                passage += p * math.log(p / q)
        total, count = total + passage, count + len(ids) - 1
        means.append(passage / (len(ids) - 1))
    return total / count, means


@pytest.mark.parametrize(("kind", "tokenizer"), [("llama", "chatml"), ("gemma2", "gemma")])
def test_drift_equals_a_naive_loop(load_tiny: Callable[..., Student], kind: str, tokenizer: str) -> None:
    base, student = load_tiny(kind, tokenizer, seed=0), load_tiny(kind, tokenizer, seed=1)
    found = drift_nats_per_token(base, student, PASSAGES)
    expected, means = naive(base, student, PASSAGES)
    assert found.nats_per_token == pytest.approx(expected, rel=1e-4)
    assert found.passage_nats == pytest.approx(means, rel=1e-4)
    counts = [len(base.tokenizer(text)["input_ids"]) - 1 for text in PASSAGES]
    assert (found.passage_tokens, found.tokens, found.passages) == (tuple(counts), sum(counts), 3)
    # Token-weighted: not the mean of the passages' means.
    weighted = sum(m * n for m, n in zip(found.passage_nats, counts, strict=True)) / sum(counts)
    assert found.nats_per_token == pytest.approx(weighted, rel=1e-6)
    assert abs(found.nats_per_token - sum(means) / 3) > 1e-6


def test_drift_is_directed(load_tiny: Callable[..., Student]) -> None:
    base, student = load_tiny(seed=0), load_tiny(seed=1)
    there, back = drift_nats_per_token(base, student, PASSAGES), drift_nats_per_token(student, base, PASSAGES)
    assert there.nats_per_token > 0.01 and abs(there.nats_per_token - back.nats_per_token) > 1e-3


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_chunks_do_not_change_drift(load_tiny: Callable[..., Student], chunk: int) -> None:
    base, student = load_tiny(seed=0), load_tiny(seed=1)
    whole = drift_nats_per_token(base, student, PASSAGES)
    cut = drift_nats_per_token(base, student, PASSAGES, chunk_tokens=chunk)
    assert cut.passage_nats == pytest.approx(whole.passage_nats, rel=1e-5)


def test_a_student_does_not_drift_from_itself(load_tiny: Callable[..., Student]) -> None:
    base = load_tiny()
    assert drift_nats_per_token(base, base, PASSAGES).nats_per_token == 0.0
    assert abs(drift_nats_per_token(base, load_tiny(), PASSAGES).nats_per_token) < 1e-6


def test_measuring_leaves_no_trace(load_tiny: Callable[..., Student]) -> None:
    base, student = load_tiny(seed=0), load_tiny(seed=1)
    student.model.train()
    weight = student.layout.head(student.model).weight
    weight.grad = torch.full_like(weight, 2.0)
    state = torch.get_rng_state()
    first = drift_nats_per_token(base, student, PASSAGES)
    assert isinstance(first, DriftResult)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in student.model.modules())
    assert not any(module.training for module in base.model.modules())
    assert weight.requires_grad and torch.equal(weight.grad, torch.full_like(weight, 2.0))
    assert drift_nats_per_token(base, student, PASSAGES) == first


def test_wrong_input_is_refused(load_tiny: Callable[..., Student]) -> None:
    base = load_tiny()
    with pytest.raises(DataError, match="no passages"):
        drift_nats_per_token(base, base, ())
    with pytest.raises(DataError, match="passage 2"):
        drift_nats_per_token(base, base, ("Birds fly.", "", "Mary"))
    other = load_tiny(vocab_size=len(make_tokenizer("chatml")) + 9)
    with pytest.raises(StudentError, match="one vocabulary"):
        drift_nats_per_token(base, other, PASSAGES)
    broken = load_tiny()
    with torch.no_grad():
        broken.layout.head(broken.model).weight.fill_(float("nan"))
    with pytest.raises(NumericalError, match="diverged"):
        drift_nats_per_token(base, broken, PASSAGES)


def test_the_packaged_text_is_many_distinct_passages_of_even_length() -> None:
    passages = neutral_passages()
    assert len(passages) >= 24 and len(set(passages)) == len(passages)
    assert all(60 <= len(text.split()) <= 90 and text.endswith(".") for text in passages)
    assert not any("#" in text or "\n" in text or "  " in text for text in passages)
    assert all(text.isascii() for text in passages)
