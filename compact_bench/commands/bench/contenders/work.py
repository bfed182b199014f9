"""The work of a benchmark: questions with K rationales of a chosen length, real or made of random words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from compact_bench.core.answers import ANSWER_PHRASE
from compact_bench.core.errors import ConfigError, DataError
from compact_bench.core.records import Question, Rationale
from compact_bench.core.settings import Strict
from compact_bench.students.student import Student
from compact_bench.training.branches import EncodedQuestion, encode_question

SYNTHETIC_PROMPT_WORDS = 50
SYNTHETIC_RATIONALE_TOKENS = 120
SYNTHETIC_ANSWER = "7"


@dataclass(frozen=True)
class Work:
    """What every contender computes one step of.

    Attributes:
        questions: with the same number of rationales each.
        origin: where the texts are from, as a sentence without a full stop.
    """

    questions: tuple[Question, ...]
    origin: str

    def to_data(self) -> dict[str, Any]:
        """Plain data, for another process."""
        return {"questions": _QUESTIONS.dump_python(self.questions, mode="json"), "origin": self.origin}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Work:
        """What `to_data` wrote."""
        return cls(_QUESTIONS.validate_python(data["questions"]), str(data["origin"]))


_QUESTIONS: TypeAdapter[tuple[Question, ...]] = TypeAdapter(tuple[Question, ...])


class WorkFacts(Strict):
    """How large the work is for one student.

    Attributes:
        teachers: K.
        prompt_tokens: per question.
        rationale_tokens: per question and teacher, without the end-of-turn token.
        tokens: of all branches as separate rows without padding, end-of-turn tokens included; what tokens
            per second count for every contender.
        packed_tokens: the same with every prompt counted once.
    """

    origin: str
    question_ids: tuple[str, ...]
    teachers: int
    prompt_tokens: tuple[int, ...]
    rationale_tokens: tuple[tuple[int, ...], ...]
    tokens: int
    packed_tokens: int


def encode_all(student: Student, work: Work, max_length_tokens: int) -> list[EncodedQuestion]:
    """The work's branches as every method but the released variant reads them.

    Raises:
        DataError: a branch is longer than allowed.
    """
    return [encode_question(student, q, max_length_tokens=max_length_tokens) for q in work.questions]


def work_facts(student: Student, work: Work, max_length_tokens: int) -> WorkFacts:
    """Token counts of the work by the student's tokenizer."""
    encoded = encode_all(student, work, max_length_tokens)
    prompts = tuple(q.branches[0].prompt_tokens for q in encoded)
    repeated = sum(b.prompt_tokens for q in encoded for b in q.branches) - sum(prompts)
    tokens = sum(q.total_tokens for q in encoded)
    return WorkFacts(
        origin=work.origin,
        question_ids=tuple(q.question_id for q in encoded),
        teachers=len(encoded[0].branches),
        prompt_tokens=prompts,
        rationale_tokens=tuple(tuple(b.rationale_tokens for b in q.branches) for q in encoded),
        tokens=tokens,
        packed_tokens=tokens - repeated,
    )


def suite_work(
    questions: Sequence[Question],
    tokenizer: Any,
    *,
    suite: str,
    teachers: int,
    count: int,
    rationale_tokens: int | None = None,
) -> Work:
    """Real questions of median length with K rationales each.

    Args:
        questions: training questions of a suite, each with its teachers' rationales.
        teachers: K. Where the suite has fewer, other questions lend rationales, with this question's answer.
        rationale_tokens: length that every rationale is brought to, from texts of the same teacher with one
            answer at the end; None leaves rationales as they are.

    Raises:
        ConfigError: the suite has fewer questions than `count`.
    """
    if not 1 <= count <= len(questions):
        raise ConfigError(
            f"--questions-per-step: expected 1 to {len(questions)}, the training questions of suite {suite}, "
            f"got {count}."
        )
    ordered = sorted(questions, key=lambda q: (_characters(q, teachers), q.id))
    start = (len(ordered) - count) // 2
    # Texts that are borrowed come from the questions after a question's own, the nearest in length first.
    made = [
        _question(ordered[start + i], ordered[start + i + 1 :] + ordered[: start + i], teachers)
        for i in range(count)
    ]
    written = len(ordered[start].rationales)
    origin = f"{count} training question(s) of median length of suite {suite}"
    if teachers > written:
        origin += f"; rationales beyond the {written} teachers are those of other questions, with this answer"
    if rationale_tokens is not None:
        pool = _bodies(ordered)
        made = [_lengthened(q, pool, tokenizer, rationale_tokens) for q in made]
        origin += f"; rationales joined or cut to about {rationale_tokens} tokens"
    return Work(tuple(made), origin)


def _characters(question: Question, teachers: int) -> int:
    return len(question.text) * teachers + sum(len(r.text) for r in question.rationales[:teachers])


