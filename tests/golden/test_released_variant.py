"""The released variant equals naive loops over the padded batch that the authors' code makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compact_bench import explain
from compact_bench.core.records import Question, Rationale
from tests import tiny
from tests.golden import reference
from tests.golden.reference import Setting
from tests.golden.support import NATIVE, compare, explained, load

Folders = Callable[..., Path]

SETTINGS = {
    "lambda": Setting(lambda_consistency=2.5),
    "no_lambda": Setting(lambda_consistency=0.0),
    "epsilon": Setting(epsilon=0.7),
    "temperature": Setting(temperature=0.2),
    "betas": Setting(betas=(0.3, -0.7, 2.0)),
    "cut": Setting(max_length_tokens=60),
    "words": Setting(thinking_words=("the", "answer", "is", "books", "no such word")),
}


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("teachers", [1, 2, 4])
@pytest.mark.parametrize("kind", NATIVE)
def test_every_family(student_folder: Folders, kind: str, teachers: int, lora: bool) -> None:
    single = kind == "gemma2"  # its padded positions have no float64, see the paper variant's test
    student = load(student_folder(kind, NATIVE[kind]), lora=lora, dtype="float32" if single else "float64")
    question = tiny.question("pencils", teachers)
    expected = reference.released(student.model, student.tokenizer, question, Setting())
    tolerance = 1e-4 if single else 1e-6
    report = compare(student, expected, explained(student, question, "released"), tolerance=tolerance)
    assert report.difficulty == report.supervised_losses


@pytest.mark.parametrize("name", ["pencils", "books", "birds"])
@pytest.mark.parametrize("tokenizer", tiny.TOKENIZER_KINDS)
def test_every_chat_template(student_folder: Folders, tokenizer: str, name: str) -> None:
    student = load(student_folder("llama_untied", tokenizer))
    question = tiny.question(name, 4)
    expected = reference.released(student.model, student.tokenizer, question, Setting())
    compare(student, expected, explained(student, question, "released"))


@pytest.mark.parametrize(
    ("tokenizer", "found"),
    [
        ("chatml", [True, True, True, True]),
        # The first raw text begins with two spaces, of which one merges with the marker's newline.
        ("chatml_merging", [False, True, True, True]),
        ("llama3", [False, False, False, False]),
        ("gemma", [False, False, False, False]),
    ],
)
def test_where_the_marker_is_missing(student_folder: Folders, tokenizer: str, found: list[bool]) -> None:
    student = load(student_folder("llama", tokenizer))
    question = tiny.question("books", 4)
    _, _, starts = reference.released_rows(student.tokenizer, question, 2560)
    assert [start > 0 for start in starts] == found
    stripped = replace(
        question, rationales=tuple(Rationale(r.teacher, r.text.strip()) for r in question.rationales)
    )
    raw = explain(student, question, variant="released")
    tidy = explain(student, stripped, variant="released")
    if tokenizer == "chatml_merging":
        assert raw.supervised_losses != pytest.approx(tidy.supervised_losses, rel=1e-3)
    expected = reference.released(student.model, student.tokenizer, stripped, Setting())
    compare(student, expected, explained(student, stripped, "released"))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting(student_folder: Folders, name: str) -> None:
    student = load(student_folder("qwen2", "chatml"))
    question = tiny.question("books", 4)
    setting = SETTINGS[name]
    expected = reference.released(student.model, student.tokenizer, question, setting)
    plain = reference.released(student.model, student.tokenizer, question, Setting())
    assert expected.loss.item() != pytest.approx(plain.loss.item(), rel=1e-6), "the setting changes nothing"
    compare(student, expected, explained(student, question, "released", setting))


def test_float32_meets_the_stated_tolerance(student_folder: Folders) -> None:
    student = load(student_folder("qwen2", "chatml"), dtype="float32")
    question = tiny.question("pencils", 4)
    expected = reference.released(student.model, student.tokenizer, question, Setting())
    compare(student, expected, explained(student, question, "released"), tolerance=1e-4)


def test_light_pairs_are_skipped(student_folder: Folders) -> None:
    student = load(student_folder("llama", "chatml"))
    question = tiny.question("pencils", 4)
    setting = Setting(temperature=0.15)
    expected = reference.released(student.model, student.tokenizer, question, setting)
    products = [
        a * b for i, a in enumerate(expected.weights) for b in expected.weights[i + 1 :] if a * b < 1e-4
    ]
    assert 0 < len(products) < 6, "the case does not mix light and heavy pairs"
    compare(student, expected, explained(student, question, "released", setting))


def test_rows_are_cut_at_2560_tokens(student_folder: Folders) -> None:
    student = load(student_folder("llama", "chatml"), dtype="float64")
    long = "So we add 1 to the sum. " * 300
    question = Question(
        id="long",
        text="How many?",
        gold_answer="12",
        rationales=(Rationale("a", long + "The answer is 12."), Rationale("b", "Thus. The answer is 12.")),
    )
    ids, mask, _ = reference.released_rows(student.tokenizer, question, 10**6)
    assert ids.shape[1] > 2600
    assert int(mask[0].sum()) != int(mask[1].sum())
    # Without the pairs' 2,560 positions, which are slow as loops; the setting "cut" has them.
    setting = Setting(lambda_consistency=0.0)
    expected = reference.released(student.model, student.tokenizer, question, setting)
    compare(student, expected, explained(student, question, "released", setting))


def test_padding_enters_the_scores(student_folder: Folders) -> None:
    student = load(student_folder("llama", "chatml"))
    both = tiny.question("pencils", 2)
    alone = replace(both, rationales=both.rationales[:1])
    padded = explain(student, both, variant="released").adaptability[0]
    assert padded != pytest.approx(explain(student, alone, variant="released").adaptability[0], rel=1e-6)


def test_the_tokenizers_own_sides_do_not_matter(student_folder: Folders) -> None:
    student = load(student_folder("llama", "chatml"))
    question, setting = tiny.question("pencils", 4), Setting(max_length_tokens=70)
    expected = reference.released(student.model, student.tokenizer, question, setting)
    student.tokenizer.padding_side = student.tokenizer.truncation_side = "left"
    compare(student, expected, explained(student, question, "released", setting))
    assert student.tokenizer.padding_side == student.tokenizer.truncation_side == "left"


def test_raw_texts_are_read(student_folder: Folders) -> None:
    student = load(student_folder("llama", "chatml"))
    question = tiny.question("books", 3)
    tidy = replace(
        question, rationales=tuple(Rationale(r.teacher, r.text.strip()) for r in question.rationales)
    )
    raw = explain(student, question, variant="released")
    assert raw.loss != pytest.approx(explain(student, tidy, variant="released").loss, rel=1e-4)
