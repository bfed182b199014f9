"""Load a student, give it adapters, merge them, fingerprint and save it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from compact_bench.core.errors import StudentError
from compact_bench.core.files import remembered, write_sealed
from compact_bench.core.hardware import choose_device, choose_weight_dtype
from compact_bench.core.paths import cache_dir, offline
from compact_bench.core.records import fingerprint
from compact_bench.core.settings import LoraSettings
from compact_bench.data.lab.student import LAB_STUDENTS
from compact_bench.data.lab.student.settings import shipped_folder
from compact_bench.students.chat import encode_row, first_line
from compact_bench.students.layout import StudentLayout, base_model, check_projections, find_layout
from compact_bench.students.loading import (
    check_files,
    check_vocabulary,
    load_model,
    load_tokenizer,
)
from compact_bench.students.number_formats import is_narrow, widen_weights

PACKAGED_STUDENT = "smollm2-135m-instruct"
"""Name of the student that comes from the package index (SmolLM2-135M-Instruct, dequantised from Q4_1)."""
LAB_STUDENT = "lab-student"
"""Name of the student of the `lab` suite, which lies in this package; `LAB_STUDENTS` has earlier ones."""

_STUDENT_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt")


@dataclass
class Student:
    """A causal LM with its tokenizer and what is known of its layout.

    Attributes:
        model: the transformers model, or a peft wrapper around it.
        tokenizer: its fast tokenizer; dates in the chat template are frozen.
        revision: fingerprint of the files it was loaded from.
        compute: type the decoder computes in; "bfloat16" runs it under autocast. Head, scores and losses
            always use the weights' own type or float32.
    """

    model: nn.Module
    tokenizer: Any
    name: str
    revision: str
    layout: StudentLayout
    compute: Literal["float32", "bfloat16"] = "float32"

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which the decoder runs."""
        if self.compute == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the base weights (adapters may be wider)."""
        weight: Tensor = self.layout.head(self.model).weight
        return weight.dtype


def resolve_student(name: str, revision: str | None = None) -> Path:
    """The local folder of a student, fetched first where needed.

    Args:
        name: a folder, a hub id ("org/name" or "org/name@revision"), one of `LAB_STUDENTS` or
            `PACKAGED_STUDENT`.
        revision: hub commit, tag or branch; overrides the one in the name.

    Raises:
        StudentError: nothing is there, with what was tried.
    """
    try:
        folder = Path(name).expanduser()
    except RuntimeError as error:
        raise StudentError(f"student {name!r}: no such folder: {error}") from None
    if (folder / "config.json").is_file():
        return folder
    if folder.exists():
        raise StudentError(
            f"student folder {name!r} has no config.json: expected a folder that `save_pretrained` wrote."
        )
    if name in LAB_STUDENTS:
        return _lab_student_folder(name)
    if name == PACKAGED_STUDENT:
        from compact_bench.data.files.sources import default_sources
        from compact_bench.students.packaged import packaged_student_folder

        return packaged_student_folder(default_sources())
    if name.count("/") != 1 or name.startswith((".", "~", "/")):
        raise StudentError(
            f"student {name!r}: no such folder, and not a hub id. Expected a folder with config.json, "
            f"a hub id like 'org/name', {', '.join(map(repr, LAB_STUDENTS))} or {PACKAGED_STUDENT!r}."
        )
    return _from_hub(name, revision)


def _lab_student_folder(name: str) -> Path:
    folder = shipped_folder(LAB_STUDENTS[name])
    missing = [file for file in ("config.json", "model.safetensors") if not (folder / file).is_file()]
    if missing:
        raise StudentError(
            f"student {name!r}: expected {' and '.join(missing)} in {folder}, got none. The "
            "installation is incomplete: install the package again."
        )
    return folder


def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo, _, tag = name.partition("@")
    try:
        return Path(
            snapshot_download(
                repo,
                revision=revision or tag or None,
                allow_patterns=list(_STUDENT_FILES),
                local_files_only=offline(),
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = "the local hub cache (offline mode is on)" if offline() else "the hub"
        raise StudentError(
            f"student {name!r} could not be had from {where}: {first} "
            "Give a local folder, check the id and revision, or run `compact-bench prefetch` while online."
        ) from None


def student_revision(folder: Path) -> str:
    """Fingerprint of a student's files, remembered by size and time so that planning stays quick."""
    files = sorted({p for pattern in _STUDENT_FILES for p in folder.glob(pattern)})
    stats = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    key = fingerprint([str(folder.resolve()), stats])
    memory = cache_dir() / "fingerprints" / f"{key}.json"
    known = remembered(memory)
    if isinstance(known, str):
        return known
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    result = digest.hexdigest()[:16]
    write_sealed(memory, result)
    return result


