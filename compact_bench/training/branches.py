"""Question + K rationales -> branches of tokens, with prompt borders, answer spans and gold tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from compact_bench.core.answers import (
    ANSWER_PHRASE,
    answer_span,
    canonical_answer,
    canonical_text,
    extract_answer,
    same_answer,
)
from compact_bench.core.errors import DataError, Fault
from compact_bench.core.records import Question, Rationale, rationale_name
from compact_bench.core.settings import LongRows
from compact_bench.students.chat import encode_row, tokens_in_range
from compact_bench.students.student import Student


@dataclass(frozen=True)
class EncodedBranch:
    """One rationale after its question, as tokens.

    Attributes:
        input_ids: prompt (P tokens), rationale (T tokens), end-of-turn token; P + T + 1 in all.
        prompt_tokens: P.
        rationale_tokens: T.
        answer_positions: indices into `input_ids` of the answer span's tokens; empty without an answer.
        predicted_answer: the rationale's canonical answer, or None.
        is_right: whether that answer equals the gold answer.
        sample: which of its teacher's rationales it is, from 1; 0 for the only one.
        cut_tokens: how many tokens a row over the limit lost at its end. Its last token is then one of the
            rationale and stands in the end of turn's place; a span that is not whole is left out.
    """

    teacher: str
    input_ids: tuple[int, ...]
    prompt_tokens: int
    rationale_tokens: int
    answer_positions: tuple[int, ...]
    predicted_answer: str | None
    is_right: bool
    cut_tokens: int = 0
    sample: int = 0

    @property
    def name(self) -> str:
        """What tells it from the question's other branches: the teacher, or "ada#2" for one of several."""
        return rationale_name(self.teacher, self.sample)

    @property
    def columns(self) -> dict[str, Any]:
        """What names it in a row of the steps table: teacher, and sample where the teacher has several."""
        return {"teacher": self.teacher, **({"sample": self.sample} if self.sample else {})}

    @property
    def supervised_tokens(self) -> int:
        """Labels of the supervised loss: the rationale and its end-of-turn token."""
        return self.rationale_tokens + 1

    @property
    def answer_ids(self) -> tuple[int, ...]:
        """Tokens of the answer span."""
        return tuple(self.input_ids[i] for i in self.answer_positions)


@dataclass(frozen=True)
class EncodedQuestion:
    """A question's branches, ready for a step.

    Attributes:
        gold_answer: its canonical gold answer.
        gold_ids: tokens of the gold answer as it stands after "The answer is".
        padded: what the released variant feeds the student instead, or None.
    """

    question_id: str
    gold_answer: str
    gold_ids: tuple[int, ...]
    branches: tuple[EncodedBranch, ...]
    padded: Any = None

    @property
    def supervised_tokens(self) -> int:
        """Labels over all branches."""
        return sum(b.supervised_tokens for b in self.branches)

    @property
    def total_tokens(self) -> int:
        """Tokens of all branches as separate rows, without padding."""
        return sum(len(b.input_ids) for b in self.branches)


def gold_token_ids(student: Student, gold_answer: str) -> tuple[int, ...]:
    """Tokens that overlap the answer's characters in "The answer is <answer>"; a bare space is none of them.

    Source: this project's choice; the paper does not say how y_gold is tokenised.
    """
    answer = canonical_answer(gold_answer)
    text = f"{ANSWER_PHRASE} {answer}"
    encoded = student.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    start = len(text) - len(answer)
    inside = tokens_in_range(encoded["offset_mapping"], start, len(text))
    return tuple(int(encoded["input_ids"][i]) for i in inside)


