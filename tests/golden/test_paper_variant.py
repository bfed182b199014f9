"""The paper variant equals naive loops written from the equations: scores, weights, losses, gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compact_bench import explain
from compact_bench.core.errors import DataError
from compact_bench.core.records import Question, Rationale
from tests import tiny
from tests.golden import reference
from tests.golden.reference import Setting
from tests.golden.support import NATIVE, close, compare, explained, load

Folders = Callable[..., Path]

SETTINGS = {
    "sum": Setting(sft_reduction="sum"),
    "lambda": Setting(lambda_consistency=2.5),
    "no_lambda": Setting(lambda_consistency=0.0),
    "epsilon": Setting(epsilon=0.0),
    "temperature": Setting(temperature=0.3),
    "betas": Setting(betas=(0.3, -0.7, 2.0)),
    "no_betas": Setting(betas=(0.0, 0.0, 0.0)),
    "words": Setting(thinking_words=("the", "answer", "is", "books", "no such word")),
}


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("teachers", [1, 2, 4])
@pytest.mark.parametrize("kind", NATIVE)
def test_every_family(student_folder: Folders, kind: str, teachers: int, lora: bool) -> None:
    # transformers' eager attention, which Gemma-2 needs, has no float64 for fully masked (padded) positions.
    single = kind == "gemma2"
    student = load(student_folder(kind, NATIVE[kind]), lora=lora, dtype="float32" if single else "float64")
    question = tiny.question("books", teachers)
    expected = reference.paper(student.model, student.tokenizer, question, Setting())
    tolerance = 1e-4 if single else 1e-6
    report = compare(student, expected, explained(student, question, "paper"), tolerance=tolerance)
    assert sum(report.teacher_weights) == pytest.approx(1.0)
    assert (report.consistency_loss > 0) == (teachers > 1)


@pytest.mark.parametrize("name", ["pencils", "books", "birds"])
@pytest.mark.parametrize("tokenizer", tiny.TOKENIZER_KINDS)
def test_every_chat_template(student_folder: Folders, tokenizer: str, name: str) -> None:
    student = load(student_folder("llama_untied", tokenizer))
    question = tiny.question(name, 4)
    expected = reference.paper(student.model, student.tokenizer, question, Setting())
    compare(student, expected, explained(student, question, "paper"))


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting(student_folder: Folders, name: str) -> None:
    student = load(student_folder("qwen2", "chatml"))
    question = tiny.question("books", 4)
    setting = SETTINGS[name]
    expected = reference.paper(student.model, student.tokenizer, question, setting)
    plain = reference.paper(student.model, student.tokenizer, question, Setting())
    assert expected.loss.item() != pytest.approx(plain.loss.item(), rel=1e-5), "the setting changes nothing"
    compare(student, expected, explained(student, question, "paper", setting))


def test_float32_meets_the_stated_tolerance(student_folder: Folders) -> None:
    student = load(student_folder("qwen2", "chatml"), dtype="float32")
    question = tiny.question("pencils", 4)
    expected = reference.paper(student.model, student.tokenizer, question, Setting())
    compare(student, expected, explained(student, question, "paper"), tolerance=1e-4)


def test_outer_white_space_and_decimals_change_nothing(student_folder: Folders) -> None:
    student = load(student_folder("llama", "chatml_merging"))
    plain = Question(
        id="q",
        text="How many?",
        gold_answer="12",
        rationales=(
            Rationale("a", "So we have 17 - 5. The answer is 12."),
            Rationale("b", "Let us subtract. The answer is 12"),
        ),
    )
    dressed = replace(
        plain,
        gold_answer=" 12.0",
        rationales=(
            Rationale("a", "\n\n  So we have 17 - 5. The answer is 12.00. \n"),
            Rationale("b", "\tLet us subtract. The answer is 12.0"),
        ),
    )
    one, other = explain(student, plain, variant="paper"), explain(student, dressed, variant="paper")
    assert one.loss == other.loss
    assert one.teacher_weights == other.teacher_weights


def test_consistency_leaves_wrong_and_silent_branches_out(student_folder: Folders) -> None:
    student = load(student_folder("llama", "chatml"))
    # Of "pencils", teachers 3 (wrong) and 4 (no stated answer) take no part: their pairs add nothing.
    question = tiny.question("pencils", 4)
    wrong = replace(question, rationales=question.rationales[1:])
    assert explain(student, question, variant="paper").consistency_loss > 0
    assert explain(student, wrong, variant="paper").consistency_loss == 0.0


def test_consensus_graph_agrees_with_the_tensors(student_folder: Folders) -> None:
    import networkx as nx

    from compact_bench.methods.compact.scores import centralities, consensus_attention, consensus_graph

    student = load(student_folder("qwen3", "chatml"))
    question = tiny.question("books", 4)
    expected = reference.paper(student.model, student.tokenizer, question, Setting())
    vectors = []
    for rationale in question.rationales:
        branch = reference.paper_branch(student.tokenizer, question.text, rationale.text)
        with torch.no_grad():
            output = student.model(input_ids=torch.tensor([branch.ids]), output_hidden_states=True)
        vectors.append(output.hidden_states[-1][0, branch.end])
    with torch.no_grad():
        queries, keys = student.layout.queries_and_keys(student.model, torch.stack(vectors), norms=True)
    graph = consensus_graph(consensus_attention(queries, keys), question.teachers)

    assert isinstance(graph, nx.DiGraph)
    assert set(graph.nodes) == set(question.teachers)
    assert graph.number_of_edges() == 4 * 3
    for i, source in enumerate(question.teachers):
        for j, target in enumerate(question.teachers):
            if i != j:
                assert graph.edges[source, target]["weight"] == pytest.approx(expected.graph[i][j], abs=1e-6)
    degrees = [graph.in_degree(t, weight="weight") for t in question.teachers]
    close(degrees, expected.consensus, 1e-6, "in-degree")
    found = centralities(graph)
    close([found[t]["in_degree"] for t in question.teachers], expected.consensus, 1e-6, "in-degree")
    assert sum(found[t]["pagerank"] for t in question.teachers) == pytest.approx(1.0)


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_both_layouts(student_folder: Folders, layout: str) -> None:
    student = load(student_folder("qwen2", "chatml"), lora=True)
    question = tiny.question("books", 4)
    expected = reference.paper(student.model, student.tokenizer, question, Setting())
    compare(student, expected, lambda: explain(student, question, layout=layout, backward=True))


def test_a_rationale_that_is_too_long_is_refused(student_folder: Folders) -> None:
    student = load(student_folder("llama", "chatml"))
    question = tiny.question("books", 2)
    rows = [reference.paper_branch(student.tokenizer, question.text, r.text).ids for r in question.rationales]
    longest = max(len(row) for row in rows)
    explain(student, question, max_length_tokens=longest)
    with pytest.raises(DataError, match=f"{longest} tokens") as caught:
        explain(student, question, max_length_tokens=longest - 1)
    assert [fault.question_id for fault in caught.value.faults] == [question.id]


def test_report_without_backward_leaves_no_gradient(student_folder: Folders) -> None:
    student = load(student_folder("llama", "chatml"))
    report = explain(student, tiny.question("birds", 2), variant="paper")
    assert all(p.grad is None for p in student.model.parameters())
    assert isinstance(report.loss, float)
    lists = (report.adaptability, report.consensus, report.difficulty, report.teacher_weights)
    assert all(isinstance(values, list) and len(values) == 2 for values in lists)
