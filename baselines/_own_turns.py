"""Turns that a student writes itself, question and answer, before it is trained; kept in the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compact_bench import (
    DataError,
    EncodedQuestion,
    Student,
    StudentError,
    chat_text,
    derive_seed,
    encode_branch,
    fingerprint,
    made_once,
    prompt_ids,
)

AUTHOR = "student"
"""Whose the turns are, where branches have a teacher."""
_BATCH = 64
_TRIES = 4
"""Turns are tried at most this many times the number wanted: some are empty."""


@dataclass(frozen=True)
class TurnSettings:
    """How turns are written.

    Attributes:
        number: how many.
        temperature: of sampling.
        question_tokens, answer_tokens: longest question and answer.
    """

    number: int
    temperature: float
    question_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class Turns:
    """What a student wrote.

    Attributes:
        encoded: one question with one branch each.
        fingerprint: of the texts.
    """

    encoded: tuple[EncodedQuestion, ...]
    fingerprint: str


def user_header_ids(student: Student) -> list[int]:
    """Tokens that open a user turn in the student's chat template: what stands before its text.

    Raises:
        StudentError: the template does not keep the user's text.
    """
    mark = "What is this"
    text = chat_text(student.tokenizer, mark, None)
    head, kept_text, _ = text.partition(mark)
    ids: list[int] = student.tokenizer(head, add_special_tokens=False)["input_ids"]
    if not kept_text or not ids:
        raise StudentError(
            f"the chat template of this student gives {text[:60]!r}: expected the user's text with a header "
            "before it, from which the student can write a turn itself."
        )
    return ids


def own_turns(
    student: Student, settings: TurnSettings, seed: int, path: Path, max_length_tokens: int
) -> Turns:
    """The student's own turns: read where they were written already, else written now and kept.

    Args:
        student: untrained, as it is before a run.
        settings: how many, and how.
        seed: of the sampling; the global generators stay as they are.
        path: the file that keeps them.
        max_length_tokens: longest row; longer turns are not taken.

    Raises:
        DataError: too few turns could be had.
        StoreError: the file is of another run.
    """
    mark = {"seed": seed, **vars(settings)}
    texts = made_once(path, mark, lambda: _write(student, settings, seed, max_length_tokens))
    encoded = [_encoded(student, n, question, answer) for n, (question, answer) in enumerate(texts)]
    return Turns(tuple(encoded), fingerprint(texts))


def _encoded(student: Student, number: int, question: str, answer: str) -> EncodedQuestion:
    branch = encode_branch(student, question, answer, teacher=AUTHOR, gold_answer="")
    return EncodedQuestion(f"own turn {number}", "", (), (branch,))


def _write(student: Student, settings: TurnSettings, seed: int, max_length_tokens: int) -> list[list[str]]:
    header = user_header_ids(student)
    turns: list[list[str]] = []
    training = student.model.training
    student.model.eval()
    devices = [student.device] if student.device.type == "cuda" else []
    try:
        for batch in range(-(-_TRIES * settings.number // _BATCH)):
            with torch.random.fork_rng(devices=devices):
                torch.manual_seed(derive_seed(seed, f"turns {batch}"))
                questions = _sample(
                    student, [header] * _BATCH, settings.temperature, settings.question_tokens
                )
                written = [question for question in questions if question]
                prompts = [prompt_ids(student.tokenizer, question) for question in written]
                answers = _sample(student, prompts, settings.temperature, settings.answer_tokens)
            turns += [
                [question, answer]
                for question, answer in zip(written, answers, strict=True)
                if answer and _fits(student, question, answer, max_length_tokens)
            ]
            if len(turns) >= settings.number:
                return turns[: settings.number]
    finally:
        student.model.train(training)
    raise DataError(
        f"student {student.name!r} was to write {settings.number} turns for replay, but of "
        f"{_TRIES * settings.number} tries only {len(turns)} gave a question and an answer",
        mend="ask for fewer (method.turns), or lower method.temperature.",
    )


def _fits(student: Student, question: str, answer: str, max_length_tokens: int) -> bool:
    try:
        branch = _encoded(student, 0, question, answer).branches[0]
    except StudentError:
        # Text that the chat template does not keep, such as markers of its own.
        return False
    return len(branch.input_ids) <= max_length_tokens


def _sample(student: Student, prompts: Sequence[list[int]], temperature: float, longest: int) -> list[str]:
    """What the student says after each prompt, up to the end of its turn."""
    if not prompts:
        return []
    width, pad = max(map(len, prompts)), int(student.tokenizer.pad_token_id or 0)
    ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts], device=student.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=student.device)
    model: Any = student.model
    with torch.no_grad():
        rows = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=longest,
            pad_token_id=pad,
        )
    texts = student.tokenizer.batch_decode(rows[:, width:].tolist(), skip_special_tokens=True)
    return [str(text).strip() for text in texts]