def count_parameters(folder: Path) -> int | None:
    """How many parameters a student's files hold, read from their headers; None where they have none.

    Raises:
        StudentError: a file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    count = 0
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="numpy") as tensors:
                count += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        except (OSError, ValueError, SafetensorError) as error:
            raise StudentError(
                f"{path}: expected a whole safetensors file, got: {first_line(error)}. Copy or download the "
                "student again."
            ) from None
    return count or None


def load_student(
    name: str, *, dtype: str = "auto", device: str = "auto", revision: str | None = None
) -> Student:
    """Load a student and check that its layout is supported.

    Args:
        dtype: type of the weights: "auto" (float32), "float64", "float32" or "bfloat16". Training and
            merging widen a narrower one to float32.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        StudentError: it cannot be found or loaded, has no chat template or no fast tokenizer, or its
            layout is unknown.
    """
    place = choose_device(device)
    folder = resolve_student(name, revision)
    check_files(name, folder)
    tokenizer = load_tokenizer(name, folder)
    model: Any = load_model(name, folder, choose_weight_dtype(dtype))
    model.to(place)
    if place.type == "cpu":
        _own_memory(model)
    model.eval()
    layout = find_layout(model)
    check_vocabulary(name, model, tokenizer)
    check_projections(model, layout)
    _stop_at_turn_end(model, tokenizer)
    return Student(model, tokenizer, name, student_revision(folder), layout)


def _own_memory(model: nn.Module) -> None:
    """Give every tensor memory of its own, as training leaves it.

    Tensors of a mapped file start where the file has them, and sums over memory that is aligned otherwise end
    in other last bits: a run that was continued would differ from one that was not.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


def _stop_at_turn_end(model: Any, tokenizer: Any) -> None:
    """Let generation stop where training ends a turn, also where that is not the end-of-sequence token."""
    turn_end = encode_row(tokenizer, "question", "answer").input_ids[-1]
    known = model.generation_config.eos_token_id
    stops = [known] if isinstance(known, int) else list(known or [])
    if turn_end not in stops:
        model.generation_config.eos_token_id = [*stops, turn_end]


def attach_lora(student: Student, settings: LoraSettings, seed: int) -> None:
    """Wrap the student with fresh adapters where enabled, in place; only they train. Leaves global RNG as it
    was. All weights are float32 or wider afterwards.
    """
    widen_weights(student.model)
    if not settings.enabled:
        return
    from peft import LoraConfig, TaskType, get_peft_model

    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    # peft annotates alpha as an integer and only ever divides by it.
    alpha: Any = settings.alpha
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=settings.rank,
        lora_alpha=alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        bias="none",
    )
    devices = [student.device] if student.device.type == "cuda" else []
    # Forked, so that adapters depend on this seed alone and leave the caller's generator where it was.
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        try:
            model: Any = student.model
            student.model = get_peft_model(model, config)
        except ValueError as error:
            raise StudentError(f"lora.targets={settings.targets!r}: {str(error).splitlines()[0]}") from None


def number_formats(student: Student) -> dict[str, str]:
    """In which number formats a student computes, as a run's record keeps them.

    Returns:
        "weights"; "hidden_states", which the decoder computes, and which consensus, adaptability and
        difficulty are read from; "scores", the format of what is computed of them: projections, logits,
        scores and losses.
    """
    weights = str(student.dtype).removeprefix("torch.")
    hidden = student.compute if student.compute == "bfloat16" else weights
    wide = "float32" if is_narrow(student.dtype) else weights
    return {"weights": weights, "hidden_states": hidden, "scores": wide}


def merge_adapters(student: Student) -> None:
    """Fold the adapters into the weights, in place; the model is a plain one afterwards, in float32 or wider,
    so that no update rounds to nothing.
    """
    widen_weights(student.model)
    merge = getattr(student.model, "merge_and_unload", None)
    if callable(merge):
        student.model = merge(safe_merge=True)
        student.model.requires_grad_(True)


def weights_hash(model: nn.Module) -> str:
    """sha256 over a plain model's tensors by name, shape, type and bytes (16 hexadecimal digits)."""
    # By sorted names, with shape and type: equal bytes of another layout must not count as equal weights,
    # and the order in which a library registers its modules must not count at all.
    digest = hashlib.sha256()
    state: Mapping[str, Tensor] = base_model(model).state_dict()
    for name in sorted(state):
        tensor = state[name].detach().to("cpu").contiguous()
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def save_student(student: Student, folder: Path) -> None:
    """Write a plain folder (safetensors, config, tokenizer) that `from_pretrained` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    model: Any = student.model
    model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