def _split(text: str) -> tuple[str, str]:
    """A rationale's reasoning, and its last sentence with the answer ("" where it states none)."""
    place = text.rfind(ANSWER_PHRASE)
    return (text.strip(), "") if place < 0 else (text[:place].strip(), text[place:].strip())


def _question(question: Question, others: Sequence[Question], teachers: int) -> Question:
    rationales = list(question.rationales[:teachers])
    count = len(question.rationales)
    for k in range(len(rationales), teachers):
        lender = others[(k // count - 1) % len(others)].rationales[k % count]
        text = f"{_split(lender.text)[0]} {ANSWER_PHRASE} {question.gold_answer}."
        rationales.append(Rationale(f"{lender.teacher}-{k // count + 1}", text))
    return replace(question, rationales=tuple(replace(r, truth=None) for r in rationales))


def _bodies(questions: Sequence[Question]) -> dict[str, list[str]]:
    """Teacher -> reasoning of all its rationales, without their answers."""
    bodies: dict[str, list[str]] = {}
    for question in questions:
        for rationale in question.rationales:
            bodies.setdefault(rationale.teacher, []).append(_split(rationale.text)[0])
    return {teacher: [t for t in texts if t] for teacher, texts in bodies.items()}


def _lengthened(
    question: Question, pool: dict[str, list[str]], tokenizer: Any, rationale_tokens: int
) -> Question:
    rationales = []
    for k, rationale in enumerate(question.rationales):
        body, answer = _split(rationale.text)
        answer = answer or f"{ANSWER_PHRASE} {question.gold_answer}."
        room = rationale_tokens - len(tokenizer(answer, add_special_tokens=False)["input_ids"])
        if room < 1:
            raise ConfigError(
                f"--rationale-tokens: expected more than the answer's own sentence takes "
                f"({rationale_tokens - room} tokens), got {rationale_tokens}."
            )
        # A borrowed rationale's teacher is named "name-2"; its texts are the lender's.
        texts = pool.get(rationale.teacher) or pool[rationale.teacher.rpartition("-")[0]]
        # Every rationale starts elsewhere in the pool, so that none repeats another.
        first = (k * 97) % len(texts)
        text = _cut("\n".join([body, *_enough(texts, first, room)]), tokenizer, room)
        rationales.append(replace(rationale, text=f"{text}\n{answer}"))
    return replace(question, rationales=tuple(rationales))


def _enough(texts: Sequence[str], first: int, tokens: int) -> list[str]:
    """Texts from `first` on, around, until they hold more characters than so many tokens can."""
    chosen: list[str] = []
    wanted, place = 12 * tokens, first
    while wanted > 0:
        chosen.append(texts[place % len(texts)])
        wanted -= len(chosen[-1]) + 1
        place += 1
    return chosen


def _cut(text: str, tokenizer: Any, tokens: int) -> str:
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return text[: offsets[min(tokens, len(offsets)) - 1][1]].strip()


def synthetic_work(
    tokenizer: Any, *, teachers: int, count: int, rationale_tokens: int | None = None, seed: int = 0
) -> Work:
    """Questions and rationales of random words, for which nothing needs to be fetched.

    Args:
        tokenizer: the student's; words are drawn from its vocabulary.
        rationale_tokens: length of every rationale; None for a moderate one.

    Raises:
        DataError: the vocabulary holds no words.
    """
    words = _words(tokenizer)
    draw = random.Random(seed)
    end = f"{ANSWER_PHRASE} {SYNTHETIC_ANSWER}."
    length = rationale_tokens or SYNTHETIC_RATIONALE_TOKENS
    room = max(1, length - len(tokenizer(end, add_special_tokens=False)["input_ids"]))
    questions = tuple(
        Question(
            id=f"random-{n}",
            text=" ".join(draw.choices(words, k=SYNTHETIC_PROMPT_WORDS)),
            gold_answer=SYNTHETIC_ANSWER,
            rationales=tuple(
                Rationale(f"teacher-{k + 1}", " ".join([*draw.choices(words, k=room), end]))
                for k in range(teachers)
            ),
            source="random words",
        )
        for n in range(count)
    )
    return Work(questions, f"{count} question(s) and their rationales of random words of the vocabulary")


def _words(tokenizer: Any) -> list[str]:
    special = set(tokenizer.all_special_ids)
    texts = (tokenizer.decode([i]).strip() for i in range(len(tokenizer)) if i not in special)
    words = sorted({text for text in texts if len(text) > 1 and text.isascii() and text.isalpha()})
    # Where words are pieces, those that are one token after a space keep the length that was requested.
    short = [w for w in words if len(tokenizer(f"a {w}", add_special_tokens=False)["input_ids"]) <= 2]
    if not short:
        raise DataError(
            "the student's vocabulary holds no words that random texts could be made of",
            mend="use another student, or a suite's questions instead of --synthetic.",
        )
    return short
