"""Student folders that are not whole: one clear error each, and no code of theirs is run."""

from __future__ import annotations

import ast
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from compact_bench.core.errors import StudentError
from compact_bench.core.paths import package_folder
from compact_bench.students.student import count_parameters, load_student

Folders = Callable[..., Path]


@pytest.fixture
def folder(student_folder: Folders, tmp_path: Path) -> Path:
    """A student of the test's own, to be damaged."""
    copy = tmp_path / "student"
    shutil.copytree(student_folder("qwen2", "chatml"), copy)
    return copy


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def write(folder: Path, tensors: dict[str, Tensor]) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder: Path, *says: str) -> str:
    with pytest.raises(StudentError) as caught:
        load_student(str(folder), dtype="float32", device="cpu")
    message = str(caught.value)
    assert all(part in message for part in says), message
    assert caught.value.exit_code == 4 and len(message) < 1200
    return message


def test_a_sound_student_loads(folder: Path) -> None:
    assert load_student(str(folder), device="cpu").dtype == torch.float32


def test_a_missing_tensor_is_not_filled_at_random(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    write(folder, {k: v for k, v in weights(folder).items() if k != name})
    refused(folder, f"{name} is missing", "at random")
    out = capfd.readouterr()
    assert "LOAD REPORT" not in out.out + out.err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_hidden_layers": 3, "layer_types": None}, "model.layers.2."),
        ({"num_hidden_layers": 1, "layer_types": None}, "model.layers.1."),
        ({"intermediate_size": 40}, "has shape"),
        ({"vocab_size": 1000}, "has shape"),
        ({"num_attention_heads": 3}, ""),
        ({"hidden_size": "many"}, ""),
        ({"model_type": "no_such_model"}, "no_such_model"),
        ({"model_type": 3}, "model_type"),
        ({"rope_parameters": {"rope_type": "no_such"}}, ""),
    ],
)
def test_a_config_of_another_model(folder: Path, changes: dict[str, Any], says: str) -> None:
    configure(folder, **changes)
    refused(folder, says)


def test_an_unexpected_tensor(folder: Path) -> None:
    write(folder, {**weights(folder), "model.layers.7.extra.weight": torch.ones(2)})
    refused(folder, "model.layers.7.extra.weight is in the files but not in the model")


def test_a_head_that_is_not_tied_must_be_there(folder: Path) -> None:
    write(folder, {k: v for k, v in weights(folder).items() if k != "lm_head.weight"})
    refused(folder, "lm_head.weight is missing")


def test_tied_heads_and_rotary_buffers_are_no_fault(student_folder: Folders, tmp_path: Path) -> None:
    copy = tmp_path / "tied"
    shutil.copytree(student_folder("llama", "chatml"), copy)
    tensors = weights(copy)
    assert "lm_head.weight" not in tensors
    load_student(str(copy), device="cpu")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    write(copy, tensors)
    student = load_student(str(copy), device="cpu")
    assert student.layout.head(student.model).weight is student.model.get_input_embeddings().weight


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder: Path, value: float) -> None:
    tensors = weights(folder)
    tensors["model.layers.0.mlp.up_proj.weight"][3, 5] = value
    write(folder, tensors)
    refused(folder, "finite", "model.layers.0.mlp.up_proj.weight")


@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_truncated_weights(folder: Path, keep: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refused(folder, "could not be loaded")
    with pytest.raises(StudentError, match="whole safetensors file"):
        count_parameters(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    torch.save(weights(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(folder, "pytorch_model.bin", "can run code", "safetensors")


def test_adapters_are_no_student(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    refused(folder, "adapter_config.json")


@pytest.mark.parametrize(
    "text", ["[]", "", "{", "null", '"text"', "{}", "\x00", "[" * 100_000, '{"model_type": null}']
)
def test_a_config_that_is_none(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    refused(folder, "config.json")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("text", ["[]", "{", '{"model": 3}'])
def test_damaged_side_files_are_clear_or_harmless(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    try:
        load_student(str(folder), device="cpu")
    except StudentError as error:
        assert str(error)


def test_a_tokenizer_of_another_student(folder: Path) -> None:
    configure(folder, vocab_size=100)
    tensors = weights(folder)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:100].clone()
    write(folder, tensors)
    refused(folder, "of different students")


def test_a_home_that_nobody_has() -> None:
    with pytest.raises(StudentError, match="no such folder"):
        load_student("~no_such_user_here/student")


# ------------------------------------------------------------------------------------- code of the folder


def test_code_in_a_folder_is_never_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "code_ran"
    code = f"open({str(mark)!r}, 'w').close()\n"
    for module in ("modeling_x", "configuration_x", "tokenization_x"):
        (folder / f"{module}.py").write_text(code)
    auto = {"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "modeling_x.X"}
    configure(folder, auto_map=auto, model_type="own_model")
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["auto_map"] = {"AutoTokenizer": ["tokenization_x.X", "tokenization_x.X"]}
    config["tokenizer_class"] = "XTokenizer"
    path.write_text(json.dumps(config))
    # What `yes |` would answer, if anybody asked.
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 100))
    refused(folder)
    # The model alone too: the tokenizer is the first to be refused.
    path.write_text(json.dumps({k: v for k, v in config.items() if k not in ("auto_map", "tokenizer_class")}))
    refused(folder)
    assert not mark.exists()


_LOADS = {"from_pretrained", "from_config"}


def test_every_loading_call_forbids_code_of_others() -> None:
    files = [*package_folder().rglob("*.py"), *(package_folder().parent / "baselines").glob("*.py")]
    seen, faults = 0, []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") not in _LOADS:
                continue
            seen += 1
            given = {k.arg: k.value for k in node.keywords}.get("trust_remote_code")
            if not (isinstance(given, ast.Constant) and given.value is False):
                faults.append(f"{file.name}:{node.lineno}")
    assert seen >= 4 and not faults
