"""Functions that the task files name; copied beside them, so they import nothing of this folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_bench.core.answers import answer_span, extract_answer, same_answer


def load_rows(rows_file: str, **_: Any) -> dict[str, Any]:
    """The rows beside this file as the harness's test split, held in memory (no data-set cache).

    Args:
        rows_file: name of a JSONL file in this folder.
        _: what the harness passes besides (model arguments), not used.
    """
    from datasets import Dataset

    text = Path(__file__).with_name(rows_file).read_text(encoding="utf-8")
    return {"test": Dataset.from_list([json.loads(line) for line in text.split("\n") if line])}


def score_generation(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Scores of one generation by the rule of `compact_bench.core.answers`.

    Args:
        doc: the row, with its gold "answer".
        results: the generation, alone in a list.

    Returns:
        exact_match: 1 when the extracted answer is the gold one; states_answer: 1 when the generation states
        one (the rule otherwise falls back on its last number).
    """
    generation = results[0]
    return {
        "exact_match": float(same_answer(extract_answer(generation), str(doc["answer"]))),
        "states_answer": float(answer_span(generation) is not None),
    }


def score_one_word(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Whether one generation is one word, a full stop aside, as the question asks; which word does not count.

    Args:
        doc: the row.
        results: the generation, alone in a list.

    Returns:
        exact_match: 1 when the asked form is kept; states_answer: the same.
    """
    kept = float(len(results[0].strip().removesuffix(".").split()) == 1)
    return {"exact_match": kept, "states_answer": kept}
