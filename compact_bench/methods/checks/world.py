"""A tiny random student and a handful of the lab's questions: what the contract is checked on."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from compact_bench.core.records import Question
from compact_bench.core.settings import RunSettings
from compact_bench.data.lab import training_questions
from compact_bench.data.lab.student.tokenizer import lab_tokenizer
from compact_bench.data.lab.world.settings import WorldSettings
from compact_bench.methods.contract import GAPS, SuiteInfo
from compact_bench.students.layout import find_layout
from compact_bench.students.student import Student, attach_lora
from compact_bench.training.protocol import derive_seed

SEED = 7
"""Seed of every run of the checks."""

QUESTIONS, VALIDATION = 6, 2
WIDTH, LAYERS = 32, 2


@dataclass(frozen=True)
class World:
    """Questions and what a method may know of them before it runs.

    Attributes:
        suite: teachers, and everything that a suite may have.
        questions: with the rationales of all teachers, their pairs, reviews and feedback.
        validation: held-out questions.
    """

    suite: SuiteInfo
    questions: tuple[Question, ...]
    validation: tuple[Question, ...]

    def of_teachers(self, count: int) -> World:
        """The same world with its first teachers only."""
        names = self.suite.teachers[:count]
        return World(
            replace(self.suite, teachers=names),
            with_teachers(self.questions, names),
            with_teachers(self.validation, names),
        )

    def ragged(self, allowed: Collection[str]) -> World:
        """The same world where questions lack teachers and teachers have several rationales.

        Args:
            allowed: which of `GAPS` there may be.
        """
        names, questions = self.suite.teachers, []
        for n, question in enumerate(self.questions):
            kept = names
            if "missing_teachers" in allowed and n < len(self.questions) - 1:
                # One question has a single teacher, the last one all; of the others each lacks one.
                kept = names[:1] if n == 1 else tuple(t for k, t in enumerate(names) if k != n % len(names))
            (narrowed,) = with_teachers([question], kept)
            questions.append(_with_second(narrowed) if "several_samples" in allowed else narrowed)
        uneven: dict[str, Any] = {gap: gap in allowed for gap in GAPS}
        return World(replace(self.suite, **uneven), tuple(questions), self.validation)


def _with_second(question: Question) -> Question:
    """The question with a second rationale of its first teacher: in its last teacher's words, and so right or
    wrong as these are.
    """
    first, *others = question.rationales
    if not others:
        return question
    second = replace(others[-1], teacher=first.teacher, sample=2)
    return replace(question, rationales=(replace(first, sample=1), second, *others))


def with_teachers(questions: Sequence[Question], names: Sequence[str]) -> tuple[Question, ...]:
    """The same questions with some teachers only, in this order, with what these wrote and said."""
    rank = {name: number for number, name in enumerate(names)}

    def ranked(items: Sequence[Any], *roles: str) -> tuple[Any, ...]:
        known = [item for item in items if all(getattr(item, role) in rank for role in roles)]
        return tuple(sorted(known, key=lambda item: [rank[getattr(item, role)] for role in roles]))

    return tuple(
        replace(
            q,
            rationales=ranked(q.rationales, "teacher"),
            pairs=ranked(q.pairs, "teacher"),
            reviews=ranked(q.reviews, "author", "reviewer"),
            feedback=ranked(q.feedback, "teacher"),
        )
        for q in questions
    )


@lru_cache(maxsize=1)
def small_world() -> World:
    """Eight questions of the lab with four teachers who err often enough for a few to matter."""
    questions = training_questions(
        WorldSettings(questions=QUESTIONS + VALIDATION, weak_error_rate=0.5, slip_rate=0.5)
    )
    suite = SuiteInfo(
        name="the contract's questions",
        teachers=questions[0].teachers,
        has_gold=True,
        has_truth=True,
        has_pairs=True,
        has_reviews=True,
        has_feedback=True,
    )
    return World(suite, questions[:QUESTIONS], questions[QUESTIONS:])


def run_settings(*, lora: bool, checkpoints: bool = False) -> RunSettings:
    """Settings of a quick run in float32 without dropout: six optimiser steps, three an epoch.

    Args:
        lora: whether adapters are trained, or every weight, then on rows of their own for every branch.
        checkpoints: whether there is one after every step.
    """
    train = {"dtype": "float32", "epochs": 2, "accumulation": 2, "learning_rate": 5e-3, "warmup_steps": 0}
    train["layout"] = "auto" if lora else "padded"
    adapters = {"enabled": lora, "rank": 4, "alpha": 8.0, "dropout": 0.0}
    often = {"checkpoint_seconds": 0.0} if checkpoints else {}
    return RunSettings.model_validate({"train": {**train, **often}, "lora": adapters})


@lru_cache(maxsize=1)
def base_student() -> Student:
    """The student that every fit starts from; no fit may change it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = lab_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        # Wide enough that logits and gradients differ visibly from token to token.
        initializer_range=0.2,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = LlamaForCausalLM(config)
    model.eval()
    return Student(model, tokenizer, "the contract's student", "random", find_layout(model))


def fresh_student(*, lora: bool) -> Student:
    """A student of the same bits each time, on the CPU; the tokenizer is shared, as in real runs."""
    base = base_student()
    student = dataclasses.replace(base, model=copy.deepcopy(base.model))
    attach_lora(student, run_settings(lora=lora).lora, derive_seed(SEED, "init"))
    student.model.eval()
    return student
