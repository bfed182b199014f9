"""Useful operations: the formula against torch's own counter and against counting pairs one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from compact_bench.commands.bench.contenders.contenders import CONTENDERS, padded_shapes
from compact_bench.commands.bench.contenders.work import Work, WorkFacts, work_facts
from compact_bench.commands.bench.measuring.ceiling import Ceiling
from compact_bench.commands.bench.measuring.flops import Counts, counts_of, linear_shapes, step_flops
from compact_bench.commands.bench.measuring.need import needed_bytes
from compact_bench.core.settings import LoraSettings
from compact_bench.students.student import Student, attach_lora
from tests import tiny

Load = Callable[..., Student]
TOKENS, ROWS = 11, 3


def counted(student: Student) -> int:
    """What torch counts for `ROWS` rows of `TOKENS` tokens with logits everywhere."""
    student.layout.backbone(student.model).config._attn_implementation = "eager"
    ids = torch.randint(5, 40, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter:
        student.model(ids, use_cache=False).logits.logsumexp(-1).sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("kind", ["llama", "llama_untied", "qwen2", "qwen3", "phi3"])
@pytest.mark.parametrize("lora", [True, False])
def test_the_formula_is_what_torch_counts(load_tiny: Load, kind: str, lora: bool) -> None:
    student = load_tiny(kind, "chatml")
    attach_lora(student, LoraSettings(enabled=lora, rank=3, dropout=0.0), seed=1)
    # Eager attention computes every pair, also those that the causal mask hides.
    counts = Counts(ROWS * TOKENS, ROWS * TOKENS, ROWS * TOKENS * TOKENS)
    assert step_flops(student, counts) == counted(student)


def test_adapters_on_few_layers_are_counted(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")
    attach_lora(student, LoraSettings(targets=("q_proj", "down_proj"), dropout=0.0), seed=1)
    counts = Counts(ROWS * TOKENS, ROWS * TOKENS, ROWS * TOKENS * TOKENS)
    # Nothing below the first layer's keys and values trains here, so that attention there needs no gradient
    # of theirs: two products, which the formula does not leave out.
    width = student.layout.heads * student.layout.head_dim
    assert step_flops(student, counts) - counted(student) == 2 * 2 * counts.attention_pairs * width


def facts() -> WorkFacts:
    return WorkFacts(
        origin="tests",
        question_ids=("a", "b"),
        teachers=2,
        prompt_tokens=(3, 2),
        rationale_tokens=((4, 2), (1, 5)),
        tokens=(3 + 5) + (3 + 3) + (2 + 2) + (2 + 6),
        packed_tokens=3 + 5 + 3 + 2 + 2 + 6,
    )


def seen_pairs(prompt: int, tails: tuple[int, ...]) -> int:
    """Pairs of a packed question, counted in a mask."""
    owner = [-1] * prompt + [k for k, tail in enumerate(tails) for _ in range(tail)]
    return sum(owner[j] in (-1, owner[i]) for i in range(len(owner)) for j in range(i + 1))


def test_what_a_step_goes_over() -> None:
    packed = counts_of(facts(), "packed")
    assert packed.tokens == facts().packed_tokens
    assert packed.head_positions == 5 + 3 + 2 + 6
    assert packed.attention_pairs == seen_pairs(3, (5, 3)) + seen_pairs(2, (2, 6))
    rows = counts_of(facts(), "rows")
    assert (rows.tokens, rows.head_positions) == (facts().tokens, packed.head_positions)
    assert rows.attention_pairs == sum(seen_pairs(n, ()) for n in (8, 6, 4, 8))
    released = counts_of(facts(), "released")
    assert released == Counts(rows.tokens, rows.tokens, rows.attention_pairs)


def test_shapes_of_the_student_are_its_own_without_adapters(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")
    plain = linear_shapes(student)
    assert plain == {(32, 32): 4, (16, 32): 4, (48, 32): 4, (32, 48): 2}
    attach_lora(student, LoraSettings(), seed=1)
    assert linear_shapes(student) == plain


def test_the_ceiling_is_a_rate_that_no_clock_could_miss(
    load_tiny: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compact_bench.commands.bench.measuring.ceiling.LEAST_SECONDS", 0.002)
    ceiling = Ceiling(load_tiny("llama", "chatml"), tokens=64, head_positions=32, side=128)
    # Any machine makes more than a million and fewer than 10^16 operations a second.
    assert 1e6 < ceiling.square() < 1e16
    assert 1e6 < ceiling.shapes() < 1e16


def test_more_work_needs_more_memory(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")

    def needed(name: str, *questions: str, teachers: int = 4) -> int:
        work = Work(tuple(tiny.question(q, teachers) for q in questions), "")
        shapes = padded_shapes(student, work, 2560)
        return needed_bytes(student, CONTENDERS[name], work_facts(student, work, 2560), shapes)

    assert needed("ours", "pencils") < needed("ours", "pencils", "books")
    assert needed("ours", "pencils", teachers=2) < needed("ours", "pencils")
    assert needed("ours", "pencils") < needed("sft", "pencils") < needed("released", "pencils")
    assert needed("released_checkpointed", "pencils") < needed("released", "pencils")
    # One question at a time: a second, smaller one costs the released algorithm nothing more.
    assert needed("released", "books", "birds") == max(needed("released", q) for q in ("books", "birds"))
