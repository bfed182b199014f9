"""SbS-KD, Distilling step-by-step: the label and the rationale as two tasks, told apart by a prefix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, model_validator

from compact_bench import (
    ANSWER_PHRASE,
    Claim,
    ConfigError,
    EncodedQuestion,
    FitReport,
    MethodCard,
    Question,
    Rationale,
    RunContext,
    StepLoss,
    Student,
    SupervisedConfig,
    TrainSettings,
    branch_losses,
    branch_rows,
    canonical_answer,
    encode_question,
    keep_teachers,
    taught_by,
    train,
    unknown_finder,
)

LABEL = ""
"""Stands for a teacher in the branch of the label, which no teacher wrote."""


class SbsKdConfig(SupervisedConfig):
    """Settings of SbS-KD.

    Attributes:
        label_share: alpha, the share of the label's loss, in [0, 1]; the rationales' is 1 - alpha.
        label_prefix: text before the question that asks for the label, in training and in evaluation.
        rationale_prefix: text before the question that asks for a rationale.
        teacher: the teacher whose rationales are used; None for the mean over all.
    """

    label_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    label_prefix: str = "predict: "
    rationale_prefix: str = "explain: "
    teacher: str | None = None

    @model_validator(mode="after")
    def _tasks_differ(self) -> SbsKdConfig:
        if 0.0 < self.label_share < 1.0 and self.label_prefix == self.rationale_prefix:
            raise ValueError(
                f"label_prefix and rationale_prefix: expected two different texts where both tasks are "
                f"trained, got {self.label_prefix!r} twice"
            )
        return self


@dataclass(frozen=True)
class SbsObjective:
    """alpha * label loss + (1 - alpha) * mean of the rationales'; what has no share is not computed."""

    config: SbsKdConfig
    train: TrainSettings

    def encode(self, student: Student, question: Question) -> EncodedQuestion:
        """The label's branch, then those of the rationales, each task behind its own prompt."""
        config = self.config
        label = Rationale(LABEL, f"{ANSWER_PHRASE} {canonical_answer(question.gold_answer)}.")
        rationales = [r for r in question.rationales if config.teacher in (None, r.teacher)]
        tasks = [
            encode_question(
                student,
                replace(question, text=prefix + question.text),
                rationales=texts,
                max_length_tokens=self.train.max_length_tokens,
                long_rows=self.train.long_rows,
            )
            for prefix, texts in ((config.label_prefix, [label]), (config.rationale_prefix, rationales))
        ]
        return replace(tasks[0], branches=tuple(branch for task in tasks for branch in task.branches))

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean of the questions' losses."""
        shares = [self.shares(question) for question in batch]
        seen = tuple(
            keep_teachers(q, [name for name, share in of_question.items() if share > 0.0])
            for q, of_question in zip(batch, shares, strict=True)
        )
        totals, rows = [], []
        losses = branch_losses(student, seen, self.train, self.config.sft_reduction)
        for question, computed, share, of_branches in zip(batch, seen, shares, losses, strict=True):
            stacked = torch.stack(of_branches)
            totals.append((stacked * stacked.new_tensor([share[b.name] for b in computed.branches])).sum())
            known = dict(zip((b.name for b in computed.branches), of_branches, strict=True))
            missing = stacked.new_tensor(math.nan)
            rationales = keep_teachers(question, [name for name in share if name != LABEL])
            rows += branch_rows(
                [rationales],
                [[known.get(b.name, missing) for b in rationales.branches]],
                [[share[b.name] for b in rationales.branches]],
                label_loss=dict.fromkeys(
                    [b.teacher for b in rationales.branches], float(known.get(LABEL, missing).detach())
                ),
            )
        return StepLoss(torch.stack(totals).mean(), rows, seen=seen)

    def shares(self, question: EncodedQuestion) -> dict[str, float]:
        """Name of a rationale, or LABEL, -> share of its loss in the question's; they sum to 1."""
        alpha = self.config.label_share
        each = (1.0 - alpha) / (len(question.branches) - 1)
        return {b.name: alpha if b.teacher == LABEL else each for b in question.branches}


