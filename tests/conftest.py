"""Fixtures that every test folder shares. Test modules take helpers from `tests.tiny`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from compact_bench.students.student import Student

# Set before transformers is imported anywhere: tests must not reach the hub, nor draw progress bars.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Processes that tests are spread over are given a width of 80, at which tables wrap; a pipe has no width.
os.environ.pop("COLUMNS", None)


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`student_folder(kind, tokenizer_kind, seed=0, **config)`: a saved tiny student, made once a session."""
    from tests import tiny

    made: dict[tuple[Any, ...], Path] = {}

    def make(kind: str = "llama", tokenizer_kind: str = "chatml", seed: int = 0, **changes: Any) -> Path:
        key = (kind, tokenizer_kind, seed, repr(sorted(changes.items())))
        if key not in made:
            folder = tmp_path_factory.mktemp(f"{kind}-{tokenizer_kind}")
            made[key] = tiny.make_student_folder(folder, kind, tokenizer_kind, seed, **changes)
        return made[key]

    return make


@pytest.fixture
def load_tiny(student_folder: Callable[..., Path]) -> Callable[..., Student]:
    """`load_tiny(kind, tokenizer_kind, seed=0, **config)`: a fresh tiny `Student` in float32 on the CPU."""
    from compact_bench.students.student import load_student

    def load(kind: str = "llama", tokenizer_kind: str = "chatml", seed: int = 0, **changes: Any) -> Student:
        folder = student_folder(kind, tokenizer_kind, seed, **changes)
        return load_student(str(folder), dtype="float32", device="cpu")

    return load


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower with more threads, and sums differ with their number."""
    torch = sys.modules.get("torch")
    if torch is not None:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)
    else:
        yield
