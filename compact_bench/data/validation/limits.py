"""Limits of a row: how many tokens it may have, and the words that a closed vocabulary lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compact_bench.core.errors import DataError, Fault
from compact_bench.core.records import Question

FindUnknown = Callable[[str], tuple[str, ...]]
"""text -> the words of it that the student does not know, in order."""


# Every tokenizer that falls back on bytes or characters spells these out.
_WORDS_SHOWN, _FAULTS_SHOWN = 5, 20
_STRANGE = "ξ ☃ 𝄞"


_MEND = (
    "use a student that reads any text (--student smollm2-135m-instruct, a hub id or a folder), or write the "
    "questions and rationales in this student's words."
)


def unknown_finder(tokenizer: Any) -> FindUnknown | None:
    """A function that finds a text's words unknown to a tokenizer; None where it can spell any text."""
    unknown = tokenizer.unk_token_id

    def find(text: str) -> tuple[str, ...]:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return tuple(dict.fromkeys(text[start:end] for token, (start, end) in pairs if token == unknown))

    return find if unknown is not None and find(_STRANGE) else None


def check_words(
    questions: Sequence[Question],
    benchmarks: Mapping[str, Sequence[Mapping[str, Any]]],
    find: FindUnknown | None,
) -> None:
    """Refuse data that the student would read as a row of unknown words; `find` is of `unknown_finder`.

    Raises:
        DataError: names questions, rationales and items with an unknown word, and how many there are.
    """
    if find is None:
        return
    faults = []
    for question in questions:
        where = question.source or f"question {question.id!r}"
        texts = {"question": question.text, "gold answer": question.gold_answer}
        texts |= {f"rationale of {r.name!r}": r.text for r in question.rationales}
        texts |= {f"pair of {p.teacher!r}": f"{p.chosen} {p.rejected}" for p in question.pairs}
        # What stands for the mistake is replaced before a student reads it.
        texts |= {f"feedback of {f.teacher!r}": f.text.replace("{mistake}", "") for f in question.feedback}
        texts |= {"mistake": question.mistake}
        faults += _faults(where, question.id, texts, find)
    for task, rows in benchmarks.items():
        for row in rows:
            answers = row["choices"] if "choices" in row else [row["answer"]]
            texts = {"question": row["question"], "answer": " ".join(answers)}
            faults += _faults(f"{task} item {row['id']}", None, texts, find)
    if faults:
        summary = f"the student's tokenizer does not know every word of {len(faults)} text(s)"
        raise DataError(summary, faults[:_FAULTS_SHOWN], _MEND)


def _faults(where: str, question_id: str | None, texts: Mapping[str, str], find: FindUnknown) -> list[Fault]:
    return [
        Fault(f"{where}, {name}", f"expected words the student knows, got {_listed(words)}", question_id)
        for name, text in texts.items()
        if (words := find(text))
    ]


def _listed(words: Sequence[str]) -> str:
    rest = f" and {len(words) - _WORDS_SHOWN} more" if len(words) > _WORDS_SHOWN else ""
    return ", ".join(map(repr, words[:_WORDS_SHOWN])) + rest


CountTokens = Callable[[str, str], int]
"""(question, rationale) -> tokens of the whole row: prompt, rationale and end of turn."""


def length_faults(
    question: Question,
    count_tokens: CountTokens,
    limit: int,
    places: Mapping[str, str] | None = None,
    *,
    whole_row: bool = True,
) -> list[Fault]:
    """Texts of one question that are longer than the student's rows, or a suite's rationales, may be.

    Args:
        limit: longest row, in tokens.
        places: teacher -> file and row of its rationale, where that is not the question's.
        whole_row: whether prompt and end of turn count; else the limit is one on the rationale alone.
    """
    faults = []
    # No token is shorter than a byte, so most rows need no tokenizer; the margin is for the end of turn.
    texts = [(r.name, r.teacher, "rationale", r.text) for r in question.rationales]
    texts += [(p.teacher, p.teacher, "chosen text", p.chosen) for p in question.pairs]
    texts += [(p.teacher, p.teacher, "rejected text", p.rejected) for p in question.pairs]
    longest = max((len(text.encode()) for *_, text in texts), default=0) + 16
    if longest <= limit and not whole_row:
        return []
    prompt_tokens = count_tokens(question.text, "")
    if whole_row and prompt_tokens + longest <= limit:
        return []
    for name, teacher, kind, text in texts:
        tokens = count_tokens(question.text, text) - (0 if whole_row else prompt_tokens)
        if tokens > limit:
            what = f"row (prompt and {kind})" if whole_row else kind
            problem = f"expected a {what} of at most {limit} tokens, got {tokens}"
            where = (places or {}).get(teacher, question.source)
            faults.append(Fault(f"{where}, {kind} of {name!r}", problem, question.id))
    return faults