@dataclass(frozen=True)
class SbsKd:
    """L = alpha NLL(label | label prefix, x) + (1 - alpha) mean_k NLL(rationale_k | rationale prefix, x)."""

    config: SbsKdConfig
    config_type = SbsKdConfig
    card = MethodCard(
        title="SbS-KD: Distilling step-by-step, label and rationale as two tasks told apart by a prefix",
        short="SbS-KD",
        source="arXiv 2305.02301; loss, prefixes and alpha as in google-research/distilling-step-by-step at "
        "ef94426 (run.py, model_utils.py, train_utils.py). The full text was not at hand",
        deviations=(
            "the paper adds lambda times the rationale loss, lambda unknown; the code's convex weights are "
            "used, with its recommended alpha 0.5",
            "the label is 'The answer is <gold>.' in the suite's form, so that every method's answers are "
            "read by one rule; the source's label is the bare one (on SVAMP an equation)",
            "a decoder behind its chat template, with the prefix in the user's turn; the source's is T5",
            "learning rate, batch and steps are the suite's, as for every method (source: 5e-5, 64, 10,000)",
        ),
        ours=(
            "several rationales: the mean of their losses, which the source does not define; teacher=NAME "
            "takes one teacher as the source does, and the questions for which it has a rationale",
            "evaluation asks with the label's prefix only, so the student answers without a rationale: "
            "all benchmarks, retention included, and validation nats are read that way, so a fall in "
            "retention may be the prompt's; drift is measured on plain text",
            "a suite may give other prefixes where the student's vocabulary is closed, as lab does",
            "variant vanilla: arXiv 2601.13992 describes its SbS-KD baseline as vanilla CoT distillation "
            "from one teacher and does not name the teacher; it is plain fine-tuning on rationales without "
            "prefixes: single_teacher where teacher is set, else uniform",
            "a task with share 0 is not computed; variant label-only is the source's fine-tuning on labels",
        ),
        uses_gold=True,
        needs=("a rationale", "the gold answer (variant vanilla does not train on it)"),
        claims=(
            Claim("beats training on labels alone", "arXiv 2305.02301, abstract", "sbs_kd[label-only]"),
            Claim(
                "label and rationale as two tasks beat the answer at the end of the rationale",
                "arXiv 2305.02301, ablation, as third parties summarise it",
                # What variant vanilla without a teacher is; under two names it would be tested twice.
                "uniform",
            ),
        ),
        allows=("missing_teachers", "several_samples"),
    )
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "vanilla": {"label_share": 0.0, "label_prefix": "", "rationale_prefix": ""},
        "label-only": {"label_share": 1.0},
    }
    # Words of the lab's small vocabulary, which checks are made in.
    example_config: ClassVar[Mapping[str, Any]] = {"label_prefix": "answer: ", "rationale_prefix": "think: "}

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train both tasks; evaluation then asks with the label's prefix."""
        teacher = self.config.teacher
        if teacher is not None:
            questions = taught_by(questions, teacher)
        _check_prefixes(student, self.config)
        report = train(student, questions, SbsObjective(self.config, context.settings.train), context)
        return replace(report, prompt_prefix=self.config.label_prefix)


def _check_prefixes(student: Student, config: SbsKdConfig) -> None:
    """Refuse prefixes that a closed vocabulary would turn into one and the same unknown token."""
    find = unknown_finder(student.tokenizer)
    texts = {name: str(getattr(config, name)) for name in ("label_prefix", "rationale_prefix")}
    unknown = {name: words for name, text in texts.items() if find is not None and (words := find(text))}
    if unknown:
        problems = "; ".join(f"{texts[n]!r} with {', '.join(map(repr, w))}" for n, w in unknown.items())
        raise ConfigError(
            f"method sbs_kd: expected prefixes in words that student {student.name!r} knows, got {problems}. "
            f"Give others with --set method.{next(iter(unknown))}='...' or under [method_settings.sbs_kd] in "
            "the suite's file."
        )


METHOD = SbsKd
