"""What a GPU does with bfloat16 weights, done on the CPU: no update may round to nothing on its way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from compact_bench.core.hardware import choose_weight_dtype
from compact_bench.core.settings import LoraSettings, RunSettings, TrainSettings
from compact_bench.evaluation.probes.weight_change import weight_change
from compact_bench.methods.registry import make_method
from compact_bench.students.averaging import BranchMean, adapted_layers
from compact_bench.students.number_formats import in_float32
from compact_bench.students.student import Student, attach_lora, load_student, merge_adapters, save_student
from compact_bench.training.final_weights import load_final, save_final
from compact_bench.training.loss.head import label_values
from compact_bench.training.protocol import FitReport, RunContext
from tests import tiny

Folders = Callable[..., Path]
Compute = Literal["float32", "bfloat16"]


@pytest.fixture
def narrow(student_folder: Folders) -> Student:
    return load_student(str(student_folder("llama", "chatml")), dtype="bfloat16", device="cpu")


def settings(*, lora: bool, rate: float = 1e-5, compute: Compute = "bfloat16", **train: Any) -> RunSettings:
    """24 steps of the released adapters, without dropout."""
    values = {"dtype": compute, "epochs": 6, "learning_rate": rate, "accumulation": 2, **train}
    return RunSettings(
        train=TrainSettings.model_validate(values), lora=LoraSettings(enabled=lora, dropout=0.0)
    )


def fit(student: Student, run: RunSettings, folder: Path, method: str = "uniform") -> FitReport:
    attach_lora(student, run.lora, seed=5)
    context = RunContext(folder, run, seed=7)
    report = make_method(method, {}).fit(student, tiny.questions(8, 2), context)
    assert report.optimiser_steps >= 24
    return report


def weights(student: Student) -> dict[str, Tensor]:
    return {name: p.detach().double().clone() for name, p in student.model.named_parameters()}


def same_weights(one: Student, other: Student) -> bool:
    others = weights(other)
    return all(torch.equal(weight, others[name]) for name, weight in weights(one).items())


def trained_updates(student: Student) -> dict[str, Tensor]:
    """What the adapters add, in float64, by the plain weight's name."""
    updates = {}
    for name, layer in adapted_layers(student.model):
        a, b = (getattr(layer, part)["default"].weight.detach().double() for part in ("lora_A", "lora_B"))
        plain = name.removeprefix("base_model.model.")
        updates[f"{plain}.weight"] = layer.scaling["default"] * b @ a
    return updates


