"""How the answers of a task are read and compared: each way one `AnswerFormat`, and one line here.

A task names its format by the file that it includes: `_generation.yaml`, `_choice.yaml`, or `_NAME.yaml` for
any other NAME, whose task files are those of generation tasks with the format's own scoring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compact_bench.core.answers import answer_problem, extract_answer, same_answer
from compact_bench.core.registry import Registry


@dataclass(frozen=True)
class AnswerFormat:
    """How answers are read and compared.

    Attributes:
        read: the answer that a generation states, or None.
        same: whether the answer read, or None, is the gold one.
        problem: why no generation could give this gold answer ("expected ..., got ..."), or None.
        generation: whether the student writes the answer; if not, the options are scored, and nothing read.
    """

    read: Callable[[str], str | None] = extract_answer
    same: Callable[[str | None, str], bool] = same_answer
    problem: Callable[[str], str | None] = answer_problem
    generation: bool = True


NUMBER_OR_WORDS = AnswerFormat()
"""The last answer stated, else the last number; the rule of `core.answers` and docs/answers.md."""
CHOICE = AnswerFormat(generation=False)
ANSWERS: Registry[AnswerFormat] = Registry(
    "answer format",
    "compact_bench.answers",
    {
        "generation": "compact_bench.evaluation.answer_formats:NUMBER_OR_WORDS",
        "choice": "compact_bench.evaluation.answer_formats:CHOICE",
    },
    "an AnswerFormat",
    lambda entry: isinstance(entry, AnswerFormat),
)
_SCORING = '''\
"""Scores of the answer format {name}; its code has the hash {code}."""

from compact_bench.evaluation.answer_formats import score_answer


def score(doc, results):
    return score_answer("{name}", doc, results)
'''


def derived_files(name: str, generation: str) -> dict[str, str]:
    """File name -> text of what generation tasks need to have their answers read in another format."""
    return {
        f"_{name}.yaml": generation.replace("utils.score_generation", f"{name}_answers.score"),
        # With the hash, a cached evaluation of other code is another evaluation.
        f"{name}_answers.py": _SCORING.format(name=name, code=ANSWERS.code_hash(name)),
    }


def score_answer(name: str, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Scores of one generation, alone in a list, as the harness asks for them.

    Raises:
        PluginError: the format is of another package and failed.
    """
    read = ANSWERS.call(name, lambda answers: answers.read(results[0]))
    right = ANSWERS.call(name, lambda answers: answers.same(read, str(doc["answer"])))
    return {"exact_match": float(right), "states_answer": float(read is not None)}
