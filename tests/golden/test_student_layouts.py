"""Where a student's parts are: found for the known families, refused by name for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compact_bench import load_student
from compact_bench.core.errors import StudentError
from compact_bench.students.student import Student
from tests import tiny
from tests.golden import reference
from tests.golden.support import NATIVE, load

Folders = Callable[..., Path]


def test_another_layout_is_refused_with_what_was_looked_for(student_folder: Folders) -> None:
    with pytest.raises(StudentError) as caught:
        load_student(str(student_folder("gpt2", "chatml")), device="cpu")
    message = str(caught.value)
    assert "GPT2LMHeadModel" in message
    assert "q_proj" in message
    assert "layers" in message


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("kind", NATIVE)
def test_queries_and_keys(student_folder: Folders, kind: str, lora: bool) -> None:
    """Head by head, norms included where the model has them; Phi-3's fused projection is cut rightly."""
    student = load(student_folder(kind, NATIVE[kind]), lora=lora)
    vectors = torch.randn(3, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        queries, keys = student.layout.queries_and_keys(student.model, vectors, norms=True)
        flat_q, flat_k = student.layout.queries_and_keys(student.model, vectors, norms=False)
        group = queries.shape[1] // keys.shape[1]
        assert group == 2
        for n, vector in enumerate(vectors):
            q, k = reference.paper_query_key_heads(student.model, vector)
            torch.testing.assert_close(queries[n].flatten(), q)
            torch.testing.assert_close(keys[n].repeat_interleave(group, dim=0).flatten(), k)
            q, k = reference.flat_query_key(student.model, vector)
            torch.testing.assert_close(flat_q[n].flatten(), q)
            torch.testing.assert_close(flat_k[n].flatten(), k)


@pytest.mark.parametrize("kind", NATIVE)
def test_logits_are_the_models_own(student_folder: Folders, kind: str) -> None:
    student: Student = load(student_folder(kind, NATIVE[kind]))
    ids = torch.arange(10, 30)[None]
    with torch.no_grad():
        output = student.model(input_ids=ids, output_hidden_states=True)
        hidden = student.layout.backbone(student.model)(input_ids=ids).last_hidden_state
        torch.testing.assert_close(hidden, output.hidden_states[-1])
        torch.testing.assert_close(student.layout.logits(student.model, hidden), output.logits)


def test_a_projection_of_unexpected_width_is_refused(student_folder: Folders) -> None:
    from compact_bench.students.layout import find_layout

    student = load(student_folder("phi3", "chatml"))
    attention = student.model.model.layers[-1].self_attn
    attention.qkv_proj = torch.nn.Linear(32, 90, bias=False)
    with pytest.raises(StudentError, match="qkv_proj"):
        find_layout(student.model)


_THINKING_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)


def test_an_empty_thinking_block_belongs_to_the_prompt(student_folder: Folders) -> None:
    """As in Qwen-3's template: nothing of the block is supervised, and prompts of training and use agree."""
    from compact_bench.students.chat import prompt_ids
    from compact_bench.training.branches import encode_question

    student = load(student_folder("qwen3", "chatml"))
    student.tokenizer.chat_template = _THINKING_TEMPLATE
    question = tiny.question("books", 3)
    for branch in encode_question(student, question).branches:
        prompt = list(branch.input_ids[: branch.prompt_tokens])
        assert prompt == prompt_ids(student.tokenizer, question.text)
        assert student.tokenizer.decode(prompt).endswith("<think>\n\n</think>\n\n")
        rationale = student.tokenizer.decode(branch.input_ids[branch.prompt_tokens : -1])
        assert rationale.startswith(("She had", "First", "Hence"))
        assert student.tokenizer.decode([branch.input_ids[-1]]) == "<|im_end|>"
