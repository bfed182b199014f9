"""EDIT: fine-tuning on right and rectified rationales, then on the key steps of right and wrong pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from compact_bench import (
    Claim,
    DataError,
    EncodedBranch,
    EncodedQuestion,
    FitReport,
    HeadValues,
    MethodCard,
    NonNegative,
    Question,
    Rate,
    Rationale,
    RationalePair,
    RunContext,
    StepLoss,
    Strict,
    Student,
    TrainingPart,
    TrainSettings,
    answer_span,
    branch_hidden,
    branch_values,
    encode_question,
    extract_answer,
    joined_report,
    same_answer,
    schedule_steps,
    train,
)

from ._alignment import align

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class EditConfig(Strict):
    """Settings of EDIT.

    Attributes:
        stage_1_share: share of the schedule's optimiser steps that fine-tune; the others learn key steps.
        stage_2_rate_factor: learning rate of stage 2 as a multiple of the run's.
        stage_2_weight_decay: weight decay of stage 2; stage 1 has the run's.
        alpha: weight of the chosen text's tokens that the wrong one lacks or has otherwise.
        beta: weight of the rejected text's tokens that the right one lacks or has otherwise; below 0, so that
            they become less likely.
        gamma: weight of the chosen text's other tokens.
        rectified: whether right texts that were made from wrong ones, and their pairs, are used.
    """

    stage_1_share: Share = 0.6
    stage_2_rate_factor: Rate = 0.025
    stage_2_weight_decay: NonNegative = 0.0
    alpha: NonNegative = 1.0
    beta: Annotated[float, Field(le=0.0)] = -0.025
    gamma: NonNegative = 0.0
    rectified: bool = True


@dataclass(frozen=True)
class _Text:
    """A text to train on.

    Attributes:
        weights: one per supervised token.
        share: share of a teacher's own rationale in its question's loss; 0 of another text.
        chosen: whether it is to become likelier.
    """

    branch: EncodedBranch
    weights: tuple[float, ...]
    share: float
    chosen: bool = True


@dataclass(frozen=True)
class _Texts(EncodedQuestion):
    """A question with weighed texts.

    Attributes:
        texts: one per branch.
        divisor: what the sum of their losses is divided by; 0 where there is only a place holder.
    """

    texts: tuple[_Text, ...] = ()
    divisor: int = 0


@dataclass(frozen=True)
class _WeighedTexts:
    """What both stages share: the sum over a question's texts of sum_t w_t NLL_t / T, over their number."""

    train: TrainSettings
    config: EditConfig

    def encoded(self, student: Student, question: Question, texts: Sequence[Rationale]) -> EncodedQuestion:
        """Branches of some texts; where there is none, a first rationale holds the question's place."""
        held = texts or [min(question.rationales, key=lambda rationale: rationale.teacher)]
        limit, long = self.train.max_length_tokens, self.train.long_rows
        return encode_question(student, question, rationales=held, max_length_tokens=limit, long_rows=long)

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean over the questions; one without texts counts with loss 0 and is not computed."""
        known = [question for question in batch if isinstance(question, _Texts)]
        # A pass without any text computes one question at weight 0, so that its gradient is 0, not missing.
        seen = tuple(question for question in known if question.divisor) or tuple(known[:1])
        states = branch_hidden(student, seen, self.train.layout)
        values = branch_values(student, seen, states, self.train, with_gold=False)
        total, rows = [], []
        for question, of_question in zip(seen, values, strict=True):
            losses = [
                (v.losses.new_tensor(t.weights) * v.losses).sum() / len(t.weights)
                for t, v in zip(question.texts, of_question, strict=True)
            ]
            total.append(torch.stack(losses).sum() / max(1, question.divisor))
            rows += _rows(question, of_question)
        return StepLoss(torch.stack(total).sum() / len(batch), rows, seen=seen)


def _rows(question: _Texts, values: Sequence[HeadValues]) -> list[dict[str, Any]]:
    """A row per teacher: the mean loss of its chosen texts, and how much of them is its own rationale."""
    by_teacher: dict[str, list[tuple[_Text, float]]] = {}
    for text, value in zip(question.texts, values, strict=True):
        if text.chosen:
            by_teacher.setdefault(text.branch.teacher, []).append((text, float(value.losses.detach().mean())))
    return [
        {
            "question_id": question.question_id,
            "teacher": teacher,
            "is_right": any(text.share > 0 for text, _ in texts),
            "teacher_weight": sum(text.share for text, _ in texts),
            "supervised_loss": sum(loss for _, loss in texts) / len(texts),
        }
        for teacher, texts in by_teacher.items()
    ]


@dataclass(frozen=True)
class RightTexts(_WeighedTexts):
    """Stage 1: mean of L_SFT over a question's rationales with the gold answer and its rectified ones."""

    def encode(self, student: Student, question: Question) -> _Texts:
        """The texts of every teacher that are right."""
        right, rectified = _right_texts(question, self.config)
        encoded = self.encoded(student, question, [*right, *rectified])
        shares = [*[1.0 / len(right) for _ in right], *[0.0 for _ in rectified]]
        # A place holder has no share and no weight.
        weight, shares = (1.0, shares) if shares else (0.0, [0.0])
        pairs = zip(encoded.branches, shares, strict=True)
        texts = [_Text(branch, (weight,) * branch.supervised_tokens, share) for branch, share in pairs]
        return _Texts(**vars(encoded), texts=tuple(texts), divisor=len(right) + len(rectified))


