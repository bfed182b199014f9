"""`bench step`: every contender runs, the reference is the released algorithm, results read back."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from rich.console import Console

from compact_bench.commands.bench.contenders.contenders import CONTENDERS, choose_contenders
from compact_bench.commands.bench.contenders.memory import Memory
from compact_bench.commands.bench.contenders.reference_step import reference_loss
from compact_bench.commands.bench.contenders.stepping import Stepper, open_student
from compact_bench.commands.bench.contenders.turns import Clock, in_turn, rotated
from compact_bench.commands.bench.contenders.work import Work
from compact_bench.commands.bench.evaluation import EvalResult
from compact_bench.commands.bench.measuring.results import StepResult
from compact_bench.commands.bench.measuring.samples import ratios, spread
from compact_bench.commands.bench.reports.evaluation import eval_table
from compact_bench.commands.bench.reports.scaling import axis_table
from compact_bench.commands.bench.reports.tables import step_markdown, step_notes, step_table
from compact_bench.commands.bench.scaling import ScalingResult
from compact_bench.commands.bench.settings import StepSettings
from compact_bench.commands.bench.step import bench_step
from compact_bench.core.errors import ConfigError, DataError, UnknownNameError
from compact_bench.core.progress import PlainDisplay
from compact_bench.core.settings import LoraSettings
from compact_bench.methods.compact.objective import WeightingConfig
from compact_bench.methods.compact.released import ReleasedObjective
from compact_bench.students.student import Student, attach_lora
from tests import tiny
from tests.architecture.sources import ROOT
from tests.unit.bench_runner import LocalRunner, quick_ceiling

Load = Callable[..., Student]
__all__ = ["quick_ceiling"]

PLAIN = LoraSettings(dropout=0.0)
WORK = Work((tiny.question("pencils"), tiny.question("books")), "tests")


def gradients(student: Student) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in student.model.named_parameters() if p.grad is not None}
    student.model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("kind", ["llama", "llama_untied", "qwen2", "qwen3", "phi"])
@pytest.mark.parametrize("name", ["pencils", "books", "birds"])
@pytest.mark.parametrize("teachers", [1, 4])
def test_the_reference_is_the_released_algorithm(
    load_tiny: Load, kind: str, name: str, teachers: int
) -> None:
    student = load_tiny(kind, "chatml_merging")
    attach_lora(student, LoraSettings(dropout=0.0), seed=3)
    with torch.no_grad():
        for parameter_name, parameter in student.model.named_parameters():
            if "lora_B" in parameter_name:
                parameter.normal_(std=0.05)
    config = WeightingConfig(lambda_consistency=0.7, epsilon=0.2)
    objective = ReleasedObjective.for_student(student, config)
    encoded = objective.encode(student, tiny.question(name, teachers))

    expected = objective.loss(student, [encoded]).loss
    expected.backward()
    wanted = gradients(student)
    found = reference_loss(student, encoded.padded, objective.thinking_ids, config)
    found.backward()

    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    mine = gradients(student)
    assert mine.keys() == wanted.keys() and wanted
    for parameter_name, gradient in wanted.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(mine[parameter_name], gradient, rtol=1e-4, atol=1e-4 * scale + 1e-9)


@pytest.mark.parametrize("kind", ["gemma2", "phi3"])
def test_a_student_that_the_reference_cannot_read_is_refused(load_tiny: Load, kind: str) -> None:
    with pytest.raises(ConfigError, match="Leave it out of --contenders"):
        CONTENDERS["released"].make(load_tiny(kind, "chatml"), WORK, StepSettings(student="tiny"))


def steps_of(folder: Path, lora: bool) -> dict[str, list[float]]:
    """Losses of two steps of every contender, on one student."""
    settings = StepSettings(student=str(folder), device="cpu", lora=LoraSettings(enabled=lora, dropout=0.0))
    student = open_student(settings)
    stepper = Stepper(student, settings)
    before = {n: p.detach().clone() for n, p in student.model.named_parameters()}
    losses = {}
    for name, contender in CONTENDERS.items():
        prepared = stepper.prepare(contender, WORK)
        losses[name] = [stepper.turn(prepared).loss for _ in range(2)]
        assert all(p.grad is None for p in student.model.parameters())
    for name, parameter in student.model.named_parameters():
        assert torch.equal(parameter, before[name]), name
    return losses


@pytest.mark.parametrize("lora", [True, False])
def test_every_contender_steps_from_the_same_weights(student_folder: Callable[..., Path], lora: bool) -> None:
    losses = steps_of(student_folder("llama", "chatml"), lora)
    assert set(losses) == set(CONTENDERS)
    for name, (first, second) in losses.items():
        assert second == pytest.approx(first, rel=1e-6), name
    assert losses["ours_checkpointed"] == pytest.approx(losses["ours"], rel=1e-5)
    assert losses["released"] == pytest.approx(losses["released_packed"], rel=1e-5)
    assert losses["released_checkpointed"] == pytest.approx(losses["released"], rel=1e-5)


def test_plain_rows_have_the_loss_of_their_labels(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")
    settings = StepSettings(student="tiny")
    found = CONTENDERS["sft"].make(student, WORK, settings).run()
    from compact_bench.training.branches import encode_question

    losses = []
    for question in WORK.questions:
        for branch in encode_question(student, question).branches:
            with torch.no_grad():
                logits = student.model(torch.tensor([branch.input_ids])).logits[0]
            each = torch.nn.functional.cross_entropy(
                logits[:-1], torch.tensor(branch.input_ids[1:]), reduction="none"
            )
            losses.append(each[branch.prompt_tokens - 1 :])
    assert found == pytest.approx(float(torch.cat(losses).mean()), rel=1e-5)


def test_released_questions_are_stepped_one_by_one(load_tiny: Load) -> None:
    student = load_tiny("llama", "chatml")
    settings = StepSettings(student="tiny")
    both = CONTENDERS["released"].make(student, WORK, settings).run()
    together = gradients(student)
    alone = []
    for question in WORK.questions:
        alone.append(CONTENDERS["released"].make(student, Work((question,), ""), settings).run())
    summed = gradients(student)
    assert both == pytest.approx(sum(alone) / 2, rel=1e-6)
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, summed[name] / 2, rtol=1e-4, atol=1e-5)


def test_an_unknown_contender_names_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'released'"):
        choose_contenders(["ours", "relesed"])
    assert [c.name for c in choose_contenders(["sft", "ours", "sft"])] == ["sft", "ours"]


# ------------------------------------------------------------------------------------------------ samples


def test_ratios_are_of_the_same_round() -> None:
    # The machine is four times as slow in the second round; the ratio of two is not moved by it.
    found = ratios({"a": [1.0, 4.0, 1.1], "b": [2.0, 8.0, 2.1]}, {"a": 30, "b": 60}, {"a": 10, "b": 40})
    assert found["b"]["a"].time == 2.0
    assert (found["b"]["a"].time_low, found["b"]["a"].time_high) == (pytest.approx(2.1 / 1.1), 2.0)
    assert found["a"]["b"].time == 0.5
    assert found["b"]["a"].memory == 2.0 and found["b"]["a"].step_memory == 4.0
    assert set(found) == {"a", "b"} and set(found["a"]) == {"b"}
    assert ratios({"a": [1.0]}, {"a": 1}, {"a": 0}) == {"a": {}}


def test_spread_is_median_and_extremes() -> None:
    found = spread([5.0, 1.0, 2.0])
    assert (found.median, found.low, found.high) == (2.0, 1.0, 5.0)


def test_rounds_begin_one_place_further() -> None:
    heard: list[str] = []
    acts = {name: partial(heard.append, name) for name in "abc"}
    lines: list[str] = []
    display = PlainDisplay(lines.append, interval_seconds=0.0)
    in_turn(acts, 2, Clock(display, 6.0, 6), dict.fromkeys("abc", 1.0))
    assert heard == ["a", "b", "c", "b", "c", "a"]
    assert len(lines) == 6 and "not yet known" in lines[0] and "a, round 2 of 2 5/6" in lines[-1]
    assert rotated("abc", 5) == ["c", "a", "b"]


# ------------------------------------------------------------------------------------------------- result


@pytest.fixture(scope="module")
def result(student_folder: Callable[..., Path]) -> StepResult:
    settings = StepSettings(student=str(student_folder("llama", "chatml")), device="cpu", lora=PLAIN)
    names = ["ours", "uniform", "sft", "released"]
    return measured(settings, names)


def measured(settings: StepSettings, names: Sequence[str], work: Work = WORK) -> StepResult:
    return bench_step(
        open_student(settings),
        work,
        settings,
        choose_contenders(names),
        PlainDisplay(lambda line: None, quiet=True),
        repeats=3,
        open_runner=LocalRunner,
    )


def test_the_result_holds_what_was_measured(result: StepResult) -> None:
    assert [c.name for c in result.contenders] == ["ours", "uniform", "sft", "released"]
    assert result.repeats == 3 and result.work.teachers == 4
    for one in result.contenders:
        assert len(one.samples_seconds) == 3
        assert one.seconds.low <= one.seconds.median <= one.seconds.high
        assert one.tokens_per_second == pytest.approx(result.work.tokens / one.seconds.median)
        assert one.flops_per_second == pytest.approx(one.useful_flops / one.seconds.median)
        assert one.share_of_square > 0.0 and one.memory.peak_bytes > 0
    ours = result.contender("ours")
    assert ours is not None and ours.useful_flops == result.flops["packed"]
    assert result.flops["packed"] < result.flops["rows"] < result.flops["released"] < result.flops["padded"]
    assert result.work.packed_tokens == result.work.tokens - 3 * sum(result.work.prompt_tokens)
    assert result.ratios["ours"]["released"].time == pytest.approx(
        1.0 / result.ratios["released"]["ours"].time
    )
    assert {"code", "packages", "hardware", "device"} <= set(result.provenance)
    assert result.contender("nobody") is None
    assert ours.path["layout"] == "packed" and result.contenders[-1].path == {}


def test_a_result_reads_back_as_it_was(result: StepResult) -> None:
    text = result.model_dump_json(indent=1)
    assert StepResult.read(text, "bench_step.json") == result
    with pytest.raises(DataError, match=r"bench_step\.json: 1 value"):
        StepResult.read(text.replace('"repeats": 3', '"repeats": "many"'), "bench_step.json")


def with_memory(result: StepResult) -> StepResult:
    peaks = {"ours": 2, "uniform": 2, "sft": 4, "released": 8}
    gib = 1024**3
    contenders = tuple(
        c.model_copy(
            update={
                "memory": Memory(before_bytes=gib, peak_bytes=peaks[c.name] * gib, whole_peak_bytes=9 * gib)
            }
        )
        for c in result.contenders
    )
    found = ratios(
        {c.name: c.samples_seconds for c in contenders},
        {c.name: c.memory.peak_bytes for c in contenders},
        {c.name: c.memory.step_bytes for c in contenders},
    )
    return result.model_copy(update={"contenders": contenders, "ratios": found})


def test_the_tables_show_ratios_to_released_and_uniform(result: StepResult) -> None:
    lines = step_markdown(with_memory(result)).splitlines()
    head = next(line for line in lines if line.startswith("| contender"))
    assert "speed / released" in head and "memory / released" in head and "time / uniform" in head
    ours = next(line for line in lines if line.startswith("| ours"))
    cells = [cell.strip() for cell in ours.strip("|").split("|")]
    assert cells[4:6] == ["2.00", "1.00"] and cells[-2] == "0.25 x"
    assert cells[-3] == f"{1 / result.ratios['ours']['released'].time:.2f} x"
    released = next(line for line in lines if line.startswith("| released"))
    assert [c.strip() for c in released.strip("|").split("|")][-3:-1] == ["1", "1"]
    assert any("K = 4" in note for note in step_notes(result))


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_tables_fit_a_narrow_terminal_with_nothing_cut(result: StepResult, width: int) -> None:
    kept = StepResult.model_validate_json((ROOT / "docs/results/bench/bench_step.json").read_text())
    scaling = ScalingResult.model_validate_json((ROOT / "docs/results/bench/bench_scaling.json").read_text())
    evaluation = EvalResult.model_validate_json((ROOT / "docs/results/bench/bench_eval.json").read_text())
    tables = [step_table(result), step_table(kept), eval_table(evaluation), *map(axis_table, scaling.axes)]
    for table in tables:
        out = io.StringIO()
        Console(file=out, width=width).print(table)
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= width and "…" not in out.getvalue()
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
        shown = {cell for row in rows for cell in row}
        assert {cell for row in table.rows for cell in row} <= shown, "every number on one line of its own"
        # Every table below the first says again what its rows are.
        names = [tuple(row[: table.repeated]) for row in table.rows]
        assert [tuple(row[: table.repeated]) for row in rows] == names * (len(rows) // len(names))


def test_one_contender_alone_has_no_ratio(student_folder: Callable[..., Path]) -> None:
    settings = StepSettings(student=str(student_folder("llama", "chatml")), device="cpu")
    found = measured(settings, ["ours"])
    assert found.ratios == {"ours": {}} and "released" not in step_markdown(found).splitlines()[-2]


def test_nothing_to_measure_is_refused(student_folder: Callable[..., Path]) -> None:
    settings = StepSettings(student=str(student_folder("llama", "chatml")), device="cpu")
    with pytest.raises(ConfigError, match="at least one repeat and one contender"):
        measured(settings, [])


def test_too_little_memory_is_said_before_anything_is_measured(
    student_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = StepSettings(student=str(student_folder("llama", "chatml")), device="cpu")
    monkeypatch.setattr(
        "compact_bench.commands.bench.measuring.need.available_memory_bytes", lambda: 400_000_000
    )
    with pytest.raises(
        ConfigError, match=r"too little memory: ours needs about 0\.\d GiB, 0\.4 GiB are free"
    ):
        measured(settings, ["ours"])
    # Alone the contender fits into this; another's process rests beside it.
    monkeypatch.setattr(
        "compact_bench.commands.bench.measuring.need.available_memory_bytes", lambda: 900_000_000
    )
    with pytest.raises(ConfigError, match=r"released needs about 0\.\d GiB beside 0\.5 GiB of the other"):
        measured(settings, ["ours", "released"])
    assert measured(settings, ["released"]).repeats == 3
    monkeypatch.setattr("compact_bench.commands.bench.measuring.need.available_memory_bytes", lambda: None)
    assert measured(settings, ["ours"], replace(WORK, questions=WORK.questions[:1])).repeats == 3
