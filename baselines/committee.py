"""Committee (FAIR): learning from feedback on one's mistakes and from rationales that peers accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import Formatter
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, field_validator

from compact_bench import (
    DataError,
    EncodedQuestion,
    Fault,
    Feedback,
    FitReport,
    MethodCard,
    Question,
    Rate,
    Rationale,
    RunContext,
    StepLoss,
    Strict,
    Student,
    TrainingPart,
    TrainSettings,
    branch_losses,
    branch_rows,
    canonical_answer,
    draw_teacher,
    encode_branch,
    encode_question,
    extract_answer,
    fingerprint,
    joined_report,
    made_once,
    same_answer,
    schedule_steps,
    train,
    unknown_finder,
)

from ._replies import sampled_replies

REPLIES_FILE = "replies.json"
"""The student's replies before training, in the run's folder."""


class CommitteeConfig(Strict):
    """Settings of Committee.

    Attributes:
        alpha: weight of the feedback's loss; the rationale's has 1 - alpha.
        accepted_above: a rationale is accepted where the mean of its valid scores (1 to 5) is above it.
        feedback_prompt: what the student is asked for feedback with; {question}, {reply} (its wrong reply)
            and {gold} (the gold answer) are filled in. All words must be known to the student.
        reply_temperature: of the student's replies before training.
        reply_top_p: probability mass that these are drawn from.
        reply_tokens: longest of these replies; None for that of the evaluation (eval.max_new_tokens).
    """

    alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    accepted_above: float = 3.0
    feedback_prompt: str = "{question} {reply} Wait, check: The answer is {gold}."
    reply_temperature: Rate = 0.3
    reply_top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    reply_tokens: Annotated[int, Field(ge=1)] | None = None

    @field_validator("feedback_prompt")
    @classmethod
    def _known_places(cls, value: str) -> str:
        named = {name for _, name, _, _ in Formatter().parse(value) if name is not None}
        if named != {"question", "reply", "gold"}:
            raise ValueError("expected {question}, {reply} and {gold} and no other place in braces")
        return value


@dataclass(frozen=True)
class Lesson:
    """What a question teaches: a wrong reply, feedback on it, and a rationale that the peers accepted."""

    reply: str
    feedback: Feedback
    rationale: Rationale


@dataclass(frozen=True)
class Lessons:
    """alpha * NLL(feedback | question, wrong reply, gold) + (1 - alpha) * NLL(rationale | question)."""

    train: TrainSettings
    config: CommitteeConfig
    by_question: Mapping[str, Lesson] = field(repr=False)

    def encode(self, student: Student, question: Question) -> EncodedQuestion:
        """Two branches: the rationale after the question, the feedback after a prompt of its own."""
        lesson, limit = self.by_question[question.id], self.train.max_length_tokens
        encoded = encode_question(
            student,
            question,
            rationales=[lesson.rationale],
            max_length_tokens=limit,
            long_rows=self.train.long_rows,
        )
        mistake = extract_answer(lesson.reply) or lesson.reply
        gold = canonical_answer(question.gold_answer)
        prompt = self.config.feedback_prompt.format(question=question.text, reply=lesson.reply, gold=gold)
        target = lesson.feedback.text.replace("{mistake}", mistake)
        teacher = lesson.feedback.teacher
        branch = encode_branch(student, prompt, target, teacher=teacher, gold_answer=question.gold_answer)
        problems = []
        if len(branch.input_ids) > limit:
            problems.append(f"{len(branch.input_ids)} tokens, expected at most {limit}")
        find = unknown_finder(student.tokenizer)
        if find is not None and (words := find(f"{prompt} {target}")):
            problems.append(f"expected words the student knows, got {', '.join(map(repr, words))}")
        if problems:
            where = f"{question.source or question.id}, feedback of {teacher!r} behind its prompt"
            faults = [Fault(where, problem, question.id) for problem in problems]
            raise DataError("feedback cannot be trained on", faults, "change method.feedback_prompt.")
        return replace(encoded, branches=(*encoded.branches, branch))

    def loss(self, student: Student, batch: Sequence[EncodedQuestion]) -> StepLoss:
        """Mean over the questions."""
        alpha, totals, rows = self.config.alpha, [], []
        losses = branch_losses(student, batch, self.train, "mean")
        for question, (rationale, feedback) in zip(batch, losses, strict=True):
            totals.append(alpha * feedback + (1.0 - alpha) * rationale)
            first, second = question.branches
            about = {"feedback_teacher": second.teacher, "feedback_loss": float(feedback.detach())}
            accepted = replace(question, branches=(first,))
            rows += [{**row, **about} for row in branch_rows([accepted], [[rationale]])]
        return StepLoss(torch.stack(totals).mean(), rows)


@dataclass(frozen=True)
class Committee:
    """L = alpha NLL(feedback | question, mistake, gold) + (1 - alpha) NLL(accepted rationale | question)."""

    config: CommitteeConfig
    config_type = CommitteeConfig
    card = MethodCard(
        title="Committee (FAIR): feedback on the student's mistakes and peer-reviewed rationales",
        short="Committee",
        source="arXiv 2410.03663; zhuochunli/Learn-from-Committee at 60abfaf, collect_teacher_res.py, "
        "data.py, train.py and infer_student_wrong.py",
        deviations=(
            "learning rate, batch, clipping and weight decay are the suite's, as for every method",
            "padding enters no mean; the released code supervises it",
            "replies are as long as the evaluation's at most, not 512 tokens",
        ),
        ours=(
            "the feedback prompt is a setting; its default is made of words that students of a small "
            "vocabulary know too",
            "questions without a mistake, feedback or accepted rationale are dropped as in the source; what "
            "is left is gone through more often, until the schedule's optimiser steps are spent, no more",
            "a mistake that the data brings is taken; else the student replies once before training, "
            "seeded by question, and keeps its replies in the run's folder; this costs generation, not steps",
            "in the steps table the drawn rationale has all the weight; feedback has columns of its own",
            "for {mistake} in feedback stands the answer that the reply states, or else the whole reply",
            "the source's ablations and the range of its gains were not at hand, so no claim is tested",
        ),
        needs=(
            "the score of every teacher for every other's rationale",
            "feedback on a mistake of the student",
            "the gold answer",
        ),
        uses_gold=True,
        requires=("reviews", "feedback"),
        min_teachers=2,
        allows=("missing_teachers",),
    )
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "no-feedback": {"alpha": 0.0},
        "no-review": {"accepted_above": 0.0},
    }

    def fit(self, student: Student, questions: Sequence[Question], context: RunContext) -> FitReport:
        """Train on the lessons of the questions that have one, for the schedule's optimiser steps."""
        config, loop = self.config, context.settings.train
        replies = self._replies(student, questions, context)
        lessons = lessons_for(questions, replies, config.accepted_above, context.seed)
        kept = [question for question in questions if question.id in lessons]
        steps = schedule_steps(loop, len(questions))
        per_epoch = schedule_steps(loop.model_copy(update={"epochs": 1}), len(kept))
        longer = replace(
            context.with_train(epochs=-(-steps // per_epoch)),
            on_progress=lambda done, total, text: context.on_progress(done, steps, text),
        )
        part = TrainingPart("lessons", 0, steps)
        report = train(student, kept, Lessons(longer.settings.train, config, lessons), longer, part)
        joined = joined_report(context.directory, [(part, report, 1.0)])
        wrong = sum(not same_answer(extract_answer(replies[q.id]), q.gold_answer) for q in questions)
        return replace(joined, extra={**joined.extra, "mistakes": wrong, "lessons": len(kept)})

    def _replies(
        self, student: Student, questions: Sequence[Question], context: RunContext
    ) -> dict[str, str]:
        """Question id -> a reply: the one that the data brings, or the untrained student's own."""
        config = self.config
        most = config.reply_tokens or context.settings.eval.max_new_tokens
        unanswered = [question for question in questions if not question.mistake]
        prompts = sorted([q.id, q.text] for q in unanswered)
        mark = fingerprint([context.seed, config.reply_temperature, config.reply_top_p, most, prompts])

        def made() -> dict[str, str]:
            context.on_progress(0, 1, f"the student replies to {len(unanswered)} questions")
            return sampled_replies(
                student,
                unanswered,
                temperature=config.reply_temperature,
                top_p=config.reply_top_p,
                max_new_tokens=most,
                batch_size=context.settings.eval.batch_size,
                seed=context.seed,
            )

        replies = made_once(context.directory / REPLIES_FILE, mark, made)
        return {question.id: question.mistake or replies[question.id] for question in questions}


def lessons_for(
    questions: Sequence[Question], replies: Mapping[str, str], accepted_above: float, seed: int
) -> dict[str, Lesson]:
    """One feedback and one accepted rationale for every question that the student got wrong.

    Args:
        questions: with reviews and feedback.
        replies: question id -> the student's reply.
        accepted_above: mean of valid scores above which a rationale is accepted.
        seed: the run's; the draws depend on it and on names alone.

    Raises:
        DataError: no question is left.
    """
    wrong = [q for q in questions if not same_answer(extract_answer(replies[q.id]), q.gold_answer)]
    with_feedback = [question for question in wrong if question.feedback]
    lessons = {}
    for question in with_feedback:
        rationales = {r.teacher: r for r in question.rationales if _accepted(question, r, accepted_above)}
        if rationales:
            feedback_by = {feedback.teacher: feedback for feedback in question.feedback}
            lessons[question.id] = Lesson(
                replies[question.id],
                feedback_by[draw_teacher(list(feedback_by), seed, 0, f"{question.id}/feedback")],
                rationales[draw_teacher(list(rationales), seed, 0, f"{question.id}/rationale")],
            )
    if not lessons:
        raise DataError(
            f"Committee: expected questions with a mistake, feedback and an accepted rationale; of "
            f"{len(questions)} questions {len(wrong)} have a mistake, {len(with_feedback)} of these have "
            f"feedback, and none has an accepted rationale (mean score above {accepted_above:g})",
            mend="lower method.accepted_above, or give questions that the student gets wrong.",
        )
    return lessons


def _accepted(question: Question, rationale: Rationale, above: float) -> bool:
    given = [r.score for r in question.reviews if r.author == rationale.teacher and r.score is not None]
    return bool(given) and sum(given) / len(given) > above


METHOD = Committee
