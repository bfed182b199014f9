"""What the hardware does natively and has free: device, dtype, memory."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

import torch

from compact_bench.core.errors import ConfigError

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


def cpu_has_native_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16, AMX or Arm BF16)."""
    read = getattr(torch.cpu, "get_capabilities", None)
    capabilities = read() if callable(read) else {}
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "arm_bf16", "bf16"))


def choose_device(device: str = "auto") -> torch.device:
    """The device to run on: the first GPU, else the CPU ("auto"), "cpu", "cuda" or "cuda:N".

    Raises:
        ConfigError: the name is unknown or the device is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # torch knows more kinds (mps, meta), on which nothing here was ever tried.
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", device):
        raise ConfigError(f"--device: expected auto, cpu, cuda or cuda:N, got {device!r}.")
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"--device: {device!r} was asked for, but torch sees no GPU. Use --device cpu.")
    return chosen


def choose_weight_dtype(dtype: str) -> torch.dtype:
    """Type of a student's weights; "auto" is float32, on every device: a narrower one loses small updates.

    Raises:
        ConfigError: the name is unknown.
    """
    if dtype == "auto":
        return torch.float32
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype: expected auto, {', '.join(_DTYPES)}, got {dtype!r}.")
    return _DTYPES[dtype]


def choose_compute_dtype(
    dtype: Literal["auto", "float32", "bfloat16"], device: torch.device
) -> Literal["float32", "bfloat16"]:
    """Type that training computes in: bfloat16 where it is native, else float32."""
    if dtype != "auto":
        return dtype
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_native_bf16()
    return "bfloat16" if native else "float32"


def available_memory_bytes() -> int | None:
    """Memory that this process may still take: the smaller of the machine's and its control group's."""
    limits: list[int] = []
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file():
        text = limit.read_text(encoding="utf-8").strip()
        if text.isdecimal():
            limits.append(max(0, int(text) - int(used.read_text(encoding="utf-8"))))
    return min(limits) if limits else None


def keep_freed_memory() -> AbstractContextManager[None]:
    """Freed memory stays with this process inside, and goes back to the system at the end.

    glibc gives large tensors pages of their own and returns them, so that each step pays for all its pages
    again: a tenth of a training step and more. Elsewhere than with glibc nothing happens.
    """
    return _malloc({_M_MMAP_MAX: (0, 65536), _M_TRIM_THRESHOLD: (-1, 128 * 1024)}, trim=True)


def return_freed_memory() -> AbstractContextManager[None]:
    """Every large tensor has pages of its own inside and returns them: the lowest peak, at a price in time.

    What stays from each layer would otherwise lie between what was freed around it, and the holes do not fit
    what comes next. Elsewhere than with glibc nothing happens.
    """
    # 32 MiB is where glibc's own rule ends up once a process has freed large blocks.
    return _malloc({_M_MMAP_THRESHOLD: (4 * 2**20, 32 * 2**20)})


@contextmanager
def _malloc(options: Mapping[int, tuple[int, int]], *, trim: bool = False) -> Iterator[None]:
    """Options of glibc's malloc, each as (inside, afterwards); `trim` returns freed memory at the end."""
    libc = _glibc()
    if libc is None:
        yield
        return
    for option, (inside, _) in options.items():
        libc.mallopt(option, inside)
    try:
        yield
    finally:
        for option, (_, afterwards) in options.items():
            libc.mallopt(option, afterwards)
        if trim:
            libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