def encode_question(
    student: Student,
    question: Question,
    *,
    rationales: Sequence[Rationale] | None = None,
    max_length_tokens: int = 2560,
    long_rows: LongRows = "fault",
) -> EncodedQuestion:
    """Tokens, borders and spans of the branches of a question, or of a selection of its rationales.

    Rationales are read in their canonical form (outer white space stripped, answer written canonically).

    Args:
        long_rows: whether a branch longer than `max_length_tokens` is refused, or cut there.

    Raises:
        DataError: a rationale is empty, a branch is longer than allowed, or its prompt leaves no room for a
            rationale; every one is listed.
    """
    chosen = question.rationales if rationales is None else tuple(rationales)
    faults: list[Fault] = []
    branches: list[EncodedBranch] = []
    for rationale in chosen:
        where = question.source or f"question {question.id!r}"
        if not rationale.text.strip():
            faults.append(Fault(f"{where}, rationale of {rationale.name!r}", "empty text", question.id))
            continue
        branch = encode_branch(
            student,
            question.text,
            rationale.text,
            teacher=rationale.teacher,
            gold_answer=question.gold_answer,
            sample=rationale.sample,
        )
        if long_rows == "truncate" and branch.prompt_tokens < max_length_tokens:
            branch = _cut(branch, max_length_tokens)
        if len(branch.input_ids) > max_length_tokens:
            problem = f"{len(branch.input_ids)} tokens, expected at most {max_length_tokens}"
            faults.append(Fault(f"{where}, rationale of {rationale.name!r}", problem, question.id))
        branches.append(branch)
    if faults or not branches:
        raise DataError(
            f"question {question.id!r} cannot be trained on"
            + ("" if faults else ": it has no rationale, expected at least one"),
            faults,
            mend="shorten or remove these rationales, raise train.max_length_tokens, use --on-fault drop, "
            "or cut rows with --set train.long_rows=truncate.",
        )
    return EncodedQuestion(
        question_id=question.id,
        gold_answer=canonical_answer(question.gold_answer),
        gold_ids=gold_token_ids(student, question.gold_answer),
        branches=tuple(branches),
    )


def _cut(branch: EncodedBranch, limit: int) -> EncodedBranch:
    """A branch without the tokens from `limit` on."""
    lost = len(branch.input_ids) - limit
    if lost <= 0:
        return branch
    whole = all(position < limit for position in branch.answer_positions)
    return replace(
        branch,
        input_ids=branch.input_ids[:limit],
        rationale_tokens=limit - branch.prompt_tokens - 1,
        answer_positions=branch.answer_positions if whole else (),
        cut_tokens=lost,
    )


_REMEMBERED_TOKENS = 2_000_000
"""How many tokens of branches a process remembers for one tokenizer: about 70 MB."""


class _Remembered:
    """Branches by what they are made of; methods and seeds of one process encode the same ones again."""

    def __init__(self) -> None:
        self.branches: dict[tuple[Any, ...], EncodedBranch] = {}
        self._tokens = 0

    def keep(self, key: tuple[Any, ...], branch: EncodedBranch) -> EncodedBranch:
        """The branch, which is kept while there is room."""
        self._tokens += len(branch.input_ids)
        if self._tokens <= _REMEMBERED_TOKENS:
            self.branches[key] = branch
        return branch


_REMEMBERED: WeakKeyDictionary[Any, _Remembered] = WeakKeyDictionary()


def encode_branch(
    student: Student, prompt: str, target: str, *, teacher: str, gold_answer: str, sample: int = 0
) -> EncodedBranch:
    """One branch of any prompt and target text; the target is read in its canonical form."""
    tokenizer = student.tokenizer
    known = _REMEMBERED.setdefault(tokenizer, _Remembered())
    # A tokenizer may be given another template, or more tokens.
    key = (len(tokenizer), tokenizer.chat_template, prompt, target, teacher, gold_answer, sample)
    branch = known.branches.get(key)
    return branch or known.keep(key, _encoded_branch(student, prompt, target, teacher, gold_answer, sample))


def _encoded_branch(
    student: Student, prompt: str, target: str, teacher: str, gold_answer: str, sample: int
) -> EncodedBranch:
    # All methods learn the same texts; only the released variant reads rationales as the files have them.
    text = canonical_text(target)
    row = encode_row(student.tokenizer, prompt, text)
    span = answer_span(text)
    positions: tuple[int, ...] = ()
    if span is not None:
        inside = tokens_in_range(row.spans, *span)
        positions = tuple(row.prompt_tokens + i for i in inside)
    answer = extract_answer(text) if span is not None else None
    return EncodedBranch(
        teacher=teacher,
        input_ids=row.input_ids,
        prompt_tokens=row.prompt_tokens,
        rationale_tokens=row.rationale_tokens,
        answer_positions=positions,
        predicted_answer=answer,
        is_right=same_answer(answer, gold_answer),
        sample=sample,
    )
