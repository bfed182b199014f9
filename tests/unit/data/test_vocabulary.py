"""Words that a student does not know are named; students that spell out any text know every word."""

from __future__ import annotations

import pytest

from compact_bench.core.errors import DataError
from compact_bench.core.records import Question, Rationale
from compact_bench.data.lab.student.tokenizer import lab_tokenizer
from compact_bench.data.validation.limits import check_words, unknown_finder
from tests.tiny import TOKENIZER_KINDS, make_tokenizer, questions


@pytest.mark.parametrize("kind", TOKENIZER_KINDS)
def test_a_tokenizer_of_bytes_knows_every_word(kind: str) -> None:
    assert unknown_finder(make_tokenizer(kind)) is None


def test_the_labs_tokenizer_names_what_it_does_not_know() -> None:
    find = unknown_finder(lab_tokenizer())
    assert find is not None
    assert find("Zoe has 5 shells. She loses 9, she says.") == ("she", "says")
    assert find("Zoe has 5 shells. The answer is 5.") == ()


def test_every_text_of_a_set_is_looked_at() -> None:
    known = Question("k", "Zoe has 5 shells.", "5", (Rationale("ann", "The answer is 5."),), "lab, row 1")
    told = Question("u", "Zoe has 5 apples.", "15", (Rationale("ann", "The sum is 15."),), "mine, row 2")
    rows = {
        "lab_copy": [{"id": "c1", "question": "Say again: tea.", "answer": "teas"}],
        "lab_opposites": [{"id": "o1", "question": "What is wet?", "choices": ["dry", "moist"], "label": 0}],
    }
    find = unknown_finder(lab_tokenizer())
    check_words([known], {"lab_copy": [{**rows["lab_copy"][0], "answer": "tea"}]}, find)
    with pytest.raises(DataError) as caught:
        check_words([known, told], rows, find)
    assert [(f.where, f.problem.rpartition("got ")[2]) for f in caught.value.faults] == [
        ("mine, row 2, question", "'apples'"),
        ("mine, row 2, gold answer", "'15'"),
        ("mine, row 2, rationale of 'ann'", "'sum', '15'"),
        ("lab_copy item c1, answer", "'teas'"),
        ("lab_opposites item o1, answer", "'moist'"),
    ]
    assert "5 text(s)" in str(caught.value) and "--student smollm2-135m-instruct" in str(caught.value)
    check_words([told], rows, None)


def test_a_long_list_of_unknown_words_is_cut() -> None:
    find = unknown_finder(lab_tokenizer())
    # Only the first gold answer, 5, is a word of the lab's.
    many = questions(40)
    with pytest.raises(DataError, match="of 159 text") as caught:
        check_words(many, {}, find)
    assert len(caught.value.faults) == 20
    assert any(fault.problem.endswith(" and 1 more") for fault in caught.value.faults)