@dataclass(frozen=True)
class KeySteps(_WeighedTexts):
    """Stage 2 (KRSL): changed tokens of chosen texts become likelier, those of rejected ones less likely."""

    def encode(self, student: Student, question: Question) -> _Texts:
        """Both texts of every pair, and the weights of their tokens by one alignment."""
        pairs = _pairs(question, self.config)
        texts_of_pairs = [
            Rationale(pair.teacher, text) for pair in pairs for text in (pair.chosen, pair.rejected)
        ]
        encoded = self.encoded(student, question, texts_of_pairs)
        if not pairs:
            (holder,) = encoded.branches
            return _Texts(**vars(encoded), texts=(_Text(holder, (0.0,) * holder.supervised_tokens, 0.0),))
        corrupted = sum(pair.origin == "corrupted" for pair in pairs)
        texts: list[_Text] = []
        for pair, chosen, rejected in zip(pairs, encoded.branches[::2], encoded.branches[1::2], strict=True):
            alignment = align(*(b.input_ids[b.prompt_tokens :] for b in (chosen, rejected)))
            config, share = self.config, 1.0 / corrupted if pair.origin == "corrupted" else 0.0
            up = tuple(config.alpha if c else config.gamma for c in alignment.chosen_changes)
            down = tuple(config.beta if c else 0.0 for c in alignment.rejected_changes)
            texts += [_Text(chosen, up, share), _Text(rejected, down, 0.0, chosen=False)]
        return _Texts(**vars(encoded), texts=tuple(texts), divisor=len(pairs))


def _right_texts(question: Question, config: EditConfig) -> tuple[list[Rationale], list[Rationale]]:
    """The rationales that state the gold answer, and the rectified ones."""
    gold = question.gold_answer
    right = [
        r for r in question.rationales if answer_span(r.text) and same_answer(extract_answer(r.text), gold)
    ]
    return right, [
        Rationale(p.teacher, p.chosen) for p in _pairs(question, config) if p.origin == "rectified"
    ]


def _pairs(question: Question, config: EditConfig) -> list[RationalePair]:
    return [pair for pair in question.pairs if config.rectified or pair.origin == "corrupted"]


@dataclass(frozen=True)
class Edit:
    """Stage 1: L_SFT of right and rectified texts. Stage 2: sum_t w_t NLL_t / T of pairs."""

    config: EditConfig
    config_type = EditConfig
    card = MethodCard(
        title="EDIT: key reasoning steps of right and wrong rationales by minimum edit distance",
        short="EDIT",
        source="arXiv 2405.19737; C-W-D/CasCoD at 3468d15, edit_dis_precal.py, src/utils/method_utils.py and "
        "shell/run_edit_step*.sh (the authors' EDIT repository holds a README only)",
        deviations=(
            "the two stages share the suite's optimiser steps as the source's 15 and 10 epochs do, so that "
            "with one epoch a question is read by one of the stages only",
            "learning rate, warm-up and batch are the suite's; stage 2 has the source's ratio of its two "
            "rates (5e-6 to 2e-4); no decay of 0.95 per epoch",
            "one alignment of chosen and rejected text marks both; the released code aligns each direction "
            "by itself, and the two can disagree",
            "texts are aligned without padding",
            "no cut-off at 20 nats for the tokens of rejected texts: the source's code reads one that it "
            "never sets, so that its stage 2 stops there",
        ),
        ours=(
            "with several teachers every teacher's texts count the same within a question, and questions "
            "count the same",
            "pairs are those of one teacher; one teacher's right rationale is never paired with another's "
            "wrong one, which is no similar path",
            "right means: the last stated answer is the gold one (docs/answers.md)",
            "stage 2 starts with a new optimiser",
            "a question without a text for a stage counts with loss 0 there; a set without any pair is "
            "trained by stage 1 alone",
            "in the steps table a teacher's weight is that of its own right rationale; rectified texts, "
            "which are others, have weight 0 there though they train",
            "every wrong rationale costs the teacher another answer, with the gold answer as hint, and every "
            "right one a corrupted copy: data that other methods do not get",
        ),
        needs=("a right and a wrong rationale on a similar path", "the gold answer"),
        uses_gold=True,
        requires=("pairs",),
        claims=(
            Claim("beats fine-tuning on right rationales", "arXiv 2405.19737, as summarised", "right_filter"),
            Claim("learning key steps helps", "arXiv 2405.19737, as summarised", "edit[no-key-steps]"),
            Claim("rectified rationales help", "arXiv 2405.19737, as summarised", "edit[no-rectified]"),
        ),
        allows=("missing_teachers",),
    )
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "no-key-steps": {"stage_1_share": 1.0},
        "no-rectified": {"rectified": False},
    }

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train stage after stage; a killed run goes on within its stage."""
        config, settings = self.config, context.settings
        if not any(any(_right_texts(question, config)) for question in questions):
            raise DataError(
                "EDIT: expected rationales with the gold answer, or rectified ones, got none",
                mend="check the gold answers and how the rationales state theirs.",
            )
        total = schedule_steps(settings.train, len(questions))
        has_pairs = any(_pairs(question, config) for question in questions)
        end = round(config.stage_1_share * total) if has_pairs else total
        second = context.with_train(
            learning_rate=settings.train.learning_rate * config.stage_2_rate_factor,
            weight_decay=config.stage_2_weight_decay,
        )
        stages = (
            (RightTexts(settings.train, config), context, TrainingPart("stage-1", 0, end)),
            (KeySteps(second.settings.train, config), second, TrainingPart("stage-2", end, total)),
        )
        parts = [
            (part, train(student, questions, objective, stage_context, part), 1.0)
            for objective, stage_context, part in stages
            if part.first_step < part.end_step
        ]
        report = joined_report(context.directory, parts)
        # A loss with weights below 0 is no continuation of stage 1's.
        return replace(report, final_loss=parts[-1][1].final_loss)


METHOD = Edit