def cosine(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    a, b = (torch.cat([d[name].flatten() for name in sorted(one)]) for d in (one, other))
    return float(a @ b / (a.norm() * b.norm()))


def evaluated_updates(student: Student, before: dict[str, Tensor]) -> dict[str, Tensor]:
    after = weights(student)
    return {name: after[name] - before[name] for name in after}


@pytest.mark.parametrize("compute", ["bfloat16", "float32"])
def test_a_small_lora_update_reaches_evaluation_kept_weights_and_export(
    narrow: Student, student_folder: Folders, tmp_path: Path, compute: Compute
) -> None:
    before, base = weights(narrow), load_student(str(student_folder("llama", "chatml")), dtype="bfloat16")
    run = settings(lora=True, compute=compute)
    report = fit(narrow, run, tmp_path)
    trained = trained_updates(narrow)
    save_final(narrow, base.model, report, tmp_path)
    merge_adapters(narrow)
    seen = evaluated_updates(narrow, before)
    assert cosine(trained, seen) > 0.9999
    assert narrow.dtype == torch.float32
    # The probe of weight change compares it with a base in bfloat16.
    expected = (
        torch.cat([x.flatten() for x in seen.values()]).norm()
        / torch.cat([x.flatten() for x in weights(base).values()]).norm()
    )
    assert weight_change(base.model, narrow.model) == pytest.approx(float(expected), rel=1e-6)

    save_student(narrow, tmp_path / "export")
    assert '"dtype": "float32"' in (tmp_path / "export" / "config.json").read_text(encoding="utf-8")
    exported = load_student(str(tmp_path / "export"), device="cpu")
    assert same_weights(exported, narrow)

    again = load_student(str(student_folder("llama", "chatml")), dtype="bfloat16", device="cpu")
    attach_lora(again, run.lora, seed=5)
    assert (tmp_path / "final" / "adapters.safetensors").is_file()
    assert load_final(again, tmp_path) == report
    merge_adapters(again)
    assert same_weights(again, narrow)


@pytest.mark.parametrize("rate", [1e-5, 5e-5, 2e-4])
def test_every_weight_of_a_full_fine_tuning_moves(narrow: Student, tmp_path: Path, rate: float) -> None:
    before = weights(narrow)
    used = "layers.0.mlp.up_proj.weight"
    fit(narrow, settings(lora=False, rate=rate, weight_decay=0.0), tmp_path)
    moved = next(x for name, x in evaluated_updates(narrow, before).items() if name.endswith(used))
    assert float((moved != 0).double().mean()) > 0.999
    # AdamW's steps are about the rate each.
    assert float(moved.abs().median()) > 2 * rate


def test_a_fine_tuning_equals_that_of_the_same_weights_in_float32(
    narrow: Student, student_folder: Folders, tmp_path: Path
) -> None:
    wide = load_student(str(student_folder("llama", "chatml")), dtype="float32", device="cpu")
    with torch.no_grad():
        for parameter in wide.model.parameters():
            parameter.copy_(parameter.bfloat16().float())
    run = settings(lora=False, compute="float32")
    fit(narrow, run, tmp_path / "narrow")
    fit(wide, run, tmp_path / "wide")
    assert same_weights(narrow, wide)


def test_the_mean_of_branches_is_kept_beneath_narrow_weights(narrow: Student) -> None:
    # As an older checkpoint or a caller may have it: adapters in float32 over bfloat16.
    attach_lora(narrow, LoraSettings(dropout=0.0), seed=1)
    mean, updates = BranchMean(), []
    for _, layer in adapted_layers(narrow.model):
        layer.base_layer.to(torch.bfloat16)
    before = {name: layer.base_layer.weight.detach().double() for name, layer in adapted_layers(narrow.model)}
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        with torch.no_grad():
            for _, layer in adapted_layers(narrow.model):
                for part in ("lora_A", "lora_B"):
                    weight = getattr(layer, part)["default"].weight
                    weight.copy_(1e-3 * torch.randn(weight.shape, generator=generator))
        mean.add(narrow.model)
        updates.append(trained_updates(narrow))
    mean.write_into(narrow.model)
    own = trained_updates(narrow)
    for name, layer in adapted_layers(narrow.model):
        plain = f"{name.removeprefix('base_model.model.')}.weight"
        wanted = (updates[0][plain] + updates[1][plain]) / 2
        got = layer.base_layer.weight.detach().double() - before[name] + own[plain]
        assert cosine({"": wanted}, {"": got}) > 0.99


def test_mot_in_bfloat16_ends_in_float32(narrow: Student, tmp_path: Path) -> None:
    run = settings(lora=True)
    fit(narrow, run, tmp_path, method="mot")
    merge_adapters(narrow)
    assert narrow.dtype == torch.float32


def test_weights_are_float32_wherever_they_are_not_asked_for_otherwise() -> None:
    assert choose_weight_dtype("auto") == torch.float32


def test_the_head_keeps_the_gradient_of_likely_labels(narrow: Student) -> None:
    head = narrow.layout.head(narrow.model)
    head.requires_grad_(False)
    labels = torch.arange(4) + 20
    # Hidden states along their label's row: its probability is nearly 1.
    hidden = (head.weight[labels] * 12).detach()
    # The logits themselves are bfloat16 here; what comes after them need not be.
    wide = (hidden @ head.weight.t()).float().softmax(dim=-1)
    chances = wide[range(4), labels]
    likeliest = int(chances.argmax())
    assert float(chances[likeliest]) > 0.999
    afterwards = (wide.bfloat16() @ head.weight - head.weight[labels]).float()
    wide[range(4), labels] -= 1
    expected = wide @ head.weight.float()
    hidden = hidden.requires_grad_()
    values = label_values(narrow, hidden, labels, mode="single_pass")
    (got,) = torch.autograd.grad(values.losses.sum(), hidden)
    got, afterwards, expected = (x[likeliest].double() for x in (got, afterwards, expected))
    assert float((got - expected).norm()) < 0.01 * float(expected.norm())
    # Its probability rounds to 1, and nothing is left.
    assert float((afterwards - expected).norm()) > 0.9 * float(expected.norm())


def test_queries_and_keys_are_computed_in_float32(narrow: Student, student_folder: Folders) -> None:
    for kind in ("llama", "qwen3", "phi3"):
        student = load_student(str(student_folder(kind, "chatml")), dtype="bfloat16", device="cpu")
        double = load_student(str(student_folder(kind, "chatml")), dtype="bfloat16", device="cpu")
        double = replace(double, model=double.model.double())
        vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
        got = student.layout.queries_and_keys(student.model, vectors, norms=True)
        wanted = double.layout.queries_and_keys(double.model, vectors, norms=True)
        for a, b in zip(got, wanted, strict=True):
            assert a.dtype == torch.float32
            torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-5)
        assert student.dtype == torch.bfloat16
    layer = torch.nn.Linear(2, 2)
    assert torch.equal(in_float32(layer, torch.ones(1, 2)), layer(torch.ones(1, 2)))


def test_a_record_says_in_which_formats_consensus_ran(narrow: Student, tmp_path: Path) -> None:
    report = fit(narrow, settings(lora=True), tmp_path, method="compact")
    assert report.extra["number_formats"] == {
        "weights": "float32",
        "hidden_states": "bfloat16",
        "scores": "float32",
    }
