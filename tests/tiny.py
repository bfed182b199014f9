"""Tiny random students, tokenizers, questions and suites, small enough to check everything on them.

Models have two or three layers of width 32 and random weights drawn wide enough that logits, scores and
gradients differ visibly. Tokenizers are byte-level BPE trained here on a few sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from compact_bench.core.records import Question, Rationale, RationaleTruth

__all__ = [
    "CHATML_KINDS",
    "MODEL_KINDS",
    "TOKENIZER_KINDS",
    "make_model",
    "make_student_folder",
    "make_tokenizer",
    "question",
    "questions",
    "with_truth",
]

MODEL_KINDS = (
    "llama",
    "llama_untied",
    "qwen2",
    "qwen3",
    "gemma2",
    "gemma3",
    "phi",
    "phi3",
    "gpt2",
)
TOKENIZER_KINDS = ("chatml", "chatml_merging", "llama3", "gemma")
CHATML_KINDS = ("chatml", "chatml_merging")

# ----------------------------------------------------------------------------------------------- tokenizers

_SENTENCES = """Tom has 3 apples and buys 12 more apples. How many apples does Tom have now? The answer is 15.
Therefore the total is 145, so each child gets 29. Thus we add. Hence it holds. So the sum is 8. Wait, But
However, Although First, Second, Finally, Let us say. Therefore, we need the number of pencils. So we get 4.
There were 20 birds on the tree. Let x be the number. Okay. Note that half of them left. The answer is 10.
Mary gave 5 books to her brother. First, she had 17 books. Second, she gave 5. Finally, 17 minus 5 is 12.
The answer is 12. The answer is True. The answer is False. user assistant system model"""
_THINKING = "Therefore Thus Hence So Wait But Let First Second Note"

_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_GEMMA = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

_SPECIALS: dict[str, dict[str, Any]] = {
    "chatml": {"tokens": ("<|im_start|>", "<|im_end|>", "<|pad|>"), "template": _CHATML, "bos": None,
               "eos": "<|im_end|>", "pad": "<|pad|>"},
    "llama3": {"tokens": ("<|begin|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|end|>"),
               "template": _LLAMA3, "bos": "<|begin|>", "eos": "<|eot_id|>", "pad": "<|end|>"},
    "gemma": {"tokens": ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
              "template": _GEMMA, "bos": "<bos>", "eos": "<eos>", "pad": "<pad>"},
}  # fmt: skip


def make_tokenizer(kind: str, vocab_size: int = 460) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template.

    Args:
        kind: "chatml", "chatml_merging" (a newline merges with the white space after it, and
            offsets leave outer white space out), "llama3" (adds a
            start token, which its template writes as well, as the real one does) or "gemma" (its real
            end-of-turn token is not its end-of-sequence token).
        vocab_size: tokens in the vocabulary, special ones included; few sentences may give fewer.
    """
    form = _SPECIALS["chatml" if kind == "chatml_merging" else kind]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    text = _SENTENCES.splitlines() + [_THINKING, *_THINKING.split()] * 4
    if kind in ("chatml_merging", "llama3"):
        text = text + ["a\n\nb\n\nc", "a\n b\n  c\n \n x"] * 8
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(form["tokens"]),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(text, trainer)
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in form["tokens"]])
    if kind == "chatml_merging":
        backend.post_processor = processors.ByteLevel(trim_offsets=True)
    if form["bos"]:
        bos = form["bos"]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=form["bos"],
        eos_token=form["eos"],
        pad_token=form["pad"],
        padding_side="right",
        truncation_side="right",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = form["template"]
    return tokenizer


# --------------------------------------------------------------------------------------------------- models


