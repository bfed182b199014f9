"""Templates that think: the prompt of a training row is the prompt that evaluation asks, token by token."""

from __future__ import annotations

import time
from typing import Any

import pytest

from compact_bench.core.errors import StudentError
from compact_bench.students import chat
from compact_bench.students.chat import chat_text, check_template, encode_row, freeze_dates, prompt_ids
from tests import tiny

_TURNS = (
    "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n{% else %}"
    "ASSISTANT{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\nSTART{% endif %}"
)
# As Qwen3's: the last answer's reasoning is split off and written between tags, empty or not; thinking that
# is switched off begins the answer with an empty block.
_QWEN3 = _TURNS.replace(
    "ASSISTANT",
    "{% set text = m.content %}{% set thought = '' %}{% if '</think>' in text %}"
    "{% set thought = text.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"
    "{% set text = text.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "<|im_start|>assistant\n{% if loop.last or thought %}<think>\n{{ thought.strip('\\n') }}\n</think>\n\n"
    "{{ text.lstrip('\\n') }}{% else %}{{ text }}{% endif %}<|im_end|>\n",
)
QWEN3 = _QWEN3.replace(
    "START",
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}",
)
# As Qwen3's that always think: the prompt opens the block, a finished answer holds an empty one.
QWEN3_THINKING = _QWEN3.replace("START", "<think>\n")
# As DeepSeek-R1's: the prompt opens the block, a finished answer has none, and reasoning is cut out of it.
R1 = _TURNS.replace(
    "ASSISTANT",
    "<|im_start|>assistant\n{% set text = m.content %}{% if '</think>' in text %}"
    "{% set text = text.split('</think>')[-1] %}{% endif %}{{ text }}<|im_end|>",
).replace("START", "<think>\n")
# As Phi-4-mini's or SmolLM3's: nothing is known of thinking, or only through a switch that is off.
PLAIN = _TURNS.replace("ASSISTANT", "<|im_start|>assistant\n{{ m.content }}<|im_end|>\n").replace("START", "")
CUT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content[:3000] if LIMIT else m.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TWICE = PLAIN.replace("assistant\n{{ m.content }}", "assistant\n{{ m.content }}{{ m.content }}")
TEMPLATES = {"qwen3": QWEN3, "qwen3_thinking": QWEN3_THINKING, "r1": R1, "plain": PLAIN}

RATIONALE = "First, 17. So 17 - 5 = 12.\nThe answer is 12."


def tokenizer_with(template: str, kind: str = "chatml") -> Any:
    made = tiny.make_tokenizer(kind)
    made.chat_template = template
    return made


def asked_by_evaluation(tokenizer: Any, question: str) -> list[int]:
    """As the harness asks, which passes the switch to templates that know it."""
    switch = {"enable_thinking": False} if "enable_thinking" in tokenizer.chat_template else {}
    turn = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True, **switch)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


@pytest.mark.parametrize("kind", tiny.CHATML_KINDS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_row_begins_with_the_prompt_that_evaluation_asks(name: str, kind: str) -> None:
    tokenizer = tokenizer_with(TEMPLATES[name], kind)
    row = encode_row(tokenizer, "How many?", RATIONALE)
    asked = asked_by_evaluation(tokenizer, "How many?")
    assert list(row.input_ids[: row.prompt_tokens]) == asked == prompt_ids(tokenizer, "How many?")
    rest = tokenizer.decode(row.input_ids[row.prompt_tokens :])
    assert rest == f"{RATIONALE}<|im_end|>"
    assert len(row.input_ids) == row.prompt_tokens + row.rationale_tokens + 1
    assert row.spans[0][0] == 0 and row.spans[-1][1] == len(RATIONALE)
    for token, (start, end) in zip(row.input_ids[row.prompt_tokens :], row.spans, strict=False):
        assert tokenizer.decode([token]).strip() == RATIONALE[start:end].strip()


def test_the_prompts_are_what_the_templates_say() -> None:
    ends = {name: chat_text(tokenizer_with(t), "Hm?", None) for name, t in TEMPLATES.items()}
    assert ends["qwen3"].endswith("assistant\n<think>\n\n</think>\n\n")
    assert ends["r1"].endswith("assistant\n<think>\n") and ends["qwen3_thinking"].endswith("<think>\n")
    assert ends["plain"].endswith("assistant\n")


def test_a_rationale_that_thinks_is_kept_whole_or_refused() -> None:
    thought = "<think>\nLet x be 12.\n</think>\n\nThe answer is 12."
    row = encode_row(tokenizer_with(QWEN3), "How many?", thought)
    tokenizer = tokenizer_with(QWEN3)
    assert list(row.input_ids[: row.prompt_tokens]) == asked_by_evaluation(tokenizer, "How many?")
    assert tokenizer.decode(row.input_ids[row.prompt_tokens :]) == f"{thought}<|im_end|>"
    with pytest.raises(StudentError, match="does not keep the assistant's text"):
        encode_row(tokenizer_with(R1), "How many?", thought)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ raise_exception('no such turns') }}", "no such turns"),
        ("{% for m in messages %}{{ m.nothing.deeper }}{% endfor %}", "UndefinedError"),
        ("{% for m in messages %}{{ m.content }", "no template"),
        ("{{ messages | no_such_filter }}", "no template|TemplateAssertionError|no_such_filter"),
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "does not keep"),
        ("{{ messages.__class__.__mro__ }}", "failed|does not keep"),
        ("{{ cycler.__init__.__globals__.os.system('true') }}", "failed"),
        ("{{ 99999 ** 99999 ** 9 }}", "powers"),
        ("{{ 'a' * 99999999999 }}", "99999999999"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "RecursionError|failed"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "end-of-turn"),
        (TWICE, "2 times"),
        (CUT.replace("LIMIT", "m.role == 'user'"), "keep the user's text"),
        (CUT.replace("LIMIT", "m.role == 'assistant'"), "keep the assistant's text"),
    ],
)
def test_a_bad_template_is_one_clear_error(template: str, says: str) -> None:
    with pytest.raises(StudentError, match=says) as caught:
        check_template(tokenizer_with(freeze_dates(template)), "someone/student")
    assert "someone/student" in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_template_without_an_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "_TEMPLATE_SECONDS", 0.5)
    loops = "{% for m in messages %}{{ m.content }}{% endfor %}"
    for name in "abcd":
        loops = f"{{% for {name} in range(99999) %}}{loops}{{% endfor %}}"
    started = time.monotonic()
    with pytest.raises(StudentError, match="got no end"):
        check_template(tokenizer_with(loops), "someone/student")
    assert time.monotonic() - started < 20