def _common(vocab: int, layers: int) -> dict[str, Any]:
    return {
        "vocab_size": vocab,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.2,
        "attention_dropout": 0.0,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def _config(kind: str, vocab: int, **changes: Any) -> Any:
    import transformers as t

    base = _common(vocab, 2)
    if kind in ("llama", "llama_untied"):
        return t.LlamaConfig(**(base | {"tie_word_embeddings": kind == "llama"} | changes))
    if kind == "qwen2":
        return t.Qwen2Config(**(base | {"tie_word_embeddings": False} | changes))
    if kind == "qwen3":
        return t.Qwen3Config(**(base | {"head_dim": 12, "tie_word_embeddings": True} | changes))
    if kind in ("gemma2", "gemma3"):
        extra = {"head_dim": 12, "query_pre_attn_scalar": 12, "sliding_window": 16}
        if kind == "gemma2":
            extra |= {"final_logit_softcapping": 3.0, "attn_logit_softcapping": None}
            return t.Gemma2Config(**(base | extra | changes))
        extra |= {"layer_types": ["sliding_attention", "full_attention"]}
        return t.Gemma3TextConfig(**(base | extra | changes))
    if kind == "phi":
        extra = {"partial_rotary_factor": 0.5, "qk_layernorm": True, "tie_word_embeddings": False}
        extra |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0}
        return t.PhiConfig(**(base | extra | changes))
    if kind == "phi3":
        extra = {"tie_word_embeddings": False, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "sliding_window": None}
        return t.Phi3Config(**(base | extra | changes))
    if kind == "gpt2":
        return t.GPT2Config(
            vocab_size=vocab, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.2,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
    raise ValueError(f"no tiny model of kind {kind!r}; there are {', '.join(MODEL_KINDS)}")


def make_model(kind: str, vocab: int, seed: int = 0, **changes: Any) -> torch.nn.Module:
    """A random model in float32, evaluation mode; biases and norms are drawn too, not left at 0 and 1.

    Args:
        kind: one of `MODEL_KINDS`.
        vocab: rows of the embedding; may exceed the tokenizer's length, as it does in real students.
        seed: of the weights.
        changes: fields of the transformers configuration.
    """
    from transformers import AutoModelForCausalLM

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(_config(kind, vocab, **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(0.3 * noise)
    model.eval()
    return model


def make_student_folder(
    folder: Path, kind: str = "llama", tokenizer_kind: str = "chatml", seed: int = 0, **changes: Any
) -> Path:
    """A folder that `from_pretrained` and `load_student` read.

    Args:
        folder: where; made if missing.
        kind, tokenizer_kind, seed, changes: as in `make_model` and `make_tokenizer`.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(tokenizer_kind)
    model = make_model(kind, len(tokenizer) + 5, seed, **changes)
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# ------------------------------------------------------------------------------------------------ questions

_RATIONALES: dict[str, tuple[str, ...]] = {
    # gold 145; right, right written otherwise, wrong, no stated answer
    "pencils": (
        "First, there are 100 pencils. So we add 45 to get 145. The answer is 145.",
        "Let us add. Therefore 100 + 45 = 145. Wait, right.\nSo the total is 145.\nThe answer is 145.0",
        "The sum is 155. The answer is 155.",
        "Thus 100 and 45 make 145 pencils.",
    ),
    # gold 12; the raw texts begin with white space, one states two answers
    "books": (
        "  She had 17 books. So 17 - 5 = 12. The answer is 12.",
        "\nFirst, 17. Second, 5. Finally, we subtract. The answer is 22. Wait, no. The answer is 12.",
        "\n\nHence 12 books are left. The answer is 12.0.",
        " But it may be 10 or more, However we say 11. The answer is 11.\n",
    ),
    # gold True; text answers
    "birds": (
        "Birds have wings. Therefore they fly. The answer is True.",
        "Although some do not fly, most do. So the answer is clear. The answer is True",
        "Note that a hen does not fly far. The answer is False.",
        "Okay. Let me think about birds, wings and trees. Suppose they fly. The answer is True.",
    ),
}
_TEXTS = {
    "pencils": ("A box has 100 pencils and Tom adds 45. How many pencils are there?", "145"),
    "books": ("Mary had 17 books and gave 5 to her brother. How many books has she now?", "12.0"),
    "birds": ("Do birds fly?", "True"),
}
TEACHERS = ("ada", "bob", "cyd", "dee")


def question(name: str = "pencils", teachers: int = 4) -> Question:
    """One question with the rationales of the first `teachers` teachers.

    Args:
        name: "pencils" (one right, one right but written 145.0, one wrong, one without an answer), "books"
            (raw texts with outer white space, gold answer written 12.0) or "birds" (answers are words).
        teachers: 1 to 4.
    """
    text, gold = _TEXTS[name]
    rationales = zip(TEACHERS[:teachers], _RATIONALES[name][:teachers], strict=True)
    return Question(
        id=f"{name}-{teachers}",
        text=text,
        gold_answer=gold,
        rationales=tuple(Rationale(teacher=t, text=r) for t, r in rationales),
        source=f"tiny, {name}",
    )


def questions(count: int = 8, teachers: int = 2) -> tuple[Question, ...]:
    """Different arithmetic questions with rationales of unequal lengths, for training tests.

    Args:
        count: how many.
        teachers: rationales each, 1 to 4; the second teacher is sometimes wrong.
    """
    made = []
    for n in range(count):
        a, b = 3 + 7 * n, 2 + 3 * n
        total = a + b
        second = total if n % 3 else total + 1
        texts = (
            f"So we add {a} and {b}. The answer is {total}.",
            f"First, he has {a} apples. Second, {b} more.{' Wait.' * (n % 4)} The answer is {second}.",
            f"Therefore, {a} + {b} = {total}.\nThe answer is {total}.0",
            f"Let x be {a}. Then x + {b} is {total}." + " Note that it holds." * (n % 3),
        )
        made.append(
            Question(
                id=f"sum-{n}",
                text=f"Tom has {a} apples and buys {b} more. How many apples does Tom have now?",
                gold_answer=str(total),
                rationales=tuple(
                    Rationale(teacher=t, text=x)
                    for t, x in zip(TEACHERS[:teachers], texts[:teachers], strict=True)
                ),
                source=f"tiny, row {n}",
            )
        )
    return tuple(made)


def with_truth(
    questions: Sequence[Question], is_right: Callable[[int, int], bool], families: Sequence[str] = ("",)
) -> tuple[Question, ...]:
    """The same questions with every rationale said to be right or wrong.

    Args:
        questions: the questions.
        is_right: (index of the question, index of the teacher) -> whether that rationale is right.
        families: the questions' families, in turn.
    """
    return tuple(
        replace(
            question,
            family=families[n % len(families)],
            rationales=tuple(
                replace(r, truth=RationaleTruth(is_right(n, k), None if is_right(n, k) else 1, 2, "plain"))
                for k, r in enumerate(question.rationales)
            ),
        )
        for n, question in enumerate(questions)
    )
